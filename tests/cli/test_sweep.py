"""`tiercache sweep`: what is expired or invalidated goes from the buckets of a chain, and nothing else."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from tiercache import Cache, TierChain
from tiercache_s3 import S3Backend

from .conftest import Run
from .stores import names_in, of_s3, s3_client

LATER = "?timeout=30s"


@pytest.fixture
def url(s3_server, s3_bucket: str, s3_prefix: str) -> str:
    """A bucket with six expired entries, two invalidated ones, one that is kept, and one of another namespace."""
    backend = S3Backend(
        s3_bucket,
        prefix=s3_prefix,
        region=s3_server.region,
        endpoint_url=s3_server.endpoint_url,
        access_key_id=s3_server.access_key,
        secret_access_key=s3_server.secret_key,
        timeout=30,
    )
    with Cache(backend) as cache:
        cache.set_many({f"old{number}": number for number in range(6)}, ttl=0.01)
        for name in ("a", "b"):
            cache.set(name, name, tags=["document"])
        cache.invalidate_tags(["document"])
        cache.set("kept", 1)
        Cache(cache.chain, namespace="other").set("old", 1, ttl=0.01)
    return f"s3://{s3_bucket}/{s3_prefix}{LATER}"


def left(s3_server, s3_bucket: str, s3_prefix: str) -> list[str]:
    with closing(s3_client(s3_server)) as client:
        names = names_in(client, s3_bucket, s3_prefix)
    return sorted(name.removeprefix(s3_prefix) for name in names if "_meta" not in name)


def test_a_dry_run_counts_and_deletes_nothing_and_a_sweep_does_it(
    run: Run, url: str, s3_server, s3_bucket: str, s3_prefix: str
) -> None:
    dry = run("sweep", url, "--dry-run", "--json", env=of_s3(s3_server)).json
    before = left(s3_server, s3_bucket, s3_prefix)
    done = run("sweep", "memory://", url, "--json", env=of_s3(s3_server)).json

    assert (dry["dry_run"], dry["swept"]["s3"]["deleted"]) == (True, 8)
    assert len(before) == 10
    assert done["swept"]["s3"]["deleted"] == 8
    assert left(s3_server, s3_bucket, s3_prefix) == ["default:kept", "other:old"]


@pytest.mark.slow
def test_it_goes_by_the_namespace(run: Run, url: str, s3_server, s3_bucket: str, s3_prefix: str) -> None:
    ran = run("sweep", url, "--namespace", "other", env=of_s3(s3_server))

    assert "deleted" in ran.out
    assert "other:old" not in left(s3_server, s3_bucket, s3_prefix)
    assert len(left(s3_server, s3_bucket, s3_prefix)) == 9


@pytest.mark.slow
def test_a_budget_that_ends_is_gone_on_from_with_a_file(
    run: Run, url: str, s3_server, s3_bucket: str, s3_prefix: str, tmp_path: Path
) -> None:
    state = tmp_path / "state.json"
    first = run("sweep", url, "--max-requests", "6", "--state", state, env=of_s3(s3_server), expect=1)
    second = run("sweep", url, "--state", state, "--json", env=of_s3(s3_server)).json

    assert "sweep again to go on" in first.err
    assert 0 < second["swept"]["s3"]["deleted"] < 8
    assert left(s3_server, s3_bucket, s3_prefix) == ["default:kept", "other:old"]


def test_a_file_that_holds_something_else_is_a_mistake(run: Run, tmp_path: Path) -> None:
    (tmp_path / "state").write_text("[1, 2]")

    assert "no state of a sweep" in run("sweep", "s3://bucket/p/", "--state", tmp_path / "state", expect=2).err


@pytest.mark.slow
def test_packed_segments_are_compacted_when_asked(run: Run, s3_server, s3_bucket: str, s3_prefix: str) -> None:
    url = f"s3+packed://{s3_bucket}/{s3_prefix}{LATER}"
    swept = run("sweep", url, "--compact", "--json", env=of_s3(s3_server)).json

    assert list(swept["swept"]) == list(swept["compacted"]) == ["s3+packed"]
    assert "cannot be tried" in run("sweep", url, "--compact", "--dry-run", expect=2).err


@pytest.mark.slow
def test_a_dry_run_counts_the_segments_that_would_go(
    run: Run, s3_server, s3_bucket: str, s3_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"s3+packed://{s3_bucket}/{s3_prefix}{LATER}"
    for name, value in of_s3(s3_server).items():
        monkeypatch.setenv(name, value)
    for _ in range(2):  # the second segment hides all of the first
        with Cache(TierChain.from_urls(url), namespace="n") as cache:
            cache.set_many({f"k{number}": "v" * 100 for number in range(5)})
    dry = run("sweep", url, "--namespace", "n", "--dry-run", "--json").json["swept"]["s3+packed"]
    people = run("sweep", url, "--namespace", "n", "--dry-run").out
    done = run("sweep", url, "--namespace", "n", "--json").json["swept"]["s3+packed"]
    again = run("sweep", url, "--namespace", "n", "--dry-run", "--json").json["swept"]["s3+packed"]

    assert (dry["deleted"], again["deleted"]) == (1, 0)
    assert dry["freed"] > 0
    assert "would go" in people
    assert (done["deleted"], done["freed"]) == (dry["deleted"], dry["freed"])


@pytest.mark.slow
def test_a_store_that_fails_ends_it_with_exit_code_3(run: Run, s3_server) -> None:
    ran = run("sweep", f"s3://no-such-bucket/p/{LATER}", env=of_s3(s3_server), expect=2)
    wrong = of_s3(s3_server, AWS_SECRET_ACCESS_KEY="not-the-one")

    assert "does not exist" in ran.err
    assert "refuses the credentials" in run("sweep", f"s3://bucket/p/{LATER}", env=wrong, expect=3).err


def test_a_chain_without_a_bucket_needs_no_sweep(run: Run) -> None:
    assert "free what is expired by themselves" in run("sweep", "memory://", expect=2).err
