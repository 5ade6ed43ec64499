"""The performance page: made from the figures, and no peer wins a row that does not say what it does less."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
JOBS = ("hit", "hit of bytes", "miss", "write", "batch read", "batch write", "callers")
pytest.importorskip("numpy")


@pytest.fixture
def benchmarks(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Imports a module of `benchmarks/`; what was imported is forgotten at the end."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    yield importlib.import_module
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(ROOT / "benchmarks")):
            del sys.modules[name]


def row(**changes: Any) -> dict[str, Any]:
    """A row of a peer that takes longer than we do, with these changes."""
    figures = {"ours": 100.0, "theirs": 200.0, "ratio": 0.5, "cpu_ours": 100.0, "cpu_theirs": 200.0, "cpu_ratio": 0.5}
    about = {"area": "beside", "tier": "memory", "name": "memory: a hit, sync", "peer": "a peer", "job": "hit"}
    return about | {"face": "sync", "callers": 1, "unit": "ns"} | figures | changes


def page_of(benchmarks: Any, monkeypatch: pytest.MonkeyPatch, *rows: dict[str, Any]) -> Any:
    page = benchmarks("page")
    monkeypatch.setattr(page.figures, "read", lambda: {"areas": {"beside-memory": {"rows": list(rows)}}})
    return page


def test_a_peer_that_wins_says_what_it_does_less(benchmarks: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    page = page_of(benchmarks, monkeypatch, row(ratio=2.0, less="no expiry; no counters"))
    assert page.beside("memory").endswith("Where a peer wins, it\n\n1. no expiry\n2. no counters")


def test_a_peer_that_loses_needs_no_explanation(benchmarks: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    page = page_of(benchmarks, monkeypatch, row(less="no expiry"))
    assert "no expiry" not in page.beside("memory")


@pytest.mark.parametrize("ratio", ["ratio", "cpu_ratio"])
def test_no_table_has_a_peer_that_wins_without_an_explanation(
    benchmarks: Any, monkeypatch: pytest.MonkeyPatch, ratio: str
) -> None:
    page = page_of(benchmarks, monkeypatch, row(**{ratio: 1.01}))
    with pytest.raises(page.Unexplained, match="a peer wins"):
        page.beside("memory")


@pytest.mark.parametrize("tier", ["on_memory", "on_disk", "on_redis", "on_s3"])
def test_every_peer_has_an_explanation_for_every_job(benchmarks: Any, tier: str) -> None:
    module = benchmarks(f"beside.{tier}")
    silent = [
        (peer.name, job) for peer in module.CONTENDERS[1:] for job in JOBS if len(peer.explanation(job)) < len("no ttl")
    ]
    assert not silent


def test_areas_that_were_not_measured_keep_their_figures(
    benchmarks: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    figures = benchmarks("figures")
    monkeypatch.setattr(figures, "FILE", tmp_path / "figures.json")
    figures.keep({"l1": [{"name": "a hit", "ours": 1.23456}], "disk": []}, {"date": "2026-01-01"})
    figures.keep({"disk": [{"name": "a read", "note": ""}]}, {"date": "2026-01-02"})
    areas = figures.read()["areas"]
    assert areas["l1"] == {"date": "2026-01-01", "rows": [{"name": "a hit", "ours": 1.235}]}
    assert areas["disk"] == {"date": "2026-01-02", "rows": [{"name": "a read"}]}
