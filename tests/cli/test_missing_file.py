"""A disk tier whose file is not there: commands that only look make none, and say what to correct."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from .conftest import Run
from .moved import count, fill


@pytest.mark.parametrize(
    "arguments",
    [
        ("ls",),
        ("inspect", "k"),
        ("stats",),
        ("export", "FILE"),
        ("rm", "--all", "--yes"),
        ("sweep",),
    ],
)
def test_a_command_that_looks_refuses_and_makes_none(run: Run, tmp_path: Path, arguments: Sequence[str]) -> None:
    path = tmp_path / "mistyped"
    said = run(*(str(tmp_path / "f") if one == "FILE" else one for one in arguments), f"disk://{path}", expect=2).err

    assert f"there is no file {path}" in said
    assert "Correct the path" in said
    assert list(tmp_path.iterdir()) == []


def test_it_is_told_where_the_tier_was_named(run: Run, tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text('[[tiers]]\nurl = "disk://mistyped"\n')
    by_variable = run("ls", env={"TIERCACHE_URLS": f"disk://{tmp_path}/mistyped"}, expect=2)

    assert "--config c.toml: tier disk" in run("ls", "--config", "c.toml", cwd=tmp_path, expect=2).err
    assert "TIERCACHE_URLS: tier disk" in by_variable.err


def test_a_copy_needs_the_source_and_makes_the_destination(run: Run, tmp_path: Path) -> None:
    here, there = f"disk://{tmp_path}/a", f"disk://{tmp_path}/b"
    refused = run("copy", "--from", here, "--to", there, expect=2)
    fill(here, 5)
    run("copy", "--from", here, "--to", there)

    assert "--from: tier disk: there is no file" in refused.err
    assert count(there) == 5


def test_warming_needs_the_slowest_and_makes_a_faster_one(run: Run, tmp_path: Path) -> None:
    fast, slow = f"disk://{tmp_path}/fast", f"disk://{tmp_path}/slow"
    refused = run("warm", fast, slow, "-n", "n", expect=2)
    before = list(tmp_path.iterdir())
    fill(slow, 5)
    run("warm", fast, slow, "-n", "n")

    assert f"there is no file {tmp_path}/slow" in refused.err
    assert before == []
    assert count(fast) == 5


def test_the_doctor_tries_the_directory_says_that_there_is_no_file_and_leaves_none(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "not" / "yet" / "cache"
    report = run("doctor", f"disk://{path}", "--json").json
    (tier,) = report["tiers"]
    (finding,) = (each for each in tier["findings"] if each["about"] == "file")

    assert (report["ok"], tier["operations"]["write"], finding["level"]) == (True, "ok", "note")
    assert f"there is no file {path}" in finding["text"]
    assert list(tmp_path.iterdir()) == []


def test_a_source_without_such_an_entry_is_the_answer_no_and_a_file_that_is_there_stays(
    run: Run, tmp_path: Path
) -> None:
    here, file = f"disk://{tmp_path}/a", tmp_path / "backup"
    fill(here, 5)
    run("export", file, here)
    before = file.read_bytes()
    again = run("export", file, here, "--force", "--namespace", "mistyped", "--json", expect=1)
    fresh = run("export", tmp_path / "fresh", here, "--prefix", "mistyped", expect=1)
    copied = run("copy", "--from", here, "--to", f"disk://{tmp_path}/b", "--namespace", "mistyped", expect=1)
    imported = run("import", file, f"disk://{tmp_path}/c", "--namespace", "mistyped", expect=1)

    assert (again.json["copied"], again.json["file"]) == (0, None)
    assert file.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir() if "fresh" in path.name) == []
    for ran in (again, fresh, copied, imported):
        assert "nothing to copy" in ran.err
