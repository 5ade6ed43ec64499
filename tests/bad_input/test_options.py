"""Options of chains, breakers, key rings and faults that are none: refused when they are given, with what to write."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from typing import Any

import pytest

from tiercache import BreakerPolicy, Cache, KeyRing, MemoryBackend, Tier, TierChain, drain_on_sigterm
from tiercache.config import tier_from_url
from tiercache.errors import ConfigurationError
from tiercache.testing import FaultyBackend, Rule
from tiercache_azure import AzureBlobBackend
from tiercache_gcs import GCSBackend
from tiercache_redis import RedisBackend
from tiercache_s3 import S3Backend


@pytest.mark.parametrize(
    ("option", "value"),
    [(name, value) for name in ("failures", "window") for value in (0, -1, 2.5, "5", True, None)]
    + [("share", value) for value in (0, -0.5, 1.5, "0.5", None, float("nan"))]
    + [
        (name, value)
        for name in ("open_seconds", "longest", "rebuild_after")
        for value in (-1, "2s", None, float("inf"))
    ],
)
def test_a_figure_of_a_breaker_that_is_none(option: str, value: Any) -> None:
    with pytest.raises(ConfigurationError, match=f"^{option} of a BreakerPolicy must be"):
        BreakerPolicy(**{option: value})


IN_NO_NAME = "\"'`\\\n\r\t\x00\x7f\x9b\ud800\u202e\u2028"


@pytest.mark.parametrize("name", [f"a{mark}b" for mark in IN_NO_NAME] + [" a", "a ", " ", "", "x" * 101, 5])
def test_a_name_of_a_tier_that_labels_and_logs_could_not_hold(name: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"^name") as raised:
        Tier(MemoryBackend(), name=name)
    assert str(raised.value).isprintable()


@pytest.mark.parametrize("name", ["redis-1", "s3", "eu.west/2", "Zwischenspeicher für Käse", "\u7f13\u5b58", "x" * 100])
def test_any_other_name_of_a_tier_is_one(name: str) -> None:
    assert TierChain(Tier(MemoryBackend(), name=name)).health()[name].ok


@pytest.mark.parametrize("option", ["strict", "coherent"])
def test_a_flag_of_a_chain_that_is_text(option: str) -> None:
    with pytest.raises(ConfigurationError, match=f"^{option} must be True or False"):
        TierChain(MemoryBackend(), **{option: "false"})


@pytest.mark.parametrize(
    "make", [lambda: TierChain(clock=5), lambda: Cache(clock="now"), lambda: Cache(MemoryBackend(), clock=0)]
)
def test_a_clock_that_cannot_be_asked(make: Callable[[], Any]) -> None:
    with pytest.raises(ConfigurationError, match="clock must be a function that returns Unix seconds"):
        make()


@pytest.mark.parametrize("option", ["encrypt", "accept_unencrypted", "accept_plain"])
def test_a_flag_of_a_key_ring_that_is_text(option: str) -> None:
    with pytest.raises(ConfigurationError, match=f"^{option} must be True or False"):
        KeyRing({"2026-11": os.urandom(32)}, **{option: "false"})


@pytest.mark.parametrize("ask", ["get_or_set", "cached"])
def test_an_option_of_a_computation_that_there_is_not(ask: str) -> None:
    cache: Any = Cache(MemoryBackend())
    arguments = [] if ask == "cached" else ["k", lambda: 1]
    with pytest.raises(TypeError, match="no option jitter here; there are type, ttl, stale_for"):
        getattr(cache, ask)(*arguments, jitter=0.1)


def test_keys_that_are_none() -> None:
    with pytest.raises(TypeError, match="keys must be a list of str, not one NoneType"):
        Cache(MemoryBackend()).get_many(None)  # type: ignore[arg-type]


@pytest.mark.parametrize("timeout", ["soon", -1, None, float("nan")])
def test_a_drain_at_the_end_without_a_duration_is_refused_at_once(timeout: Any) -> None:
    with pytest.raises(ConfigurationError, match="timeout"):
        drain_on_sigterm(timeout)


def test_a_policy_in_a_url_names_its_choices() -> None:
    with pytest.raises(ConfigurationError, match="write='later' must be one of through, behind, never"):
        tier_from_url("redis://localhost:6379/0?write=later")


def test_faults_that_are_none() -> None:
    with pytest.raises(ConfigurationError, match="wraps a backend, not a str"):
        FaultyBackend("memory")  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match=r"a rule must be a Rule, such as Rule\('unavailable'\), not a str"):
        FaultyBackend(MemoryBackend(), rules=["unavailable"])  # type: ignore[list-item]
    for calls in (0, [1, "x"]):
        with pytest.raises(ConfigurationError, match="calls must be numbers of calls; the first is 1"):
            Rule("unavailable", calls=calls)  # type: ignore[arg-type]


@pytest.mark.parametrize("made_from", [AzureBlobBackend, GCSBackend, KeyRing, RedisBackend, S3Backend])
def test_no_signature_shows_the_environment(made_from: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CANARY_OF_THE_ENVIRONMENT", "1")
    assert "CANARY" not in str(inspect.signature(made_from.from_env))


@pytest.mark.parametrize("timeout", ["soon", None, True])
def test_a_drain_without_a_duration(timeout: Any) -> None:
    with pytest.raises(ConfigurationError, match="timeout"):
        Cache(MemoryBackend()).drain(timeout)
    assert Cache(MemoryBackend()).drain("1s")
