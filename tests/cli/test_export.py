"""`tiercache export`: one file, whole or not there."""

from __future__ import annotations

import os
import re
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from tiercache import Cache, DiskBackend, KeyRing, TierChain

from .conftest import Run, command, environment
from .moved import count, fill, interrupted
from .stores import of_s3


def test_a_file_is_written_and_told_of(run: Run, tmp_path: Path) -> None:
    here, file = f"disk://{tmp_path}/a", tmp_path / "f.tier"
    fill(here)
    fill(here, 5, namespace="other")
    ran = run("export", file, here, "--json").json
    assert (ran["copied"], ran["file"], ran["file_bytes"]) == (55, str(file), file.stat().st_size)
    assert "--force" in run("export", file, here, expect=2).err
    ran = run("export", file, here, "--force", "--namespace", "other")
    assert re.search(r"copied +5", ran.out)


@pytest.mark.slow
def test_objects_and_segments_are_exported(run: Run, tmp_path: Path, s3_server, s3_bucket: str, s3_prefix: str) -> None:
    env, late = of_s3(s3_server), "?timeout=30s"
    fill(f"disk://{tmp_path}/a", 20)
    for scheme in ("s3", "s3+packed"):
        url = f"{scheme}://{s3_bucket}/{s3_prefix}{len(scheme)}/{late}"
        run("copy", "--from", f"disk://{tmp_path}/a", "--to", url, env=env)
        assert run("export", tmp_path / scheme, url, "--json", env=env).json["copied"] == 20


def test_it_goes_through_a_pipe(tmp_path: Path, redis_url: str) -> None:
    here, there = f"disk://{tmp_path}/a", f"disk://{tmp_path}/b"
    fill(here)
    writing = subprocess.Popen(
        [*command(), "export", "-", here], env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert writing.stdout is not None
    done = subprocess.run(
        [*command(), "import", "-", there], env=environment(), stdin=writing.stdout, capture_output=True, timeout=110
    )
    writing.stdout.close()
    _, told = writing.communicate(timeout=110)
    assert (writing.returncode, done.returncode) == (0, 0), done.stderr
    assert b"50 of 50 entries copied" in told
    assert count(there) == 50


@pytest.mark.slow
def test_interrupted_nothing_is_left(tmp_path: Path) -> None:
    here, out = f"disk://{tmp_path}/a", tmp_path / "out"
    fill(here, 8_000)
    out.mkdir()
    before = out.stat().st_mtime_ns

    class Begun:
        def exists(self) -> bool:
            return out.stat().st_mtime_ns != before

    ran = interrupted(["export", out / "f", here], Begun())  # type: ignore[arg-type]
    assert ran.code == 130, ran.err
    assert os.listdir(out) == []


@pytest.mark.slow
def test_sealed_entries_stay_sealed_and_that_is_said(run: Run, tmp_path: Path) -> None:
    keys = KeyRing({"k1": bytes(range(32))})
    with closing(TierChain(DiskBackend(tmp_path / "a"), keys=keys)) as chain:
        Cache(chain, namespace="n").set("k", "secret")
    ran = run("export", tmp_path / "f", f"disk://{tmp_path}/a")
    assert "1 entry is sealed and stays so" in ran.err
    assert b"secret" not in (tmp_path / "f").read_bytes()
    run("import", tmp_path / "f", f"disk://{tmp_path}/b")
    with closing(TierChain(DiskBackend(tmp_path / "b"), keys=keys)) as chain:
        assert Cache(chain, namespace="n").get("k") == "secret"


@pytest.mark.parametrize("arguments", [["-", "--json"], ["/no/such/directory/f"]])
def test_mistakes(run: Run, tmp_path: Path, arguments: list[str]) -> None:
    fill(f"disk://{tmp_path}/a", 5)
    assert run("export", arguments[0], f"disk://{tmp_path}/a", *arguments[1:], expect=2).err
