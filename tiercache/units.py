"""Sizes and durations as people write them: `"256MiB"`, `"15m"`, `timedelta(days=30)`, `3600`."""

from __future__ import annotations

import math
import re
from datetime import timedelta
from fractions import Fraction

from .errors import ConfigurationError

Duration = float | int | str | timedelta
Size = int | str

_NUMBER = re.compile(r"\s*([0-9]{1,30}(?:\.[0-9]{1,30})?)\s*([A-Za-z]*)\s*")
_SECONDS = {"": 1, "ms": 1e-3, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400, "w": 604800}
_BYTES = {"": 1, "B": 1} | {
    prefix + suffix: base**power
    for power, prefix in enumerate("KMGT", start=1)
    for suffix, base in (("iB", 1024), ("B", 1000), ("", 1024))
}
_BYTES_BY_FOLDED_NAME = {name.casefold(): factor for name, factor in _BYTES.items()}


def parse_size(size: Size, what: str = "size") -> int:
    """Return a number of bytes.

    Args:
        size: an integer number of bytes, or text such as `"256MiB"` (1024-based), `"1GB"` (1000-based), `"64K"`.
        what: the name of the option, for the message.

    Raises:
        ConfigurationError: the text is no size, or the size is not positive.
    """
    if isinstance(size, str):
        match = _NUMBER.fullmatch(size)
        factor = _BYTES_BY_FOLDED_NAME.get(match[2].casefold()) if match else None
        if match is None or factor is None:
            raise ConfigurationError(
                f"{what}={_shown(size)} is not a size; write a number of bytes or text such as '256MiB', '1GB', '64K'"
            )
        size = int(Fraction(match[1]) * factor)  # exact: a float has only 53 bits
    if isinstance(size, bool) or not isinstance(size, int):
        raise ConfigurationError(
            f"{what} must be a whole number of bytes or text such as '256MiB', not {type(size).__name__}"
        )
    if size <= 0:
        raise ConfigurationError(f"{what} must be a positive number of bytes")
    return size


def shown_bytes(size: float) -> str:
    """Return a number of bytes for people: `1.5 GiB`, `8.5 KiB`, `300 bytes`."""
    for unit, name in ((2**40, "TiB"), (2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")):
        if size >= unit:
            return f"{size / unit:,.1f}".removesuffix(".0") + f" {name}"
    return f"{size:.0f} byte{'' if size == 1 else 's'}"


def parse_duration(duration: Duration, what: str = "duration") -> float:
    """Return a number of seconds.

    Args:
        duration: seconds, a `timedelta`, or text such as `"90s"`, `"15m"`, `"12h"`, `"30d"`, `"2w"`.
        what: the name of the option, for the message.

    Raises:
        ConfigurationError: the text is no duration, or it is negative, zero, NaN or infinite.
    """
    if isinstance(duration, timedelta):
        seconds = duration.total_seconds()
    elif isinstance(duration, str):
        match = _NUMBER.fullmatch(duration)
        factor = _SECONDS.get(match[2]) if match else None
        if match is None or factor is None:
            raise ConfigurationError(
                f"{what}={_shown(duration)} is not a duration; write seconds or text such as '90s', '15m', '12h', '30d'"
            )
        seconds = float(match[1]) * factor
    elif isinstance(duration, (int, float)) and not isinstance(duration, bool):
        seconds = _float(duration)
    else:
        raise ConfigurationError(
            f"{what} must be seconds, a timedelta or text such as '12h', not {type(duration).__name__}"
        )
    if not (math.isfinite(seconds) and seconds > 0):
        raise ConfigurationError(
            f"{what} must be a positive, finite number of seconds, not {seconds:g} (None, where allowed: no limit)"
        )
    return seconds


def _float(number: float) -> float:
    try:
        return float(number)
    except OverflowError:  # an int beyond 1.8e308
        return math.inf


def _shown(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:40] + "…")
