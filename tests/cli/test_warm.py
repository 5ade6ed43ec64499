"""`tiercache warm`: the shared fast tiers are filled from the slowest."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest

from tiercache import Cache, TierChain

from .conftest import Run
from .moved import count, fill
from .stores import of_s3


@pytest.fixture
def fast(redis_url: str) -> str:
    return f"{redis_url}?prefix={uuid.uuid4().hex}:&timeout=10s"


@pytest.mark.slow
def test_redis_is_filled_from_s3(
    run: Run, tmp_path: Path, fast: str, s3_server, s3_bucket: str, s3_prefix: str
) -> None:
    env, slow = of_s3(s3_server), f"s3://{s3_bucket}/{s3_prefix}?timeout=30s"
    fill(f"disk://{tmp_path}/a", 20)
    run("copy", "--from", f"disk://{tmp_path}/a", "--to", slow, env=env)
    ran = run("warm", "memory://", fast, slow, "--namespace", "n", "--yes", "--json", env=env).json["report"]
    assert (ran["warmed"], ran["warm"], ran["missing"], ran["stopped"]) == (20, 0, 0, None)
    assert count(fast) == 20
    assert run("warm", fast, slow, "-n", "n", "--yes", "--json", env=env).json["report"]["warm"] == 20


def test_keys_come_from_a_file_or_by_their_prefix(run: Run, tmp_path: Path, fast: str) -> None:
    slow, keys = f"disk://{tmp_path}/a", tmp_path / "keys"
    fill(slow)
    keys.write_text("k00001\nk00002\n\nnowhere\n")
    ran = run("warm", fast, slow, "-n", "n", "--keys", keys)
    assert "2 " in ran.out
    assert count(fast) == 2
    assert run("warm", fast, slow, "-n", "n", "--keys", "-", "--json", stdin="k00003").json["report"]["warmed"] == 1
    assert run("warm", fast, slow, "-n", "n", "--prefix", "k0004", "--yes", "--json").json["report"]["warmed"] == 10


@pytest.mark.slow
def test_a_dry_run_copies_nothing_and_bounds_hold(run: Run, tmp_path: Path, fast: str) -> None:
    slow = f"disk://{tmp_path}/a"
    fill(slow)
    ran = run("warm", fast, slow, "-n", "n", "--dry-run", "--json").json
    assert (ran["dry_run"], ran["report"]["warmed"], count(fast)) == (True, 50, 0)
    assert run("warm", fast, slow, "-n", "n", "--limit", "7", "--json").json["report"]["stopped"] == "limit"
    assert count(fast) == 7
    small = f"disk://{tmp_path}/small?max_bytes=2KiB"
    ran = run("warm", small, slow, "-n", "n")
    assert "no more room" in ran.err
    assert 0 < count(small) < 50


def test_a_redis_is_not_filled_unasked(run: Run, tmp_path: Path, fast: str) -> None:
    slow = f"disk://{tmp_path}/a"
    fill(slow)
    refused = run("warm", fast, slow, "-n", "n", "--json", expect=2)
    before = count(fast)
    bounded = run("warm", fast, slow, "-n", "n", "--max-bytes", "1GiB", "--json").json["report"]

    assert "redis tells no bound: --max-bytes" in refused.err
    assert "50 entries would come up" in refused.err
    assert "--yes" in refused.err
    assert before == 0
    assert bounded["warmed"] == 50


def test_a_tier_with_a_bound_is_filled_up_to_it_without_a_question(run: Run, tmp_path: Path) -> None:
    fast, slow = f"disk://{tmp_path}/fast", f"disk://{tmp_path}/a"
    fill(slow, 5)

    assert run("warm", fast, slow, "-n", "n", "--json").json["report"]["warmed"] == 5


def test_mistakes_and_nothing_to_warm(run: Run, tmp_path: Path, fast: str) -> None:
    slow = f"disk://{tmp_path}/a"
    fill(slow, 5)
    assert "outlives this command" in run("warm", "memory://", slow, expect=2).err
    assert "not both" in run("warm", fast, slow, "--keys", "f", "--prefix", "k", expect=2).err
    assert "cannot be read" in run("warm", fast, slow, "--keys", tmp_path / "none", expect=2).err
    assert "nothing came up" in run("warm", fast, slow, "-n", "empty", expect=1).err


def test_a_key_may_hold_what_some_take_for_the_end_of_a_line(run: Run, tmp_path: Path, fast: str) -> None:
    slow, key = f"disk://{tmp_path}/a", "a\u2028b\x0bc"
    with Cache(TierChain.from_urls(slow), namespace="n") as cache:
        cache.set(key, 1)
    keys = tmp_path / "keys"
    keys.write_bytes(f"{key}\r\n".encode())
    for source in (["--keys", str(keys)], ["--keys", "-"]):
        report = run("warm", fast, slow, "-n", "n", *source, "--json", stdin=f"{key}\n").json["report"]
        assert report["missing"] == 0
        assert report["warmed"] + report["warm"] == 1
