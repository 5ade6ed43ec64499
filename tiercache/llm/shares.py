"""What a provider counts for a batch (tokens, cost), shared out over its items so that the sums are the same again."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

_EXACT_DIGITS = 15


def shared_out(usage: Any, weights: Sequence[int]) -> list[Any]:
    """Return a share for each weight: whole numbers add up to the same, objects are shared out field by field.

    What is no number (null, text) stands in each share.
    """
    if isinstance(usage, Mapping):
        fields = {name: shared_out(value, weights) for name, value in usage.items()}
        return [{name: shares[number] for name, shares in fields.items()} for number in range(len(weights))]
    if type(usage) is int:
        return list(_whole(usage, weights))
    if type(usage) is float:
        total = sum(weights)
        return [usage * weight / total for weight in weights]
    return [usage] * len(weights)


def added_up(shares: Iterable[tuple[Any, int]]) -> Any:
    """Return what shares amount to; each with the number of times that it is there. None: there is none."""
    present = [(share, times) for share, times in shares if share is not None]
    if not present:
        return None
    first = present[0][0]
    if isinstance(first, Mapping):
        objects = [(share, times) for share, times in present if isinstance(share, Mapping)]
        names = dict.fromkeys(name for share, _ in objects for name in share)
        return {name: added_up((share.get(name), times) for share, times in objects) for name in names}
    numbers = [(share, times) for share, times in present if type(share) in (int, float)]
    if not numbers:
        return first
    if all(type(share) is int for share, _ in numbers):
        return sum(share * times for share, times in numbers)
    return float(f"{math.fsum(share * times for share, times in numbers):.{_EXACT_DIGITS}g}")


def _whole(total: int, weights: Sequence[int]) -> Iterable[int]:
    """Yield whole numbers in proportion to the weights: what the running sum, rounded, grows by."""
    whole, passed, given = sum(weights), 0, 0
    for weight in weights:
        passed += weight
        upto = (2 * total * passed + whole) // (2 * whole)
        yield upto - given
        given = upto
