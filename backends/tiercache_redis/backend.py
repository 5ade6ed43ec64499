"""`RedisBackend`: a tier in Redis or Valkey, synchronous and awaited."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar
from urllib.parse import SplitResult

from tiercache.backend import Backend
from tiercache.entry import Clock, Entry, Metadata
from tiercache.envelope import Envelope
from tiercache.errors import (
    BackendError,
    BackendTimeout,
    CacheClosed,
    ConfigurationError,
    MissingExtra,
    TiercacheError,
)
from tiercache.findings import Finding, Permission
from tiercache.units import Duration, parse_duration

from . import examination, listing, operations
from .layout import Layout, Steps
from .leases import KeepsLeases
from .tombstones import Tombstones

if TYPE_CHECKING:
    from tiercache.coherence.carrier import Listener
    from tiercache.coherence.notice import Letter

    from .address import Address

T = TypeVar("T")


class RedisBackend(Tombstones, KeepsLeases, Backend):
    """Entries in Redis or Valkey (5 or later): one string key an entry, expired by the server.

    The constructor does no I/O. A connection that broke while it was idle is replaced within the call. Retries are
    otherwise the chain's business. The users of an ACL need GET, MGET, SET, UNLINK, EVAL with GETRANGE (`if_match`),
    SCAN, PTTL and STRLEN (listings, `clear`), PING, and PUBLISH and SUBSCRIBE on the channel `{prefix}!notices`
    (`&tiercache:*`), by which processes tell each other what they changed; in a cluster also CLUSTER SLOTS and ASKING,
    behind sentinels ROLE if it can be had.

    In a cluster a batch is one round trip to each node that holds some of its keys, all at the same time; redirections
    are followed, and a new owner of the keys is learnt, within the deadline. Where only some nodes fail, a batch is a
    `PartialFailure` with what the others answered. A listing goes through all primaries; what moves from one to
    another meanwhile may be missed. Behind sentinels, each new connection asks them for the primary, in the
    background if need be. After a failover, what the old primary had not passed on to its replica is lost, as
    replication is asynchronous: writes and deletes alike.

    Args:
        url: `redis://user:password@host:6379/0`, or `unix:///run/redis.sock?db=0`; of a cluster some of its nodes,
            `redis+cluster://user:password@host:7000,other:7001/`; of sentinels
            `redis+sentinel://user:password@host:26379,other:26379/service/0`, user and password being the primary's
            (`sentinel_username` and `sentinel_password` in the query are theirs). TLS is `rediss://`,
            `rediss+cluster://` and `rediss+sentinel://`. The query may
            hold `prefix`, `timeout` (seconds) and `max_connections`, which outrank the arguments, and redis-py's
            `db`, `username`, `password`, `client_name`, `protocol`, `socket_keepalive` and `ssl_…`. The URL appears in
            no message, log or repr.
        prefix: what the Redis key of every entry begins with. `clear()` deletes all that begins with it.
        timeout: seconds for one round trip, or text such as `"100ms"`; None: no bound. A tier may set the attribute
            later. Connecting may go on in the background for 2 seconds.
        max_connections: connections at most (in a cluster, to each node), for the threads of the process together
            and for each event loop. A caller waits for one within its deadline.
        clock: returns Unix seconds.

    Raises:
        ConfigurationError: the URL or an option is wrong.
        MissingExtra: redis-py is not installed.
    """

    scheme: ClassVar[str] = "redis"
    persistent = True
    keeps_deadlines = True
    lists_by_prefix = False
    concurrency = 1000  # a batch is one round trip up to here

    def __init__(
        self,
        url: str = "redis://localhost:6379/0",
        *,
        prefix: str = "tiercache:",
        timeout: Duration | None = 0.1,
        max_connections: int = 64,
        clock: Clock = time.time,
    ) -> None:
        address = _address(url)
        options: dict[str, Any] = {"prefix": prefix, "timeout": timeout, "max_connections": max_connections}
        options |= address.options
        if not options["prefix"] or not isinstance(options["prefix"], str):
            raise ConfigurationError("prefix must not be empty: clear() would delete what other programs keep there")
        if not isinstance(options["max_connections"], int) or options["max_connections"] < 1:
            raise ConfigurationError("max_connections must be a whole number from 1 on")
        self.timeout = None if options["timeout"] is None else parse_duration(options["timeout"], "timeout")
        self._layout = Layout(options["prefix"], clock)
        self._connect(address, options["max_connections"])
        self._closed = False

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None, **options: Any) -> Self:
        """Return a backend on the server that the environment names.

        Args:
            env: read for `TIERCACHE_REDIS_URL`, then `REDIS_URL`; with neither it is `redis://localhost:6379/0`.
            options: as for the constructor.
        """
        env = os.environ if env is None else env  # as a default it would stand in help()
        url = env.get("TIERCACHE_REDIS_URL") or env.get("REDIS_URL")
        return cls(url, **options) if url else cls(**options)

    @classmethod
    def url_arguments(cls, url: SplitResult) -> dict[str, str]:
        """Return the constructor arguments of a URL: itself."""
        query = f"?{url.query}" if url.query else ""
        return {"url": f"{url.scheme}://{url.netloc}{url.path}{query}"}  # geturl() loses the slashes of unix://

    @classmethod
    def query_options(cls, scheme: str) -> Collection[str]:
        """Return the options of redis-py that a URL may hold."""
        from .address import known_options

        return known_options("sentinel" if scheme.endswith("+sentinel") else "single")

    @property
    def envelope(self) -> Envelope:
        """What turns entries into the bytes in Redis."""
        return self._layout.envelope

    def seal_with(self, envelope: Envelope) -> None:
        """Keep entries sealed from now on (see `Sealable`); names, sizes and times to live stay visible."""
        self._layout.envelope = envelope

    def get(self, key: str, *, deadline: float | None = None) -> Entry | None:
        """Return the entry, stale ones included; None when it is absent or expired. One GET.

        Raises:
            CorruptEntry: the key holds something else.
        """
        return self._run(operations.get(self._layout, key), deadline)

    async def aget(self, key: str, *, deadline: float | None = None) -> Entry | None:
        """`get`, awaited."""
        return await self._arun(operations.get(self._layout, key), deadline)

    def head(self, key: str, *, deadline: float | None = None) -> Metadata | None:
        """Return the metadata; reads and checks the whole entry, of which they are a part."""
        entry = self.get(key, deadline=deadline)
        return None if entry is None else entry.metadata

    async def ahead(self, key: str, *, deadline: float | None = None) -> Metadata | None:
        """`head`, awaited."""
        entry = await self.aget(key, deadline=deadline)
        return None if entry is None else entry.metadata

    def get_many(self, keys: Sequence[str], *, deadline: float | None = None) -> dict[str, Entry]:
        """Return the entries that are there, in one round trip for each 1,000 keys.

        Raises:
            PartialFailure: some keys hold no intact entry, or a later page or a node failed; it carries the entries.
        """
        return self._run(operations.get_many(self._layout, keys), deadline)

    async def aget_many(self, keys: Sequence[str], *, deadline: float | None = None) -> dict[str, Entry]:
        """`get_many`, awaited."""
        return await self._arun(operations.get_many(self._layout, keys), deadline)

    def put(
        self,
        key: str,
        entry: Entry,
        *,
        if_absent: bool = False,
        if_match: str | None = None,
        deadline: float | None = None,
        letter: Letter | None = None,
    ) -> bool:
        """Store the entry and return whether it was written.

        Redis drops it at `metadata.gone_at`. An entry that is already gone is not stored: the put deletes what was
        there, and returns what it would have for any other entry. `if_match` is one Lua script, `if_absent` one
        SET NX; it replaces what no `get` would return. Conditional writes are sent once: when the connection breaks
        under one, it may or may not have taken effect.
        """
        steps = self._telling(self._put(key, entry, if_absent, if_match), letter)
        return self._run(steps, deadline, repeatable=not if_absent and if_match is None)

    async def aput(
        self,
        key: str,
        entry: Entry,
        *,
        if_absent: bool = False,
        if_match: str | None = None,
        deadline: float | None = None,
        letter: Letter | None = None,
    ) -> bool:
        """`put`, awaited."""
        steps = self._telling(self._put(key, entry, if_absent, if_match), letter)
        return await self._arun(steps, deadline, repeatable=not if_absent and if_match is None)

    def put_many(
        self, entries: Mapping[str, Entry], *, deadline: float | None = None, letter: Letter | None = None
    ) -> None:
        """Store all the entries: one pipeline, or one for each 1,000 entries or 4 MiB.

        Raises:
            PartialFailure: some were not stored.
        """
        self._run(self._telling(operations.put_many(self._layout, entries), letter), deadline)

    async def aput_many(
        self, entries: Mapping[str, Entry], *, deadline: float | None = None, letter: Letter | None = None
    ) -> None:
        """`put_many`, awaited."""
        await self._arun(self._telling(operations.put_many(self._layout, entries), letter), deadline)

    def delete(self, key: str, *, deadline: float | None = None, letter: Letter | None = None) -> bool:
        """Remove the entry and return truthfully whether there was one."""
        return self._run(self._telling(operations.delete(self._layout, key), letter), deadline, repeatable=False)

    async def adelete(self, key: str, *, deadline: float | None = None, letter: Letter | None = None) -> bool:
        """`delete`, awaited."""
        return await self._arun(self._telling(operations.delete(self._layout, key), letter), deadline, repeatable=False)

    def delete_many(self, keys: Sequence[str], *, deadline: float | None = None, letter: Letter | None = None) -> int:
        """Remove the entries and return how many of these keys are now absent: one UNLINK for each 1,000 keys."""
        return self._run(self._telling(operations.delete_many(self._layout, keys), letter), deadline)

    async def adelete_many(
        self, keys: Sequence[str], *, deadline: float | None = None, letter: Letter | None = None
    ) -> int:
        """`delete_many`, awaited."""
        return await self._arun(self._telling(operations.delete_many(self._layout, keys), letter), deadline)

    def scan(
        self, prefix: str = "", *, full: bool = False, deadline: float | None = None
    ) -> Iterator[tuple[str, Metadata]]:
        """Yield key and metadata of each entry whose key starts with `prefix`, each once, in no particular order.

        A page is two round trips. The metadata hold `stored_size` and, as `expires_at`, when Redis drops the entry
        (the end of its stale time, if it has one); `created_at` is 0. With `full` the entries are read, and the
        metadata are theirs. What is no entry is left out. The names of all keys seen are kept until the end.
        """
        page = listing.read if full else listing.glance
        cursor, seen = listing.START, set[bytes]()
        while True:
            cursor, found = self._run(page(self._layout, cursor, prefix, seen), deadline)
            yield from found
            if cursor == listing.START:
                return

    async def ascan(
        self, prefix: str = "", *, full: bool = False, deadline: float | None = None
    ) -> AsyncIterator[tuple[str, Metadata]]:
        """`scan`, page by page."""
        page = listing.read if full else listing.glance
        cursor, seen = listing.START, set[bytes]()
        while True:
            cursor, found = await self._arun(page(self._layout, cursor, prefix, seen), deadline)
            for item in found:
                yield item
            if cursor == listing.START:
                return

    def clear(self, prefix: str = "", *, deadline: float | None = None) -> int:
        """Delete every entry whose key starts with `prefix`, page by page, and return how many there were."""
        cursor, removed = self._run(listing.clear(self._layout, listing.START, prefix), deadline)
        while cursor != listing.START:
            cursor, more = self._run(listing.clear(self._layout, cursor, prefix), deadline)
            removed += more
        return removed

    async def aclear(self, prefix: str = "", *, deadline: float | None = None) -> int:
        """`clear`, awaited."""
        cursor, removed = await self._arun(listing.clear(self._layout, listing.START, prefix), deadline)
        while cursor != listing.START:
            cursor, more = await self._arun(listing.clear(self._layout, cursor, prefix), deadline)
            removed += more
        return removed

    def ping(self, *, deadline: float | None = None) -> None:
        """Return when the server, or every primary of a cluster, answers; raise what keeps it from answering."""
        self._run(operations.ping(), deadline)

    async def aping(self, *, deadline: float | None = None) -> None:
        """`ping`, awaited."""
        await self._arun(operations.ping(), deadline)

    def examine(self, *, deadline: float | None = None) -> list[Finding]:
        """Return what the server, or every primary of a cluster, says of itself that its operator should know: INFO."""
        try:
            servers = self._run(examination.info(), deadline)
        except BackendError as error:
            return [examination.unknown(error)]
        return list(dict.fromkeys(finding for server in servers for finding in examination.judged(server)))

    def server_time(self, *, deadline: float | None = None) -> float:
        """Return the server's clock, Unix seconds: TIME."""
        return self._run(examination.time(), deadline)

    def allow(self, permission: Permission) -> str:
        """Return the ACL command that grants a permission."""
        return examination.allow(permission, self._layout.pattern("").decode())

    def announce(self, messages: Sequence[bytes], *, deadline: float | None = None) -> None:
        """Send notices to all processes that listen below this prefix: one PUBLISH each, in one round trip."""
        self._run(operations.announce(self._layout.notices, messages), deadline)

    async def aannounce(self, messages: Sequence[bytes], *, deadline: float | None = None) -> None:
        """`announce`, awaited."""
        await self._arun(operations.announce(self._layout.notices, messages), deadline)

    def listen(self, listener: Listener) -> None:
        """Hear notices in a daemon thread, on one connection beside `max_connections`, while the listener lives."""
        if self._closed:
            raise CacheClosed("this RedisBackend")
        self._subscription.add(listener)

    def unlisten(self, listener: Listener) -> None:
        """Call the listener no more; without listeners the thread ends."""
        self._subscription.remove(listener)

    def rebuild(self) -> None:
        """Drop the idle connections: the next operation looks the server's name up again and connects."""
        self._connections.drop_idle()
        self._loops.drop_idle()

    def close(self) -> None:
        """Close the connections; those of event loops are closed by their loops."""
        self._closed = True
        self._subscription.close()
        self._connections.close()
        self._loops.close()

    async def aclose(self) -> None:
        """`close`, awaited: the running loop's connections are closed on return."""
        self._closed = True
        self._subscription.close()
        await self._loops.aclose()
        self._connections.close()

    def _connect(self, address: Address, limit: int) -> None:
        from .errors import VENDOR_ERRORS
        from .notices import Subscription
        from .ways import ways

        try:
            self._connections, self._loops = ways(address, limit, lambda: self.timeout)
        except (TypeError, ValueError, *VENDOR_ERRORS):  # their text may quote the URL
            failure = ConfigurationError("redis-py refuses an option in the URL's query: see its Connection class")
        else:
            self._subscription = Subscription(self._connections.open_apart, self._layout.notices)
            # In a cluster the channel may be another node's, which may be faster than the key's.
            self._is_one_server = address.kind != "cluster"
            return
        raise failure

    def _put(self, key: str, entry: Entry, if_absent: bool, if_match: str | None) -> Steps[bool]:
        if if_match is None:
            put = operations.put_if_absent if if_absent else operations.put
            return put(self._layout, key, entry)
        if if_absent:
            raise ValueError("if_absent and if_match cannot both hold: pass one of them")
        return operations.put_if_match(self._layout, key, entry, if_match)

    def _telling(self, steps: Steps[T], letter: Letter | None) -> Steps[T]:
        if letter is None:
            return steps
        return operations.announcing(steps, self._layout.notices, letter, together=self._is_one_server)

    def _run(self, steps: Steps[T], deadline: float | None, *, repeatable: bool = True) -> T:
        """Perform an operation: each of its steps is a round trip within `timeout` and before the deadline."""
        if self._closed:
            raise CacheClosed("this RedisBackend")
        try:
            commands = next(steps)
            while True:
                try:
                    replies = self._connections.exchange(commands, self._ends(deadline), repeatable=repeatable)
                except TiercacheError as error:
                    commands = steps.throw(error)
                else:
                    commands = steps.send(replies)
        except StopIteration as stop:
            result: T = stop.value
            return result

    async def _arun(self, steps: Steps[T], deadline: float | None, *, repeatable: bool = True) -> T:
        if self._closed:
            raise CacheClosed("this RedisBackend")
        try:
            commands = next(steps)
            connections = await self._loops.here()
            while True:
                try:
                    replies = await connections.exchange(commands, self._ends(deadline), repeatable=repeatable)
                except TiercacheError as error:
                    commands = steps.throw(error)
                else:
                    commands = steps.send(replies)
        except StopIteration as stop:
            result: T = stop.value
            return result

    def _ends(self, deadline: float | None) -> float | None:
        now = time.monotonic()
        if deadline is not None and deadline <= now:
            raise BackendTimeout("the deadline had passed before Redis was asked", tier_wide=False)
        if self.timeout is None:
            return deadline
        return now + self.timeout if deadline is None else min(deadline, now + self.timeout)


def _address(url: str) -> Address:
    try:
        import redis  # noqa: F401
    except ImportError:
        raise MissingExtra("RedisBackend", "redis") from None
    from .address import parse

    return parse(url)
