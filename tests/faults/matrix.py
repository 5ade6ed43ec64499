"""The cells as pytest parameters: which run in `make test`, and which are known to fail."""

from __future__ import annotations

import pytest

from tests.faults.catalogue import CATALOGUE
from tests.faults.fault import cells

KNOWN: dict[str, str] = {}
"""Cells that fail because the product is wrong, by the start of their id, each with the reason."""

QUICK: frozenset[str] = frozenset()
"""Rows of which all cells run in `make test`."""


def parameters(face):
    """A parameter for each cell of the face."""
    return [pytest.param(cell, id=cell.id, marks=_marks(cell)) for cell in cells(CATALOGUE, face)]


def _marks(cell):
    marks = []
    reason = next((reason for start, reason in KNOWN.items() if f"{cell.id}-{cell.face}".startswith(start)), None)
    if reason is not None:
        marks.append(pytest.mark.xfail(strict=True, reason=reason))
    return marks
