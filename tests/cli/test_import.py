"""`tiercache import`: what a file holds comes in by the rules of copy, also of one that was cut off."""

from __future__ import annotations

import re
import uuid
from pathlib import Path

import pytest

from .conftest import Run
from .moved import count, fill, interrupted, values
from .stores import of_s3


@pytest.fixture
def file(run: Run, tmp_path: Path) -> Path:
    """A file of 50 entries."""
    fill(f"disk://{tmp_path}/a", tags=["t"])
    run("export", tmp_path / "f", f"disk://{tmp_path}/a")
    return tmp_path / "f"


def test_into_redis(run: Run, file: Path, redis_url: str) -> None:
    url = f"{redis_url}?prefix={uuid.uuid4().hex}:&timeout=10s"
    ran = run("import", file, url, "--json").json
    assert (ran["copied"], ran["total"], ran["complete"]) == (50, 50, True)
    assert values(url, "k00007") == [[7] * 20]
    again = run("import", file, url)
    assert re.search(r"were there +50", again.out)


@pytest.mark.slow
def test_into_objects_and_segments(run: Run, file: Path, s3_server, s3_bucket: str, s3_prefix: str) -> None:
    for scheme in ("s3", "s3+packed"):
        url = f"{scheme}://{s3_bucket}/{s3_prefix}{len(scheme)}/?timeout=30s"
        assert run("import", file, url, "--json", env=of_s3(s3_server)).json["copied"] == 50
        assert run("import", file, url, "--json", env=of_s3(s3_server)).json["skipped_present"] == 50


@pytest.mark.slow
def test_the_filters_of_copy_hold(run: Run, file: Path, tmp_path: Path) -> None:
    there = f"disk://{tmp_path}/b"
    assert run("import", file, there, "--namespace", "n", "--prefix", "k0001", "--json").json["copied"] == 10
    assert run("import", file, there, "--tag", "none", "--json").json["skipped_other"] == 50


@pytest.mark.slow
def test_ctrl_c_ends_it_and_the_same_command_goes_on(run: Run, tmp_path: Path) -> None:
    here, there, state = f"disk://{tmp_path}/a", f"disk://{tmp_path}/b", tmp_path / "state"
    fill(here, 8_000)
    run("export", tmp_path / "f", here)
    arguments = ["import", tmp_path / "f", there, "--state", state, "--json"]
    ran = interrupted(arguments, state)
    assert ran.code == 130, ran.err
    assert 0 < ran.json["copied"] < 8_000
    second = run(*arguments).json
    assert ran.json["copied"] + second["copied"] == 8_000
    assert count(there) == 8_000


@pytest.mark.slow
def test_of_a_file_that_was_cut_off_the_whole_blocks_come_in(run: Run, tmp_path: Path) -> None:
    here, there, file = f"disk://{tmp_path}/a", f"disk://{tmp_path}/b", tmp_path / "f"
    fill(here, 9_000)
    run("export", file, here)
    data = file.read_bytes()
    file.write_bytes(data[:-1000])
    ran = run("import", file, there, expect=3)
    assert "it was cut off" in ran.err
    whole = int(re.findall(r"whole blocks with ([\d,]+) entries", ran.err)[0].replace(",", ""))
    assert 0 < whole < 9_000
    assert count(there) == whole
    damaged = bytearray(data)
    damaged[len(data) // 2] ^= 1
    file.write_bytes(bytes(damaged))
    assert "damaged" in run("import", file, there, expect=3).err


def test_mistakes(run: Run, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_bytes(b"something else")
    assert "no file" in run("import", tmp_path / "none", f"disk://{tmp_path}/b", expect=2).err
    assert "tiercache export" in run("import", other, f"disk://{tmp_path}/b", expect=2).err
    assert "tiercache export" in run("import", "-", f"disk://{tmp_path}/b", stdin="x", expect=2).err
    assert "ends with this command" in run("import", other, "memory://", expect=2).err
