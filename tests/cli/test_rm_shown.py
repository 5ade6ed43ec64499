"""`tiercache rm` removes what it has shown, and nothing that came between the question and the answer."""

from __future__ import annotations

import json
import subprocess
import sys
import uuid
from contextlib import closing
from pathlib import Path

import pytest

from tiercache import Cache, TierChain
from tiercache.testing.servers import S3Server

from .conftest import Ran, Run, environment
from .stores import of_s3


def answering(before: str, *arguments: str, env: dict[str, str] | None = None) -> Ran:
    """Run `tiercache` in a process where `before` is set up first; `urls` are the arguments with a scheme."""
    code = (
        "import sys\n"
        "import tiercache.cli.rm as rm, tiercache.cli.removal as removal, tiercache.cli.purging as purging\n"
        "from tiercache import Cache, TierChain\n"
        f"argv = {['tiercache', *arguments]!r}\n"
        "urls = [each for each in argv if '://' in each]\n"
        "def put(keys, **options):\n"
        "    with Cache(TierChain.from_urls(*urls), namespace='n') as cache:\n"
        "        cache.set_many(dict.fromkeys(keys, 2), **options)\n"
        f"{before}\n"
        "sys.argv = argv\n"
        "from tiercache.cli import main; main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(env), capture_output=True, text=True, timeout=110, check=False
    )
    assert "Traceback" not in done.stderr, done.stderr
    return Ran(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"disk://{tmp_path}/one"


def fill(url: str, keys: list[str], **options: object) -> None:
    with Cache(TierChain.from_urls(url), namespace="n") as cache:
        cache.set_many(dict.fromkeys(keys, 1), **options)  # type: ignore[arg-type]


def left_in(url: str) -> list[str]:
    with Cache(TierChain.from_urls(url), namespace="n") as cache:
        return sorted(key for key in cache.keys() if cache.contains(key))  # noqa: SIM118 - a method of caches


def test_what_comes_while_it_asks_stays(url: str) -> None:
    fill(url, ["a:1", "a:2", "b"])
    late = "rm.agreed = lambda question, yes: put(['a:3']) or True"
    ran = answering(late, "rm", url, "-n", "n", "--prefix", "a:", "--json")

    assert ran.json["tiers"][0]["entries"] == ran.json["removed"] == 2
    assert left_in(url) == ["a:3", "b"]


def test_of_too_many_keys_it_shows_and_deletes_one_portion_after_the_other(url: str) -> None:
    fill(url, [f"a:{number}" for number in range(7)])
    asked = "removal.PORTION = 3; rm.agreed = lambda question, yes: print(question) or True"
    people = answering(asked, "rm", url, "-n", "n", "--prefix", "a:")
    fill(url, [f"a:{number}" for number in range(7)])
    script = answering("removal.PORTION = 3", "rm", url, "-n", "n", "--prefix", "a:", "--json", "--yes")

    assert [line.split("(")[0].strip() for line in people.out.splitlines() if "?" in line] == [
        "Delete 3 keys",
        "Delete 3 keys",
        "Delete 1 key",
    ]
    assert "there are more" in people.err
    assert (people.code, script.code) == (0, 0)
    assert (script.json["removed"], script.json["tiers"][0]["entries"]) == (7, 7)
    assert left_in(url) == []


@pytest.mark.parametrize("store", ["disk", "redis", pytest.param("s3", marks=pytest.mark.slow)])
def test_a_purge_of_a_tag_leaves_what_was_made_since(
    request: pytest.FixtureRequest, url: str, store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    env: dict[str, str] = {}
    if store == "redis":
        url = f"{request.getfixturevalue('redis_url')}?prefix={uuid.uuid4().hex}:&timeout=10s"
    if store == "s3":
        server: S3Server = request.getfixturevalue("s3_server")
        bucket, prefix = request.getfixturevalue("s3_bucket"), request.getfixturevalue("s3_prefix")
        url, env = f"s3://{bucket}/{prefix}?timeout=30s", of_s3(server)
        for name, value in env.items():
            monkeypatch.setenv(name, value)
    fill(url, ["a", "b", "c"], tags=["red"])
    fill(url, ["d"])
    # 'b' is made anew before the listing, 'c' between the listing and the delete.
    late = (
        "purge, batches = removal.purge, purging._batches\n"
        "removal.purge = lambda *args: put(['b'], tags=['red']) or purge(*args)\n"
        "def listed(*args):\n"
        "    for batch in batches(*args):\n"
        "        put(['c'], tags=['red'])\n"
        "        yield batch\n"
        "purging._batches = listed"
    )
    ran = answering(late, "rm", url, "-n", "n", "--tag", "red", "--purge", "--yes", "--json", env=env)

    assert ran.code == 0, ran.err
    assert ran.json["removed"] == 1
    assert left_in(url) == ["b", "c", "d"]
    with closing(TierChain.from_urls(url)) as chain:
        assert sorted(key for key, _ in chain.tiers[0].backend.scan("n:")) == ["n:b", "n:c", "n:d"]


@pytest.mark.parametrize("selection", [["--tag", "mistyped"], ["--all", "-n", "mistyped"], ["--tag", "x", "--purge"]])
def test_a_tag_or_namespace_that_nothing_has_is_the_answer_no(run: Run, url: str, selection: list[str]) -> None:
    fill(url, ["a"], tags=["red"])
    dry = run("rm", url, "-n", "n", *selection, "--dry-run", "--json", expect=1)
    done = run("rm", url, "-n", "n", *selection, "--yes", "--json", expect=1)

    assert "nothing to remove" in dry.err
    assert "no tier has such an entry" in done.err
    assert json.loads(done.out)["told"], "it was invalidated all the same"
    assert left_in(url) == ["a"]
