"""Vectors as providers write them (JSON numbers, or float32 in base64) <-> arrays, bit for bit.

A vector that came in base64 is float32. One that came as numbers is kept as float32 only where each number is told by
it: either it is exactly that number ("exact"), or it is the number that the shortest text of the float32 stands for
("short"), as most providers write them. All others are float64.
"""

from __future__ import annotations

import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from numpy.typing import NDArray

Encoding = Literal["float", "base64"]
Writing = Literal["exact", "short"]
_DIGITS = range(6, 10)
"""Of a decimal text: up to 6 survive a float32 as they are, and 9 always tell which float32 it is."""
_POWERS = range(-46, 40)


@dataclass(frozen=True, slots=True, repr=False)
class Vector:
    """A vector as it is stored.

    Attributes:
        array: 1-d, little-endian float32, or float64 where that does not hold the numbers.
        writing: which numbers a float32 stands for.
    """

    array: NDArray[Any]
    writing: Writing = "exact"

    def written(self, encoding: Encoding) -> Any:
        """Return the vector as base64 of float32, or as the list of its numbers."""
        if encoding == "base64":
            return binascii.b2a_base64(self.array.astype("<f4", copy=False).data, newline=False).decode("ascii")
        return self.numbers()

    def numbers(self) -> list[float]:
        """Return the numbers, equal to those that the provider gave."""
        numbers: list[float] = (_shortest(self.array) if self.writing == "short" else self.array).tolist()
        return numbers


def available() -> bool:
    """Whether numpy is there to hold vectors."""
    try:
        import numpy  # noqa: F401
    except ImportError:
        return False
    return True


def read(written: Any) -> Vector | None:
    """Return the vector that a provider wrote; None: it is none, or holds what no float32 can be."""
    if isinstance(written, str):
        return _of_base64(written)
    return _of_numbers(written) if isinstance(written, list) else None


def of_array(array: Any, writing: Any) -> Vector | None:
    """Return the vector that an entry holds; None: it holds none."""
    import numpy as np

    if not isinstance(array, np.ndarray) or array.ndim != 1 or array.dtype.str not in ("<f4", "<f8"):
        return None
    return Vector(array, "short" if writing == "short" else "exact")


def _of_base64(text: str) -> Vector | None:
    import numpy as np

    try:
        data = binascii.a2b_base64(text, strict_mode=True)
    except ValueError:  # binascii.Error is one
        return None
    if not data or len(data) % 4:
        return None
    array = np.frombuffer(data, "<f4")
    return Vector(array) if np.isfinite(array).all() else None


def _of_numbers(numbers: Sequence[Any]) -> Vector | None:
    import numpy as np

    kinds = set(map(type, numbers))
    if not kinds or kinds - {float, int}:
        return None
    try:
        wide = np.array(numbers, "<f8")
    except OverflowError:
        return None
    with np.errstate(over="ignore"):
        narrow = wide.astype("<f4")
    if not np.isfinite(narrow).all() or (int in kinds and not (abs(wide) <= 2**53).all()):
        return None
    if (narrow == wide).all():
        return Vector(narrow)
    return Vector(narrow, "short") if (_shortest(narrow) == wide).all() else Vector(wide)


def _shortest(narrow: NDArray[Any]) -> NDArray[Any]:
    """Return, as float64, the numbers that the shortest decimal texts of float32s stand for.

    Where it fails to find one the float32 itself stays; a caller compares. It uses nothing but exact powers of ten,
    comparisons, and products and quotients as IEEE 754 rounds them, so that every machine gets the same.
    """
    import numpy as np

    wide = narrow.astype("<f8")
    size = np.abs(wide)
    floor, scales = _powers()
    magnitude = np.searchsorted(floor, size, side="right") + (_POWERS[0] - 1)  # 10**magnitude <= size
    found = wide.copy()
    left = np.nonzero(size)[0]
    for digits in _DIGITS:
        if not len(left):
            break
        shift = digits - 1 - magnitude[left]
        reachable = (shift >= -22) & (shift <= 22)  # beyond, a power of ten is not exact
        up, down = scales[np.clip(shift, 0, 22)], scales[np.clip(-shift, 0, 22)]
        decimal = np.rint(wide[left] * up / down) / up * down
        right = reachable & (decimal.astype("<f4") == narrow[left])
        found[left[right]] = decimal[right]
        left = left[~right]
    return found


@cache
def _powers() -> tuple[NDArray[Any], NDArray[Any]]:
    import numpy as np

    return np.array([float(f"1e{power}") for power in _POWERS]), np.array([float(10**power) for power in range(23)])
