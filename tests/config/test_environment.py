"""Caches from the environment: one variable for a chain, one for a file, one for each option; and every `from_env`."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from tiercache import Cache, DiskBackend, MemoryBackend, TierChain
from tiercache.config import tier_from_url
from tiercache.config.loading import cache_options, chain_options
from tiercache.errors import ConfigurationError
from tiercache.sealing.keyring import KeyRing

Write = Callable[[str], Path]


def refusal(**variables: str) -> str:
    with pytest.raises(ConfigurationError) as caught:
        Cache.from_env(variables)
    return str(caught.value)


def test_one_variable_holds_a_whole_chain() -> None:
    chain = TierChain.from_env(
        {"TIERCACHE_URLS": " memory://?max_bytes=1MiB\n redis://localhost:6379/0\ts3://bucket/p/ "}
    )
    assert [tier.name for tier in chain.tiers] == ["memory", "redis", "s3"]
    chain.close()


def test_the_environment_of_the_process_is_what_is_read_unless_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIERCACHE_URLS", "memory://")
    monkeypatch.setenv("TIERCACHE_TTL", "1h")
    with Cache.from_env() as cache:
        assert (cache.ttl, [tier.name for tier in cache.chain.tiers]) == (3600, ["memory"])


def test_every_option_has_a_variable() -> None:
    variables = {
        "TIERCACHE_URLS": "memory://",
        "TIERCACHE_NAMESPACE": "search",
        "TIERCACHE_TTL": "30d",
        "TIERCACHE_STALE_FOR": "1d",
        "TIERCACHE_STALE_IF_ERROR": "true",
        "TIERCACHE_SOFT_TIMEOUT": "none",
        "TIERCACHE_TIMEOUT": "30",
        "TIERCACHE_REFRESH_AHEAD": "0.2",
        "TIERCACHE_NEGATIVE_TTL": "5s",
        "TIERCACHE_JITTER": "0.1",
        "TIERCACHE_STRICT": "TRUE",
        "TIERCACHE_EPOCH_REFRESH": "none",
        "TIERCACHE_COHERENT": "false",
        "TIERCACHE_LEASE": "30s",
    }
    with Cache.from_env(variables) as cache:
        assert (cache.namespace, cache.ttl, cache.chain.strict) == ("search", 30 * 86400, True)
        assert cache._flows.defaults.stale_if_error == float("inf")
        assert cache._flows.defaults.timeout == 30
    named = {f"TIERCACHE_{name.upper()}" for name in (*cache_options(), *chain_options())}
    assert not set(cache_options()) & set(chain_options())
    assert variables.keys() - {"TIERCACHE_URLS"} <= named


def test_variables_come_before_the_file(write: Write) -> None:
    path = write("[cache]\nttl = 1\nnamespace = 'file'\n[[tiers]]\nurl = 'disk://'\n[switches]\nmemory = 'off'\n")
    variables = {"TIERCACHE_CONFIG": str(path), "TIERCACHE_TTL": "2", "TIERCACHE_URLS": "memory://"}
    with Cache.from_env(variables | {"TIERCACHE_SWITCHES": "memory=read-only"}) as cache:
        assert (cache.namespace, cache.ttl) == ("file", 2)
        assert cache.chain.switches.as_dict() == {"memory": "read-only"}


def test_a_cache_of_nothing_is_memory_and_disk_and_a_chain_of_nothing_is_an_error(tmp_path: Path) -> None:
    with Cache.from_env({"TIERCACHE_DIR": str(tmp_path)}) as cache:
        memory, disk = cache.chain.tiers
        assert isinstance(memory.backend, MemoryBackend)
        assert isinstance(disk.backend, DiskBackend)
        assert disk.backend.path == tmp_path / "cache.sqlite3"
    with pytest.raises(ConfigurationError, match="neither TIERCACHE_URLS nor TIERCACHE_CONFIG is set; set one"):
        TierChain.from_env({"TIERCACHE_URLS": ""})


def test_a_disabled_process_still_checks_its_options() -> None:
    variables = {"TIERCACHE_DISABLED": "1", "TIERCACHE_URLS": "memory://"}
    with Cache.from_env(variables) as cache:
        assert cache.chain.tiers == ()
    assert refusal(**variables, TIERCACHE_TTL="soon").startswith("TIERCACHE_TTL: ttl='soon' is not a duration")


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("TIERCACHE_TTL", "soon", "ttl='soon' is not a duration"),
        ("TIERCACHE_LEASE", "-1", "lease"),
        ("TIERCACHE_STRICT", "yes", "strict='yes' of TierChain must be true or false"),
        ("TIERCACHE_JITTER", "2", "jitter must be a number from 0 to 1"),
        ("TIERCACHE_JITTER", "much", "must be a number"),
        ("TIERCACHE_CONFIG", "/not/there.toml", "/not/there.toml: the configuration cannot be read"),
        ("TIERCACHE_KEYS", "a:b", "item 1 of TIERCACHE_KEYS must be id:secret"),
        ("TIERCACHE_URLS, URL 2", "memory:// disc:///x", "no backend for disc:// (did you mean 'disk'?)"),
        ("TIERCACHE_URLS, URL 1", "memory://?evicton=lru", "(did you mean 'eviction'?)"),
        ("TIERCACHE_SWITCHES, item 2", "memory=off memory", "a switch is tier=mode"),
        ("TIERCACHE_SWITCHES, item 1", "memory=of", "(did you mean 'off'?)"),
        ("TIERCACHE_SWITCHES, item 1", "memory=on@101", "ramp"),
        ("TIERCACHE_SWITCHES, item 1", "disk/n=off", "no tier is named 'disk'"),
    ],
)
def test_a_mistake_is_told_with_its_variable(name: str, value: str, words: str) -> None:
    said = refusal(**{"TIERCACHE_URLS": "memory://", name.partition(",")[0]: value})
    assert said.startswith(f"{name}: "), said
    assert words in said


MISSPELT = {
    "URL": "URLS",
    "TLL": "TTL",
    "TTTL": "TTL",
    "DRI": "DIR",
    "LEAS": "LEASE",
    "NAMESPCE": "NAMESPACE",
    "S3_BUKET": "S3_BUCKET",
    "STALE_IF_EROR": "STALE_IF_ERROR",
}


@pytest.mark.parametrize(("name", "meant"), MISSPELT.items())
def test_a_misspelt_variable_is_an_error(name: str, meant: str) -> None:
    said = refusal(**{f"TIERCACHE_{name}": "x"})
    assert said == f"TIERCACHE_{name} is no variable of tiercache; did you mean TIERCACHE_{meant}?"


def test_a_variable_that_nobody_knows_is_logged(caplog: pytest.LogCaptureFixture, secret: str) -> None:
    with caplog.at_level(logging.WARNING, "tiercache"):
        Cache.from_env({"TIERCACHE_OF_SOMEBODY_ELSE": secret, "TIERCACHE_URLS": "memory://"}).close()
    assert "nothing in tiercache reads TIERCACHE_OF_SOMEBODY_ELSE" in caplog.text
    assert secret not in caplog.text


def test_one_of_two_letters_off_is_somebody_elses(caplog: pytest.LogCaptureFixture) -> None:
    Cache.from_env({"TIERCACHE_URI": "x", "TIERCACHE_URLS": "memory://"}).close()
    assert "nothing in tiercache reads TIERCACHE_URI" in caplog.text


def test_a_service_of_kubernetes_may_be_called_as_we_are(caplog: pytest.LogCaptureFixture) -> None:
    its = {
        "TIERCACHE_SERVICE_HOST": "10.0.0.11",
        "TIERCACHE_SERVICE_PORT": "6379",
        "TIERCACHE_SERVICE_PORT_HTTP": "80",
        "TIERCACHE_PORT": "tcp://10.0.0.11:6379",
        "TIERCACHE_PORT_6379_TCP": "tcp://10.0.0.11:6379",
        "TIERCACHE_PORT_6379_TCP_PROTO": "tcp",
        "TIERCACHE_PORT_6379_TCP_PORT": "6379",
        "TIERCACHE_PORT_6379_TCP_ADDR": "10.0.0.11",
    }
    Cache.from_env({**its, "TIERCACHE_URLS": "memory://"}).close()
    assert "nothing in tiercache reads" not in caplog.text


def test_references_in_variables(tmp_path: Path, secret: str) -> None:
    (tmp_path / "ttl").write_text("1h\r\n")
    ring = f"a:{KeyRing.new_secret()}"
    (tmp_path / "ring").write_text(ring)
    variables = {
        "TIERCACHE_URLS": "memory:// env:REDIS",
        "REDIS": f"redis://app:{secret}@localhost:6379/0",
        "TIERCACHE_TTL": f"file:{tmp_path}/ttl",
    }
    for keys in (ring, f"file:{tmp_path}/ring", "env:RING"):
        with Cache.from_env(variables | {"TIERCACHE_KEYS": keys, "RING": ring}) as cache:
            assert cache.ttl == 3600
            assert cache.chain.tiers[1].backend.envelope.keys.ids == ("a",)
    with Cache.from_env({"TIERCACHE_URLS": "env:ALL", "ALL": "memory:// disk://"}) as cache:
        assert len(cache.chain.tiers) == 2


def test_the_path_of_the_file_may_be_a_reference(write: Write, tmp_path: Path) -> None:
    path = write("[cache]\nttl = 'file:ttl'\n[[tiers]]\nurl = 'memory://'\n")
    (tmp_path / "ttl").write_text("1h\n")
    (tmp_path / "which").write_text(f"{path}\n")
    for reference in (f"file:{tmp_path}/which", "env:WHICH"):
        with Cache.from_env({"TIERCACHE_CONFIG": reference, "WHICH": str(path)}) as cache:
            assert cache.ttl == 3600


def test_a_path_that_is_no_reference_says_which_one_it_is() -> None:
    assert refusal(TIERCACHE_CONFIG="env:WHICH") == (
        "TIERCACHE_CONFIG: env:WHICH: the variable WHICH is not set; set it"
    )
    said = refusal(TIERCACHE_CONFIG="file:/not/there")
    assert said == "TIERCACHE_CONFIG: file:/not/there: the file cannot be read: No such file or directory"


def test_a_reference_to_the_file_itself_is_told_from_its_path(write: Write) -> None:
    path = write("[cache]\nttl = 3\n")
    said = refusal(TIERCACHE_CONFIG=f"file:{path}")
    assert said == (
        f"TIERCACHE_CONFIG: file:{path} holds more than a path; to name the configuration itself, write its path, "
        "without file: before it"
    )


def test_a_mistake_in_a_file_whose_path_was_fetched_is_told_by_the_reference(write: Write) -> None:
    path = write("[cache]\nttll = 3\n")
    said = refusal(TIERCACHE_CONFIG="env:WHICH", WHICH=str(path))
    assert said.startswith("env:WHICH, line 2: Cache has no option 'ttll'"), said


def test_a_url_may_be_a_reference_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIRST", "memory://?max_entries=3")
    assert tier_from_url("env:FIRST").backend.max_entries == 3
    with pytest.raises(ConfigurationError, match="env:SECOND: the variable SECOND is not set; set it"):
        TierChain.from_urls("env:SECOND")


@pytest.mark.parametrize(
    "variables",
    [
        {"TIERCACHE_TTL": "env:SECRET"},
        {"TIERCACHE_STRICT": "env:SECRET"},
        {"TIERCACHE_URLS": "memory:// env:SECRET"},
        {"TIERCACHE_URLS": "env:SECRET"},
        {"TIERCACHE_URLS": "redis://app:hunter2-hunter2@host:port"},
        {"TIERCACHE_CONFIG": "env:SECRET"},
        {"TIERCACHE_KEYS": "hunter2-hunter2"},
        {"TIERCACHE_KEYS": "env:SECRET"},
        {"TIERCACHE_SWITCHES": "env:SECRET"},
        {"TIERCACHE_SWITCHES": "memory=env:SECRET"},
    ],
)
def test_no_message_shows_what_was_fetched(variables: dict[str, str], secret: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Cache.from_env({"TIERCACHE_URLS": "memory://", "SECRET": secret} | variables)
    assert secret not in "".join(traceback.format_exception(caught.value))


# Backends


def test_memory_from_the_environment() -> None:
    found = MemoryBackend.from_env(
        {"TIERCACHE_MEMORY_MAX_BYTES": "1MiB", "TIERCACHE_MEMORY_MAX_ENTRIES": "7", "TIERCACHE_MEMORY_EVICTION": "lfu"},
        max_entries=8,
    )
    assert (found.max_bytes, found.max_entries, found.eviction) == (2**20, 8, "lfu")
    assert MemoryBackend.from_env({}).max_bytes is None
    with pytest.raises(ConfigurationError, match="TIERCACHE_MEMORY_MAX_ENTRIES must be a whole number"):
        MemoryBackend.from_env({"TIERCACHE_MEMORY_MAX_ENTRIES": "many"})


def test_disk_from_the_environment(tmp_path: Path) -> None:
    found = DiskBackend.from_env({"TIERCACHE_DISK_PATH": str(tmp_path / "a"), "TIERCACHE_DISK_MAX_BYTES": "2GiB"})
    assert (found.path, found.max_bytes) == (tmp_path / "a", 2 * 2**30)
    assert DiskBackend.from_env({"TIERCACHE_DIR": str(tmp_path)}).path == tmp_path / "cache.sqlite3"
    assert DiskBackend.from_env({}, path=tmp_path / "b").path == tmp_path / "b"


def test_white_space_is_no_chain() -> None:
    assert refusal(TIERCACHE_URLS=" \n").startswith("TIERCACHE_URLS holds no URL; write one")
