"""The cells as pytest parameters: which run in `make test`, and which are known to fail."""

from __future__ import annotations

import pytest

from tests.faults.catalogue import CATALOGUE
from tests.faults.fault import cells
from tests.faults.rigs import PACKED

KNOWN = {
    "10-s3-delete-": "a HEAD is answered 400 without a code: an expired token is taken for an endpoint that is no S3",
    "11-s3-delete-": "a HEAD is answered 404 without a code: a missing bucket is taken for a missing object",
    "11-gcs-get-": "a 404 for a missing bucket is taken for one about the object",
    "11-gcs-get_many-": "a 404 for a missing bucket is taken for one about the object",
    "11-gcs-delete-": "a 404 for a missing bucket is taken for one about the object",
}
"""Cells that fail because the product is wrong, by the start of `id-face`, each with the reason."""

QUICK = frozenset({"2a", "5c", "6c", "7", "7b", "13a", "13b", "14b", "15", "16", "26"})
"""Rows of which all cells run in `make test`; of the slow ones, `QUICK_SLOW` with one operation for each store
but the packed ones, whose `close` waits for what it could not write."""
QUICK_SLOW = ("3c", "3e")


def parameters(face):
    """A parameter for each cell of the face."""
    return [pytest.param(cell, id=cell.id, marks=_marks(cell)) for cell in cells(CATALOGUE, face)]


def _marks(cell):
    marks = []
    reason = next((reason for start, reason in KNOWN.items() if f"{cell.id}-{cell.face}".startswith(start)), None)
    if reason is not None:
        marks.append(pytest.mark.xfail(strict=True, reason=reason))
    if cell.fault.id not in QUICK and not (
        cell.fault.id in QUICK_SLOW and cell.operation == "set" and cell.kind not in PACKED
    ):
        marks.append(pytest.mark.slow)
    return marks
