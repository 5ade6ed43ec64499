"""`tiercache rm`: it shows what it will do, asks, does it, and other processes hear of it."""

from __future__ import annotations

import time
import uuid
from pathlib import Path

import pytest

from tests.other_process import OtherProcess
from tiercache import Cache, TierChain
from tiercache.llm import LLMCache
from tiercache.packed import PackedBackend
from tiercache.testing.servers import S3Server

from .conftest import Run
from .moved import fill


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    """Two disk tiers, as URLs."""
    return [f"disk://{tmp_path}/one", f"disk://{tmp_path}/two"]


def cache_on(urls: list[str], namespace: str = "n") -> Cache:
    return Cache(TierChain.from_urls(*urls), namespace=namespace)


def left_in(urls: list[str], namespace: str = "n") -> list[str]:
    """The keys that a read finds."""
    with cache_on(urls, namespace) as cache:
        return sorted(key for key in cache.keys() if cache.contains(key))  # noqa: SIM118 - a method of caches


def test_keys_are_removed_from_all_tiers(run: Run, files: list[str]) -> None:
    with cache_on(files) as cache:
        cache.set_many({"a": 1, "b": 2, "c": 3})

    done = run("rm", *files, "-n", "n", "--key", "a", "--key", "b", "--yes", "--json").json

    assert (done["how"], done["removed"]) == ("delete", 2)
    assert [(tier["tier"], tier["entries"]) for tier in done["tiers"]] == [("disk", 2), ("disk-2", 2)]
    assert left_in(files) == ["c"]


def test_a_prefix_is_removed(run: Run, files: list[str]) -> None:
    with cache_on(files) as cache:
        cache.set_many({f"{name}:{number}": 1 for name in ("chat", "embed") for number in range(600)})

    done = run("rm", *files, "-n", "n", "--prefix", "chat:", "--yes", "--json").json

    assert done["removed"] == 600
    assert done["tiers"][0]["examples"] == [f"chat:{number}" for number in (0, 1, 10, 100, 101)]
    assert len(left_in(files)) == 600


def test_without_a_terminal_and_yes_it_shows_what_it_would_do_and_does_not(run: Run, files: list[str]) -> None:
    with cache_on(files) as cache:
        cache.set_many({"a": 1, "b": 2})

    ran = run("rm", *files, "-n", "n", "--prefix", "a", expect=2)

    assert "such as a" in ran.out
    assert "--yes" in ran.err
    assert left_in(files) == ["a", "b"]


def test_a_dry_run_removes_nothing(run: Run, files: list[str]) -> None:
    with cache_on(files) as cache:
        cache.set_many({"a": 1, "b": 2})

    done = run("rm", *files, "-n", "n", "--all", "--purge", "--dry-run", "--json").json

    assert done["dry_run"]
    assert [tier["entries"] for tier in done["tiers"]] == [2, 2]
    assert left_in(files) == ["a", "b"]


def test_a_tag_is_invalidated_and_the_bytes_stay(run: Run, files: list[str]) -> None:
    with cache_on(files) as cache:
        cache.set("a", 1, tags=["red"])
        cache.set("b", 1)

    done = run("rm", *files, "-n", "n", "--tag", "red", "--yes", "--json").json

    assert (done["how"], done["purge"], done["removed"]) == ("invalidate", False, None)
    assert [tier["entries"] for tier in done["tiers"]] == [1, 1]
    assert left_in(files) == ["b"]
    with cache_on(files) as cache:
        assert cache.chain.tiers[0].backend.get("n:a") is not None


def test_with_purge_the_bytes_of_a_tag_go_too(run: Run, files: list[str]) -> None:
    with cache_on(files) as cache:
        cache.set("a", 1, tags=["red"])
        cache.set("b", 1)

    assert run("rm", *files, "-n", "n", "--tag", "red", "--purge", "--yes", "--json").json["removed"] == 1

    with cache_on(files) as cache:
        assert [key for key, _ in cache.chain.tiers[0].backend.scan("n:")] == ["n:b"]


