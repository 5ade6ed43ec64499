"""What can go wrong, named by what the caller can do about it.

    TiercacheError
    ├── BackendError                 a store could not do what was asked
    │   ├── BackendUnavailable       skip the tier, try again later
    │   │   └── CircuitOpen          the tier is not asked for now; the message says until when, and why
    │   ├── BackendTimeout           the deadline passed: skip the tier, the operation may still take effect
    │   ├── AccessDenied             fix the credentials or the permissions
    │   ├── EntryTooLarge            do not store this entry here
    │   ├── CorruptEntry             treat as a miss; the next write replaces it
    │   │   ├── UnknownFormat        treat as a miss; a newer release wrote it, leave it alone
    │   │   │   └── UnknownKey       treat as a miss; others have the key that sealed it, leave it alone
    │   │   ├── NotSealed            treat as a miss; it is less protected than the chain's keys ask for
    │   │   └── TypeMismatch         treat as a miss; the value is intact, and not of the type asked for
    │   └── PartialFailure           a batch of which some keys failed: use its results, retry its keys
    ├── ConfigurationError           fix the configuration (also a ValueError)
    │   ├── MisconfiguredTier        likewise (also a CircuitOpen: the tier is not asked meanwhile)
    │   ├── InvalidKey               use another key
    │   └── MissingExtra             install the extra that it names
    ├── UncacheableValue             store something else (also a TypeError)
    ├── ReentrantComputation         a factory asked for its own key: compute without the cache there
    ├── ComputeTimeout               the factory takes longer than you wait: ask again later (also a TimeoutError)
    ├── NotCached                    `only_if_cached` and a miss: ask without it, or go without (also a LookupError)
    └── CacheClosed                  use an open cache

One warning is given, and never raised by itself: `StorageClassWarning` (a UserWarning).

No message holds a key, a value or a secret; the keys of a `PartialFailure` are in its attributes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class TiercacheError(Exception):
    """The root of every error that tiercache raises on purpose."""


class BackendError(TiercacheError):
    """A store could not do what was asked. In a chain it is counted and the tier is skipped."""


class BackendUnavailable(BackendError):
    """The store cannot be reached or refuses work for now. Skip it and try again later.

    Attributes:
        retry_after: seconds after which it is worth trying once more, 0.0 for at once: what a throttling store asks
            for, or after a connection that broke. None: it is not.
        tier_wide: whether other operations would fare no better now. False where only writes are refused, or only
            this process is too busy: a breaker does not count that.
    """

    def __init__(self, message: str = "", *, retry_after: float | None = None, tier_wide: bool = True) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.tier_wide = tier_wide


class CircuitOpen(BackendUnavailable):
    """The tier failed lately and is not asked for now: nothing was sent. The message says until when, and why."""


class BackendTimeout(BackendError):
    """The deadline passed. Skip the store; an abandoned write may still take effect.

    Attributes:
        tier_wide: False where the time was spent waiting for something in this process (a thread, a connection) and
            the store was not asked: a breaker does not count that.
    """

    def __init__(self, message: str = "", *, tier_wide: bool = True) -> None:
        super().__init__(message)
        self.tier_wide = tier_wide


class AccessDenied(BackendError):
    """The store refused the credentials or the action. Fix the credentials or the permission it names."""


class EntryTooLarge(BackendError):
    """The entry exceeds what this store takes. It belongs in another tier, or nowhere."""


class CorruptEntry(BackendError):
    """What the store holds under the key is not an intact entry of that key. Treat it as a miss."""


class UnknownFormat(CorruptEntry):
    """A release newer than this one wrote the entry. Treat it as a miss and leave it in place."""


class UnknownKey(UnknownFormat):
    """The entry is sealed with a key that is not at hand. Treat it as a miss and leave it to those who have the key."""


class NotSealed(CorruptEntry):
    """The entry is not sealed, or not encrypted, in a chain whose keys ask for that. Treat it as a miss.

    An older release wrote it, or somebody who has no key. The next write replaces it.
    """


class TypeMismatch(CorruptEntry):
    """The value is intact and is not of the `type` that was asked for. Treat it as a miss."""


class PartialFailure(BackendError):
    """Some keys of a batch failed.

    Attributes:
        results: what succeeded, in the form that the batch call returns (a dict of entries, or a count).
        failed: the error of each key that failed.
    """

    def __init__(self, failed: Mapping[str, BackendError], results: Any = None) -> None:
        self.failed = dict(failed)
        self.results = results
        kinds = sorted({type(error).__name__ for error in self.failed.values()})
        super().__init__(f"{len(self.failed)} key(s) of the batch failed ({', '.join(kinds)}); see .failed")


class ConfigurationError(TiercacheError, ValueError):
    """Something in the configuration is wrong: a bad option, a missing bucket. The message names the fix."""


class MisconfiguredTier(CircuitOpen, ConfigurationError):
    """The tier is not asked for now because its configuration is wrong: a missing bucket, say. Fix that."""


class InvalidKey(ConfigurationError):
    """The key cannot be stored; the message says why, without the key."""


class MissingExtra(ConfigurationError):
    """A package that this part needs is not installed."""

    def __init__(self, what: str, extra: str) -> None:
        self.extra = extra
        super().__init__(f"{what} needs a package that is not installed: install tiercache[{extra}]")


class UncacheableValue(TiercacheError, TypeError):
    """No codec stores this value without changing it. The message names the path inside the value."""


class ReentrantComputation(TiercacheError, RuntimeError):
    """A factory asked the cache for the key that it is computing, itself or through the factories of other keys.

    That could never end. Call the function that makes the value, not the cache, or use another key.
    """


class ComputeTimeout(TiercacheError, TimeoutError):
    """The value was not there within the caller's `timeout`. Its computation goes on and is stored: ask again later."""


class NotCached(TiercacheError, LookupError):
    """There is no answer that may be served, and the caller said `only_if_cached`: the provider was not asked."""

    def __init__(self) -> None:
        super().__init__("no answer is cached for this request, and only_if_cached forbids to ask for one")


class CacheClosed(TiercacheError, RuntimeError):
    """The cache or backend was used after `close()`."""

    def __init__(self, what: str = "this cache") -> None:
        super().__init__(f"{what} is closed; create a new one")


class StorageClassWarning(UserWarning):
    """The entries are billed for more than they are in their storage class. The message has the figure and a choice."""
