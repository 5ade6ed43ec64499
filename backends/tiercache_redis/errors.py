"""What redis-py raises, in the words of `tiercache.errors`: the one place where they are mapped.

The messages are our own. The server's can quote what it was sent ("unknown command … with args beginning with"),
which may be a password or a key.
"""

from __future__ import annotations

import os
import re
import socket
import ssl

from redis import exceptions as theirs

from tiercache.errors import (
    AccessDenied,
    BackendTimeout,
    BackendUnavailable,
    ConfigurationError,
    CorruptEntry,
    TiercacheError,
)

VENDOR_ERRORS = (theirs.RedisError, OSError)
"""What an exchange with Redis can raise; `OSError` includes `TimeoutError`."""

LEADS_ELSEWHERE = (theirs.ReadOnlyError, theirs.MasterDownError)
"""After a failover the old connections lead to a replica: these answers end the connection."""

_REFUSED = (
    theirs.AuthenticationError,
    theirs.AuthorizationError,
    theirs.AuthenticationWrongNumberOfArgsError,
)
_OTHER_NODE = (theirs.AskError, theirs.ClusterCrossSlotError)  # MOVED is an AskError there
_NOT_SERVED = (theirs.ClusterDownError, theirs.TryAgainError)
# redis-py 5 makes plain errors of what a cluster answers.
_REDIRECTION = re.compile(r"(MOVED|ASK) (\d+) (.*):(\d+)")
_FORBIDDEN_COMMAND = re.compile(r"'([A-Za-z|]{1,40})' command")
_CODE = re.compile(r"[A-Z]{2,20}\b")

_CLUSTER = (
    "the server is a node of a Redis Cluster that does not hold the key: "
    "write redis+cluster://… (rediss+cluster:// for TLS) in place of redis://"
)
_FOR_NOW = {
    "OOM": "is out of memory and refuses writes: raise maxmemory or set an eviction policy",
    "READONLY": "is a read-only replica: connect to the primary",
    "LOADING": "is loading its data",
    "BUSY": "is busy with a script",
    "MISCONF": "cannot save to disk and refuses writes: see its log",
    "CLUSTERDOWN": "says that its cluster is down",
    "MASTERDOWN": "is a replica that lost its primary",
    "NOREPLICAS": "has too few replicas to accept writes",
}
_ONLY_WRITES = {"OOM", "READONLY", "MISCONF", "NOREPLICAS"}  # reads go on
_CODES = {
    theirs.OutOfMemoryError: "OOM",
    theirs.ReadOnlyError: "READONLY",
    theirs.BusyLoadingError: "LOADING",
    theirs.MasterDownError: "MASTERDOWN",
    theirs.ClusterDownError: "CLUSTERDOWN",
}


class NotSent(theirs.ConnectionError):
    """An idle connection was found dead before anything was sent on it."""


class Redirected(ConfigurationError):
    """A node of a cluster answered that another one has the key; nothing was done.

    Attributes:
        slot: the hash slot of the key.
        node: host (empty: the one that answered) and port of the other node.
        once: whether this holds for this command only (ASK), as the slot is on its way there.
    """

    def __init__(self, slot: int, node: tuple[str, int], *, once: bool) -> None:
        super().__init__(_CLUSTER)
        self.slot, self.node, self.once = slot, node, once


class NotServed(BackendUnavailable):
    """The server did nothing, as it cannot serve this for now; another one may."""


def answered(error: theirs.ResponseError) -> TiercacheError:
    """Return `mapped(error)` of an error that came as a reply; a cluster's own answers tell more."""
    text = str(error)
    if isinstance(error, theirs.AskError):
        return Redirected(error.slot_id, (error.host, error.port), once=not isinstance(error, theirs.MovedError))
    if elsewhere := _REDIRECTION.fullmatch(text):
        code, slot, host, port = elsewhere.groups()
        return Redirected(int(slot), (host, int(port)), once=code == "ASK")
    ours = mapped(error)
    if isinstance(error, _NOT_SERVED) or text.startswith(("CLUSTERDOWN ", "TRYAGAIN ")):
        return NotServed(str(ours))
    return ours