@pytest.mark.parametrize("purge", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_everything_in_a_namespace_goes_and_no_other(run: Run, files: list[str], purge: bool) -> None:
    for name in ("n", "m"):
        with cache_on(files, name) as cache:
            cache.set("a", 1)

    run("rm", *files, "-n", "n", "--all", "--yes", *(["--purge"] if purge else []))

    assert (left_in(files), left_in(files, "m")) == ([], ["a"])
    with cache_on(files) as cache:
        assert bool(list(cache.chain.tiers[0].backend.scan("n:"))) is not purge


@pytest.mark.slow
def test_all_namespaces_can_be_meant(run: Run, files: list[str]) -> None:
    for name in ("n", "m"):
        with cache_on(files, name) as cache:
            cache.set_many({"a": 1, "b": 1}, tags=["red"])

    assert run("rm", *files, "--namespace", "all", "--key", "a", "--yes", "--json").json["removed"] == 2
    assert (left_in(files), left_in(files, "m")) == (["b"], ["b"])
    run("rm", *files, "--namespace", "all", "--yes")
    assert (left_in(files), left_in(files, "m")) == ([], [])


def test_a_tenant_of_the_llm_layer_is_removed(run: Run, files: list[str]) -> None:
    request = {"model": "m", "messages": [{"role": "user", "content": "hello"}]}
    answer = {"choices": [{"message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}]}
    with cache_on(files) as cache:
        llm = LLMCache(cache)
        for tenant in ("ada", "bob"):
            llm.chat(request, lambda _: answer, tenant=tenant)
        cache.set("by-hand", 1, attributes={"tenant": "ada"})
        assert len(left_in(files)) == 3

        assert run("rm", *files, "-n", "n", "--tenant", "ada", "--yes", "--json").json["removed"] == 2

    with cache_on(files) as cache:
        llm = LLMCache(cache)
        assert llm.get_chat(request, tenant="ada") is None
        assert llm.get_chat(request, tenant="bob") == answer


@pytest.mark.slow
def test_nothing_to_remove_is_exit_code_1(run: Run, files: list[str]) -> None:
    for url in files:
        fill(url, 1)
    for selection in (["--key", "a"], ["--prefix", "a"], ["--tenant", "a"]):
        assert "nothing to remove" in run("rm", *files, "-n", "n", *selection, "--yes", expect=1).err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "remove what?"),
        (["--key", "a", "--tag", "b"], "not --key and --tag"),
        (["--prefix", ""], "say --all"),
    ],
)
def test_what_is_to_go_must_be_said_clearly(run: Run, files: list[str], arguments: list[str], said: str) -> None:
    assert said in run("rm", *files, *arguments, "--yes", expect=2).err


@pytest.mark.parametrize(
    "selection", ["--key", *(pytest.param(name, marks=pytest.mark.slow) for name in ("--tag", "--all"))]
)
def test_other_processes_lose_it_from_their_memory_at_once(run: Run, redis_url: str, selection: str) -> None:
    prefix = f"{uuid.uuid4().hex}:"
    with OtherProcess(redis_url, prefix=prefix) as other:
        assert other("get", "k") is None
        assert other("live")
        url = f"{redis_url}?prefix={prefix}&timeout=5s"
        with cache_on([url]) as cache:
            cache.set("k", 1, tags=["red"])
        end = time.monotonic() + 60  # the notice of the write may arrive after the first read, and drop it again
        while (other("get", "k"), other("tier", "k")) != (1, "memory"):
            assert time.monotonic() < end

        chosen = {"--key": ["--key", "k"], "--tag": ["--tag", "red"], "--all": ["--all"]}[selection]
        done = run("rm", url, "-n", "n", *chosen, "--yes", "--json").json

        assert "at once" in done["told"]
        assert other("until", "k", None) > 0


def test_without_redis_it_says_when_others_see_it(run: Run, files: list[str]) -> None:
    with cache_on(files) as cache:
        cache.set_many({"a": 1, "b": 1}, tags=["red"])

    assert "30 s" in run("rm", *files, "-n", "n", "--tag", "red", "--yes", "--json").json["told"]
    assert "until it expires" in run("rm", *files, "-n", "n", "--key", "b", "--yes", "--json").json["told"]


def test_a_tier_that_is_only_read_keeps_what_it_has(run: Run, files: list[str]) -> None:
    with cache_on(files) as cache:
        cache.set("a", 1)

    done = run("rm", files[0], f"{files[1]}?write=never", "-n", "n", "--key", "a", "--yes", "--json").json

    assert [tier["tier"] for tier in done["tiers"]] == ["disk"]


@pytest.mark.slow
def test_it_removes_from_buckets_and_segments(run: Run, s3_server: S3Server, s3_bucket: str, s3_prefix: str) -> None:
    at = f"{s3_bucket}/{s3_prefix}"
    options = f"?endpoint_url={s3_server.endpoint_url}&region={s3_server.region}&timeout=20s"
    urls = [f"s3://{at}single/{options}", f"s3+packed://{at}packed/{options}"]
    secrets = {"AWS_ACCESS_KEY_ID": s3_server.access_key, "AWS_SECRET_ACCESS_KEY": s3_server.secret_key}
    with pytest.MonkeyPatch.context() as patched:
        for name, value in secrets.items():
            patched.setenv(name, value)
        with cache_on(urls) as cache:
            cache.set_many({"a:1": 1, "a:2": 2, "b": 3}, tags=["red"])
            assert isinstance(cache.chain.tiers[1].backend, PackedBackend)

        done = run("rm", *urls, "-n", "n", "--prefix", "a:", "--yes", "--json", env=secrets).json
        assert [tier["entries"] for tier in done["tiers"]] == [2, 2]
        assert "compacted" in done["tiers"][1]["how"]
        assert left_in(urls) == ["b"]
        run("rm", *urls, "-n", "n", "--tag", "red", "--yes", "--json", env=secrets)
        assert left_in(urls) == []


def test_a_store_that_fails_is_exit_code_3(run: Run, files: list[str]) -> None:
    for url in files:
        fill(url, 1)
    run("rm", *files, "redis://127.0.0.1:1/0?timeout=0.5s", "-n", "n", "--key", "a", "--yes", "--json", expect=3)


@pytest.mark.parametrize("option", ["--tag", "--tenant"])
def test_an_empty_tag_or_tenant_is_a_mistake(run: Run, files: list[str], option: str) -> None:
    assert "name it" in run("rm", option, "", "--yes", *files, "-n", "n", expect=2).err
