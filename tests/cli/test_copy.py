"""`tiercache copy`: from any tier to any other, interrupted and gone on with, and what it says of it."""

from __future__ import annotations

import json
import re
import uuid
from pathlib import Path

import pytest

from tiercache import KeyRing

from .conftest import Run
from .moved import count, fill, interrupted, values
from .stores import of_s3


def test_from_disk_to_redis_and_back(run: Run, tmp_path: Path, redis_url: str) -> None:
    here, there, back = (
        f"disk://{tmp_path}/a",
        f"{redis_url}?prefix={uuid.uuid4().hex}:&timeout=10s",
        f"disk://{tmp_path}/b",
    )
    fill(here, tags=["t"], ttl=3600)
    ran = run("copy", "--from", here, "--to", there, "--json")
    assert (ran.json["copied"], ran.json["total"], ran.json["complete"], ran.json["errors"]) == (50, 50, True, {})
    again = run("copy", "--from", there, "--to", back)
    assert re.search(r"copied +50", again.out)
    assert "entries/s" in again.err
    assert values(back, "k00007") == [[7] * 20]


@pytest.mark.slow
def test_into_s3_and_into_segments_there(run: Run, tmp_path: Path, s3_server, s3_bucket: str, s3_prefix: str) -> None:
    here, env = f"disk://{tmp_path}/a", of_s3(s3_server)
    single, packed = f"s3://{s3_bucket}/{s3_prefix}a/", f"s3+packed://{s3_bucket}/{s3_prefix}b/"
    fill(here, ttl=86_400)
    late = "?timeout=30s"
    assert run("copy", "--from", here, "--to", single + late, "--json", env=env).json["copied"] == 50
    assert run("copy", "--from", single + late, "--to", packed + late, "--json", env=env).json["copied"] == 50
    back = run("copy", "--from", packed + late, "--to", f"disk://{tmp_path}/b", "--json", env=env)
    assert back.json["copied"] == 50
    assert values(f"disk://{tmp_path}/b", "k00007") == [[7] * 20]


@pytest.mark.slow
def test_filters_and_what_may_be_overwritten(run: Run, tmp_path: Path) -> None:
    here, there = f"disk://{tmp_path}/a", f"disk://{tmp_path}/b"
    fill(here, 20, tags=["t"])
    fill(here, 5, namespace="other")
    fill(there, 5, size=1)
    both = ("--from", here, "--to", there, "--json")
    assert run("copy", *both, "--namespace", "other", "--prefix", "k00001").json["copied"] == 1
    assert run("copy", *both, "--tag", "t", "--newer-than", "1h").json["skipped_newer"] == 5
    assert values(there, "k00002") == [[2]]
    assert run("copy", *both, "--overwrite", "always").json["replaced"] == 5
    assert values(there, "k00002") == [[2] * 20]
    mistake = run("copy", *both, "--overwrite", "newer", expect=2)
    assert "older, never, always" in mistake.err


@pytest.mark.parametrize("here", ["disk", pytest.param("redis", marks=pytest.mark.slow)])
def test_ctrl_c_ends_it_and_the_same_command_goes_on(run: Run, tmp_path: Path, redis_url: str, here: str) -> None:
    disk, redis = f"disk://{tmp_path}/a", f"{redis_url}?prefix={uuid.uuid4().hex}:&timeout=10s"
    source, there = (disk, redis) if here == "disk" else (redis, disk)
    fill(source, 8_000)
    state = tmp_path / "state"
    arguments = ["copy", "--from", source, "--to", there, "--state", state, "--json"]
    ran = interrupted(arguments, state)
    assert ran.code == 130, ran.err
    first = ran.json
    assert 0 < first["copied"] < 8_000
    assert not first["complete"]
    assert f"--state {state}" in ran.err
    assert "password" not in state.read_text()
    second = run(*arguments).json
    assert second["complete"]
    assert first["copied"] + second["copied"] == 8_000, "nothing twice"
    assert count(there) == 8_000
    assert not state.exists()


@pytest.mark.slow
def test_without_a_state_it_says_which_token_to_type(run: Run, tmp_path: Path) -> None:
    here, there = f"disk://{tmp_path}/a", f"disk://{tmp_path}/b"
    fill(here, 8_000)
    ran = interrupted(["copy", "--from", here, "--to", there], tmp_path / "b")
    assert ran.code == 130, ran.err
    [token] = re.findall(r"with --resume (\S+)", ran.err) or [None]
    more = ["--resume", token.strip("'")] if token is not None else []  # it may not have come to the end of a page
    run("copy", "--from", here, "--to", there, *more)
    assert count(there) == 8_000


def test_a_state_of_another_run_is_refused(run: Run, tmp_path: Path) -> None:
    here, state = f"disk://{tmp_path}/a", tmp_path / "state"
    fill(here, 5)
    state.write_text(json.dumps({"job": "of another", "resume": "after:n:k00002"}))
    arguments = ("copy", "--from", here, "--to", f"disk://{tmp_path}/b", "--state", state)
    assert "another run" in run(*arguments, expect=2).err
    state.write_text("rubbish")
    assert "no state" in run(*arguments, expect=2).err


def test_what_is_damaged_is_counted_and_its_keys_are_shown_when_asked_for(run: Run, tmp_path: Path) -> None:
    import sqlite3

    here, there = f"disk://{tmp_path}/a", f"disk://{tmp_path}/b"
    fill(here, 5)
    with sqlite3.connect(tmp_path / "a") as db:
        db.execute("UPDATE entries SET data = x'00' WHERE key = ?", (b"n:k00003",))
    ran = run("copy", "--from", here, "--to", there, expect=1)
    assert re.search(r"damaged +1", ran.out)
    assert "1 entry could not be copied (1 CorruptEntry); --show-keys lists them" in ran.err
    assert "k00003" not in ran.out + ran.err
    ran = run("copy", "--from", here, "--to", there, "--show-keys", "--json", expect=1)
    assert ran.json["keys"] == {"n:k00003": "CorruptEntry"}


@pytest.mark.slow
def test_sealed_entries_are_copied_without_their_key(run: Run, tmp_path: Path) -> None:
    from contextlib import closing

    from tiercache import Cache, DiskBackend, TierChain

    keys = KeyRing({"k1": bytes(range(32))})
    with closing(TierChain(DiskBackend(tmp_path / "a"), keys=keys)) as chain:
        Cache(chain, namespace="n").set("k", "secret")
    ran = run("copy", "--from", f"disk://{tmp_path}/a", "--to", f"disk://{tmp_path}/b")
    assert re.search(r"sealed, and stay so +1", ran.out)
    with closing(TierChain(DiskBackend(tmp_path / "b"), keys=keys)) as chain:
        assert Cache(chain, namespace="n").get("k") == "secret"


def test_a_store_that_is_down_ends_it(run: Run, tmp_path: Path, free_port: int) -> None:
    fill(f"disk://{tmp_path}/a", 5)
    ran = run("copy", "--from", f"disk://{tmp_path}/a", "--to", f"redis://user:hidden@localhost:{free_port}", expect=3)
    assert "0 of 0 entries copied" in ran.err
    assert "type the same command again" in ran.err
    assert "hidden" not in ran.err


def test_mistakes(run: Run, tmp_path: Path) -> None:
    here = f"disk://{tmp_path}/a"
    fill(here, 5)
    assert "--from URL and --to URL" in run("copy", "--from", here, expect=2).err
    assert "ends with this command" in run("copy", "--from", here, "--to", "memory://", expect=2).err
    assert "not both" in run("copy", "--from", here, "--to", here, "--state", "s", "--resume", "x", expect=2).err