def mapped(error: BaseException) -> TiercacheError:
    """Return the error of `tiercache.errors` that tells a caller what to do about `error`."""
    if isinstance(error, _REFUSED):
        return AccessDenied("Redis wants other credentials: check the user name and the password in the URL")
    if isinstance(error, theirs.NoPermissionError):
        return _forbidden(str(error))
    if isinstance(error, (theirs.TimeoutError, TimeoutError)):
        return BackendTimeout("Redis did not answer within the deadline")
    if isinstance(error, _OTHER_NODE):
        return ConfigurationError(_CLUSTER)
    if isinstance(error, theirs.InvalidResponse):
        return BackendUnavailable("the answer is not Redis protocol: check that the URL points to a Redis server")
    if isinstance(error, (theirs.ResponseError, theirs.BusyLoadingError)):
        return _answered(error)
    return _unreachable(error)


def all_busy(limit: int) -> BackendTimeout:
    """Return the error of a caller that got no connection in time."""
    text = f"all {limit} connections to Redis were busy until the deadline: raise max_connections"
    return BackendTimeout(text, tier_wide=False)


def _forbidden(text: str) -> TiercacheError:
    command = _FORBIDDEN_COMMAND.search(text)
    if command is not None:
        return AccessDenied(f"the Redis user may not run {command[1].upper()}: allow it with ACL SETUSER")
    if "channel" in text:
        return AccessDenied(
            "the Redis user may not use the channel of the notices: allow it with ACL SETUSER (&prefix*), "
            "or make the chain with coherent=False"
        )
    return AccessDenied("the Redis user may not touch keys with this prefix: allow them with ACL SETUSER (~prefix*)")


def _answered(error: BaseException) -> TiercacheError:
    text = str(error)
    code = next((name for kind, name in _CODES.items() if isinstance(error, kind)), None)
    if code is None:
        first = _CODE.match(text)
        code = first[0] if first else "ERR"
    if code == "WRONGTYPE":
        return CorruptEntry("the key holds another type of Redis value, not an entry")
    if "ACL failure in script" in text:
        return _forbidden(text)
    if code == "DENIED":
        return AccessDenied("Redis is in protected mode and takes local connections only: set a password there")
    if code in ("MOVED", "ASK", "CROSSSLOT"):
        return ConfigurationError(_CLUSTER)
    if code in _FOR_NOW:
        return BackendUnavailable(f"Redis {_FOR_NOW[code]}", tier_wide=code not in _ONLY_WRITES)
    if "DB index" in text or "Invalid Database" in text:
        return ConfigurationError("the server has no database of the number in the URL: use a smaller one, such as 0")
    if "cluster support disabled" in text:
        return ConfigurationError(
            "the server is no node of a Redis Cluster: write redis:// in place of redis+cluster://"
        )
    if "unknown command" in text.lower():
        return ConfigurationError("the server lacks a command that is needed: use Redis 5 or later, or Valkey")
    return BackendUnavailable(f"Redis answered with an error ({code}); its log may say more")


def _unreachable(error: BaseException) -> TiercacheError:
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, OSError):
        cause = cause.__cause__ or cause.__context__
    if isinstance(cause, ssl.SSLCertVerificationError):
        return ConfigurationError(
            "the server's TLS certificate is not trusted: name its authority with ?ssl_ca_certs=/path in the URL"
        )
    if isinstance(cause, ssl.SSLError):
        return BackendUnavailable("the TLS handshake with Redis failed: check that its port speaks TLS (rediss://)")
    if isinstance(cause, socket.gaierror):
        return BackendUnavailable("cannot reach Redis: the name of its host is not known")
    if cause is None or cause.errno is None:
        return BackendUnavailable("the connection to Redis broke")
    return BackendUnavailable(f"cannot reach Redis: {os.strerror(cause.errno)}")  # its own text may hold the address
