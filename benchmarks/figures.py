"""The figures of `docs/performance.md`, kept beside it: one file, an object for each area with its date and machine."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
FILE = ROOT / "docs" / "performance.json"
Figures = dict[str, Any]


def read() -> Figures:
    """Return `{"areas": {name: {"rows": […], "date": …, "machine": …, …}}}`; nothing was measured yet: no areas."""
    return json.loads(FILE.read_text(encoding="utf-8")) if FILE.exists() else {"areas": {}}


def keep(areas: Mapping[str, Sequence[Mapping[str, Any]]], about: Mapping[str, Any]) -> None:
    """Put the areas in place of what was known of them; those that were not measured keep their figures and date."""
    figures = read()
    for name, rows in areas.items():
        figures["areas"][name] = dict(about) | {"rows": [_short(row) for row in rows]}
    FILE.write_text(json.dumps(figures, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _short(row: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what is empty, and digits that say nothing."""
    return {name: _rounded(value) for name, value in row.items() if value not in (None, "", "info")}


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.4g}")
    return [_rounded(one) for one in value] if isinstance(value, (list, tuple)) else value
