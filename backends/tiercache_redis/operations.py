"""What each operation asks of Redis and makes of the answers, written once for both faces.

An operation is a generator: it yields commands, which go out together in one round trip, and is sent one reply for
each, in order; a reply may be the error that the server answered. A round trip that failed as a whole is thrown in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeVar

from tiercache.coherence.notice import Letter
from tiercache.entry import Entry
from tiercache.envelope import TAG_BYTES
from tiercache.errors import (
    BackendError,
    BackendTimeout,
    BackendUnavailable,
    CorruptEntry,
    PartialFailure,
    TiercacheError,
    UnknownFormat,
)

from .layout import TOMB_BYTES, Command, Layout, Reply, Steps, value

T = TypeVar("T")

PAGE = 1000
"""Keys in one round trip at most."""
GROUP = 100
"""Keys in one command that reads entries: the server does nothing else meanwhile, and a group arrives as a whole."""
WRITE_BYTES = 4 * 2**20
"""Bytes of a pipeline of writes, after which the next one begins."""

# Compares the first half of the envelope's tag (`Metadata.etag`); ARGV[1] = '' stands for nothing, or too few bytes.
REPLACE = b"""
local tail = redis.call('GETRANGE', KEYS[1], -32, -1)
if string.sub(tail, 1, -17) ~= ARGV[1] then return 0 end
if ARGV[2] == '' then redis.call('SET', KEYS[1], ARGV[3])
elseif ARGV[2] == '0' then redis.call('UNLINK', KEYS[1])
else redis.call('SET', KEYS[1], ARGV[3], 'PX', ARGV[2]) end
return 1
"""


def get(layout: Layout, key: str) -> Steps[Entry | None]:
    """Read an entry; what is not an intact one raises `CorruptEntry`."""
    (reply,) = yield [(b"GET", layout.name(key))]
    return layout.entry(key, value(reply))


def get_many(layout: Layout, keys: Sequence[str]) -> Steps[dict[str, Entry]]:
    """Read entries, a page of keys in each round trip; what has arrived when one breaks is kept."""
    return (yield from read_many(layout, keys, Layout.entry))


def read_many(
    layout: Layout, keys: Sequence[str], parse: Callable[[Layout, str, bytes | None], T | None]
) -> Steps[dict[str, T]]:
    """Read what keys hold, parsed; None is left out."""
    found: dict[str, T] = {}
    failed: dict[str, BackendError] = {}
    keys = list(dict.fromkeys(keys))
    done = 0
    for start in range(0, len(keys), PAGE):
        groups = split(keys[start : start + PAGE], GROUP)
        try:
            replies = yield [(b"MGET", *map(layout.name, group)) for group in groups]
            for group, reply in zip(groups, replies, strict=True):
                for key, data in zip(group, value(reply), strict=True):
                    try:
                        one = parse(layout, key, value(data))  # of a cluster, one node may have failed
                    except BackendError as error:
                        failed[key] = error
                    else:
                        if one is not None:
                            found[key] = one
                done += len(group)
        except BackendError as error:
            failed |= _rest(error, keys[done:], any_done=done > 0)
            break
    if failed:
        raise PartialFailure(failed, found)
    return found


def put(layout: Layout, key: str, entry: Entry) -> Steps[bool]:
    """Write an entry; one that is already gone takes away what was there and counts as written."""
    (reply,) = yield [layout.write(key, entry)]
    value(reply)
    return True


def put_if_match(layout: Layout, key: str, entry: Entry, etag: str) -> Steps[bool]:
    """Write an entry in place of the one with this etag."""
    try:
        tag = bytes.fromhex(etag)
    except ValueError:
        return False  # the etag of another store
    if len(tag) != TAG_BYTES // 2:
        return False
    return (yield from replace(layout, key, entry, tag))


def put_if_absent(layout: Layout, key: str, entry: Entry) -> Steps[bool]:
    """Write an entry where nothing is, or nothing that a `get` would return.

    An entry that only the local clock calls expired, and bytes that are no entry, give way; those of a later format
    do not.
    """
    command = layout.write(key, entry)
    if command[0] == b"SET":
        (reply,) = yield [(*command, b"NX")]
        if value(reply) is not None:
            return True
    (reply,) = yield [(b"GET", layout.name(key))]
    held = value(reply)
    try:
        taken = layout.entry(key, held) is not None
    except UnknownFormat:
        taken = True
    except CorruptEntry:
        taken = False
    return not taken and (yield from replace(layout, key, entry, (held or b"")[-TAG_BYTES : -TAG_BYTES // 2]))


def put_many(layout: Layout, entries: Mapping[str, Entry]) -> Steps[None]:
    """Write entries, pipelined; the server may refuse each on its own."""
    failed: dict[str, BackendError] = {}
    done: set[str] = set()
    for page in _pages(layout, entries, failed):
        try:
            replies = yield list(page.values())
            done.update(page)
            for key, reply in zip(page, replies, strict=True):
                try:
                    value(reply)
                except BackendError as error:
                    failed[key] = error
            if isinstance(replies[-1], (BackendTimeout, BackendUnavailable)):
                raise replies[-1]  # and so it would go on
        except BackendError as error:
            rest = [key for key in entries if key not in failed and key not in done]
            failed |= _rest(error, rest, any_done=bool(done or failed))
            break
    if failed:
        raise PartialFailure(failed)


def delete(layout: Layout, key: str) -> Steps[bool]:
    """Remove an entry; whether something was there."""
    size, removed = yield [(b"STRLEN", layout.name(key)), (b"UNLINK", layout.name(key))]
    return bool(value(removed)) and size != TOMB_BYTES


def delete_many(layout: Layout, keys: Sequence[str]) -> Steps[int]:
    """Remove entries; how many keys are now absent."""
    keys = list(dict.fromkeys(keys))
    for start in range(0, len(keys), PAGE):
        try:
            (reply,) = yield [(b"UNLINK", *map(layout.name, keys[start : start + PAGE]))]
            value(reply)
        except BackendError as error:
            raise PartialFailure(_rest(error, keys[start:], any_done=start > 0), start) from None
    return len(keys)


def ping() -> Steps[None]:
    """Have the server answer."""
    (reply,) = yield [(b"PING",)]
    value(reply)


def announce(channel: bytes, messages: Sequence[bytes]) -> Steps[None]:
    """Publish messages, all in one round trip."""
    for reply in (yield [(b"PUBLISH", channel, message) for message in messages]):
        value(reply)


def announcing(steps: Steps[T], channel: bytes, letter: Letter, *, together: bool = True) -> Steps[T]:
    """Perform an operation and publish what tells of it.

    Args:
        steps: the operation.
        channel: where to publish.
        letter: what to publish.
        together: in each round trip, behind its commands (in a cluster these go to several nodes: afterwards then).
    """
    publish: list[Command] = [(b"PUBLISH", channel, message) for message in letter.messages]
    if not together:
        result = yield from steps
        try:
            replies = yield publish
        except TiercacheError as error:
            replies = [error]
        _report(letter, replies)
        return result
    try:
        commands = next(steps)
        while True:
            try:
                replies = yield commands + publish
            except TiercacheError as error:
                commands = steps.throw(error)
            else:
                _report(letter, replies[len(commands) :])
                commands = steps.send(replies[: len(commands)])
    except StopIteration as stop:
        done: T = stop.value
        return done


def _report(letter: Letter, replies: Sequence[Reply]) -> None:
    for reply in replies:
        if isinstance(reply, TiercacheError):
            letter.failed(reply)
            return


def split(items: Sequence[T], size: int) -> list[Sequence[T]]:
    """Return the items in groups of this size."""
    return [items[start : start + size] for start in range(0, len(items), size)]


def replace(layout: Layout, key: str, entry: Entry, tag: bytes) -> Steps[bool]:
    """Write an entry where something with this tag lies, or nothing (an empty tag)."""
    (reply,) = yield [replacing(layout, key, entry, tag)]
    return bool(value(reply))


def replacing(layout: Layout, key: str, entry: Entry, tag: bytes) -> Command:
    """Return the command that does so."""
    command = layout.write(key, entry)
    if command[0] == b"SET":
        _, name, data, *expiry = command
        arguments: Command = (name, tag, expiry[1] if expiry else b"", data)
    else:
        arguments = (command[1], tag, 0)
    return (b"EVAL", REPLACE, 1, *arguments)


def _pages(
    layout: Layout, entries: Mapping[str, Entry], failed: dict[str, BackendError]
) -> Iterator[dict[str, Command]]:
    """Yield the writes in pages, encoded when it is their turn; what cannot be encoded is in `failed`."""
    page: dict[str, Command] = {}
    size = 0
    for key, entry in entries.items():
        try:
            page[key] = command = layout.write(key, entry)
        except BackendError as error:  # too large
            failed[key] = error
            continue
        size += sum(len(part) for part in command if isinstance(part, bytes))
        if len(page) >= PAGE or size >= WRITE_BYTES:
            yield page
            page, size = {}, 0
    if page:
        yield page


def _rest(error: BackendError, keys: Sequence[str], *, any_done: bool) -> dict[str, BackendError]:
    """Return the failures of the rest of a batch; when nothing was done, the error speaks for the whole batch."""
    if not any_done:
        raise error
    return dict.fromkeys(keys, error)
