"""What a caller says about an entry and about its computation, checked."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Mapping
from dataclasses import KW_ONLY, dataclass
from typing import Any, TypedDict

from .entry import AttributeValue
from .errors import ConfigurationError
from .units import Duration, parse_duration

OWN: Any = object()
"""Stands for "as the cache was told", where None has a meaning of its own ("never expires", "none")."""
_ATTRIBUTE_TYPES = (str, int, float, bool)
_JITTER_STEPS = 64
"""Few enough that entries go on sharing what describes them in memory."""


class EntryOptions(TypedDict, total=False):
    """What `set` and all that store take: see `Cache.set`."""

    ttl: Duration | None
    stale_for: Duration | None
    tags: Iterable[str]
    attributes: Mapping[str, AttributeValue] | None
    storage_class: str | None


class ComputeOptions(EntryOptions, total=False):
    """What `get_or_set` takes as well: see `Cache.get_or_set`."""

    stale_if_error: bool | Duration | None
    soft_timeout: Duration | None
    timeout: Duration | None
    refresh_ahead: float | None
    negative_ttl: Duration | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Defaults:
    """What a cache was told, in seconds (and fractions): it holds where a call says nothing."""

    ttl: float | None = None
    stale_for: float | None = None
    stale_if_error: float | None = None
    soft_timeout: float | None = None
    timeout: float | None = None
    refresh_ahead: float | None = None
    negative_ttl: float | None = None
    jitter: float = 0.0

    @property
    def keeps_for(self) -> float | None:
        """How long after its ttl an entry is kept; None: not at all."""
        return _longest(self.stale_for, self.stale_if_error)

    @classmethod
    def of(
        cls,
        *,
        ttl: Duration | None = None,
        stale_for: Duration | None = None,
        stale_if_error: bool | Duration | None = None,
        soft_timeout: Duration | None = None,
        timeout: Duration | None = None,
        refresh_ahead: float | None = None,
        negative_ttl: Duration | None = None,
        jitter: float = 0.0,
    ) -> Defaults:
        """Check what a cache is told.

        Raises:
            ConfigurationError: something is no duration, or no fraction.
        """
        stale = seconds(stale_for, "stale_for")
        return cls(
            ttl=seconds(ttl, "ttl"),
            stale_for=stale,
            stale_if_error=_if_error(stale_if_error, stale),
            soft_timeout=seconds(soft_timeout, "soft_timeout"),
            timeout=seconds(timeout, "timeout"),
            refresh_ahead=fraction(refresh_ahead),
            negative_ttl=seconds(negative_ttl, "negative_ttl"),
            jitter=_jitter(jitter),
        )


class Options:
    """What a caller says about an entry: ttl, stale time, tags, attributes and storage class."""

    __slots__ = ("attributes", "stale_for", "storage_class", "tags", "ttl")

    def __init__(
        self,
        ttl: float | None,
        stale_for: float | None,
        tags: Iterable[str],
        attributes: Mapping[str, AttributeValue] | None,
        storage_class: str | None,
    ) -> None:
        self.ttl = ttl
        self.stale_for = stale_for
        self.storage_class = storage_class
        self.tags = checked_tags(tags)
        self.attributes = checked_attributes(attributes)


class Freshness:
    """What a caller of `get_or_set` takes in place of a fresh value, and how long it waits. In seconds.

    Attributes:
        stale_for: how long after its ttl a value is served at once.
        stale_if_error: how long after its ttl it is served when the factory fails; infinity: as long as it is kept.
        soft_timeout, timeout: how long the factory may take, with and without a stale value to serve.
        refresh_ahead: the last part of its ttl in which a value is refreshed before it expires.
        negative_ttl: how long a None is kept.
    """

    __slots__ = ("negative_ttl", "refresh_ahead", "soft_timeout", "stale_for", "stale_if_error", "timeout")

    def __init__(
        self,
        defaults: Defaults,
        *,
        stale_for: Duration | None = OWN,
        stale_if_error: bool | Duration | None = OWN,
        soft_timeout: Duration | None = OWN,
        timeout: Duration | None = OWN,
        refresh_ahead: float | None = OWN,
        negative_ttl: Duration | None = OWN,
    ) -> None:
        self.stale_for = given(stale_for, defaults.stale_for, "stale_for")
        if stale_if_error is OWN:
            self.stale_if_error = defaults.stale_if_error
        else:
            self.stale_if_error = _if_error(stale_if_error, self.stale_for)
        self.soft_timeout = given(soft_timeout, defaults.soft_timeout, "soft_timeout")
        self.timeout = given(timeout, defaults.timeout, "timeout")
        self.refresh_ahead = defaults.refresh_ahead if refresh_ahead is OWN else fraction(refresh_ahead)
        self.negative_ttl = given(negative_ttl, defaults.negative_ttl, "negative_ttl")

    @property
    def keeps_for(self) -> float | None:
        """How long after its ttl an entry has to be kept for this; None: not at all."""
        return _longest(self.stale_for, self.stale_if_error)

    @property
    def serves_for(self) -> float:
        """How long after its ttl a value may be served, if need be."""
        return max(self.stale_for or 0.0, self.stale_if_error or 0.0)


@dataclass(frozen=True, slots=True, repr=False)
class Computed:
    """What a factory may return in place of the value, to say what only the value tells.

    Attributes:
        value: the value.
        ttl: how long it is fresh; left out: as the call says; None: for ever.
        tags, attributes: in addition to those of the call.
        store: False hands the value to all who wait for it and stores it nowhere.
    """

    value: Any
    _: KW_ONLY
    ttl: Duration | None = OWN
    tags: Iterable[str] = ()
    attributes: Mapping[str, AttributeValue] | None = None
    store: bool = True

    def __repr__(self) -> str:  # never the value: a repr ends up in logs
        return f"<Computed {'' if self.store else 'not '}to be stored>"


def seconds(duration: Duration | None, what: str) -> float | None:
    """Return a duration in seconds; None stays None."""
    return None if duration is None else parse_duration(duration, what)


def age_limit(max_age: Duration | None) -> float | None:
    """Return a `max_age` in seconds; unlike other durations it may be 0: nothing is young enough."""
    return 0.0 if max_age == 0 and not isinstance(max_age, bool) else seconds(max_age, "max_age")


def given(duration: Duration | None, default: float | None, what: str) -> float | None:
    """Return what a call says, else what the cache was told."""
    return default if duration is OWN else seconds(duration, what)


def fraction(number: float | None) -> float | None:
    """Check a `refresh_ahead`."""
    if number is None:
        return None
    if isinstance(number, bool) or not isinstance(number, (int, float)) or not 0 < number < 1:
        raise ConfigurationError(
            "refresh_ahead must be a number between 0 and 1, such as 0.2 for the last fifth of a ttl"
        )
    return float(number)


def shortened(ttl: float, jitter: float) -> float:
    """Return the ttl less a random part of it, `jitter` of it at most."""
    if not jitter:
        return ttl
    short = ttl * (1 - jitter * random.randrange(_JITTER_STEPS) / _JITTER_STEPS)  # noqa: S311 - no secret
    return float(math.floor(short)) if short >= 60 else short


def _longest(*times: float | None) -> float | None:
    return max((time for time in times if time is not None and math.isfinite(time)), default=None)


def _jitter(number: float) -> float:
    if isinstance(number, bool) or not isinstance(number, (int, float)) or not 0 <= number <= 1:
        raise ConfigurationError("jitter must be a number from 0 to 1, such as 0.1 to shorten lives by up to a tenth")
    return float(number)


def _if_error(value: bool | Duration | None, stale_for: float | None) -> float | None:
    if value is None or value is False:
        return None
    if value is True:
        if stale_for is None:
            raise ConfigurationError(
                "stale_if_error=True keeps nothing by itself; say for how long, as in stale_if_error='1d', or give "
                "stale_for"
            )
        return math.inf
    return parse_duration(value, "stale_if_error")


def checked_tags(tags: Iterable[str]) -> tuple[str, ...]:
    """Return tags that an entry can hold."""
    if type(tags) is tuple and not tags:  # most entries have none
        return ()
    if isinstance(tags, (str, bytes)) or not isinstance(tags, Iterable):
        raise ConfigurationError(f"tags must be a list of str, not one {type(tags).__name__}")
    checked = tuple(tags)
    for tag in checked:
        if type(tag) is not str:
            raise ConfigurationError(f"tags must be a list of str; one is of type {type(tag).__name__}")
    _check_unicode("tags", checked)
    return checked


def checked_attributes(attributes: Mapping[str, AttributeValue] | None) -> dict[str, AttributeValue]:
    """Return attributes that an entry can hold."""
    if attributes is None:
        return {}
    if not isinstance(attributes, Mapping):
        raise ConfigurationError(f"attributes must be a dict, not {type(attributes).__name__}")
    checked = dict(attributes)
    for name, value in checked.items():
        if type(name) is not str or not (value is None or type(value) in _ATTRIBUTE_TYPES):
            raise ConfigurationError(
                "attributes map str to str, int, float, bool or None, "
                f"not {type(name).__name__} to {type(value).__name__}"
            )
        if type(value) is int and not -(2**63) <= value < 2**64:
            raise ConfigurationError("an int in attributes must fit into 64 bits; store it as a str")
    _check_unicode("attributes", [text for item in checked.items() for text in item if type(text) is str])
    return checked


def _check_unicode(what: str, texts: Iterable[str]) -> None:
    """Refuse what could not be written into an entry for the slower tiers."""
    try:
        "".join(texts).encode()
    except UnicodeEncodeError:
        whole = False
    else:
        whole = True
    if not whole:
        raise ConfigurationError(f"{what} must be valid Unicode; one holds a lone surrogate")
