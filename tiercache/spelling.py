"""`did_you_mean`: what somebody meant who misspelt a name."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ` (did you mean 'ttl'?)` for a name that is nearly one of those known; else nothing."""
    near = nearly(name, known, 0.6 if len(name) > 3 else 0.5)
    return "" if near is None else f" (did you mean {near!r}?)"


def nearly(name: str, known: Iterable[str], likeness: float = 0.6) -> str | None:
    """Return the known name that is most like a name; None: none is as like it as that, 0 to 1."""
    near = difflib.get_close_matches(name.lower(), list(known), n=1, cutoff=likeness)
    return near[0] if near else None


def is_one_slip(name: str, other: str) -> bool:
    """Whether one letter too many, too few or wrong, or two that are swapped, make one name of the other."""
    if abs(len(name) - len(other)) > 1 or name == other:
        return False
    longer, shorter = (name, other) if len(name) >= len(other) else (other, name)
    same = next((at for at, (one, two) in enumerate(zip(longer, shorter, strict=False)) if one != two), len(shorter))
    ours, theirs = longer[same:], shorter[same:]
    if len(ours) > len(theirs):
        return ours[1:] == theirs
    return ours[1:] == theirs[1:] or (ours[:2] == theirs[1::-1] and ours[2:] == theirs[2:])
