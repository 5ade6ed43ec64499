"""`tiercache demo`: it runs with nothing but the package, and shows what it says."""

from __future__ import annotations

from pathlib import Path

from .conftest import Run


def test_the_model_is_asked_once_for_each_question(run: Run) -> None:
    shown = run("demo", "--delay", "0.01", "--json").json
    acts = [(act["asked"], act["hits"]["memory"], act["hits"]["disk"], act["computed"]) for act in shown["acts"]]

    assert shown["ok"]
    assert acts[:3] == [(20, 0, 0, 20), (20, 20, 0, 0), (20, 0, 20, 0)]
    assert acts[3][0] == 16
    assert acts[3][3] == 1, "sixteen callers share one computation"


def test_it_is_a_table_for_people_and_leaves_nothing_behind(run: Run, tmp_path: Path) -> None:
    elsewhere = {"TMPDIR": str(tmp_path), "TIERCACHE_DIR": str(tmp_path / "own")}
    ran = run("demo", "--delay", "0", env=elsewhere, cwd=tmp_path)

    assert "76 questions, 21 calls of the model" in ran.out
    assert list(tmp_path.iterdir()) == []


def test_a_delay_that_is_none_is_a_mistake(run: Run) -> None:
    assert "--delay" in run("demo", "--delay", "long", expect=2).err
