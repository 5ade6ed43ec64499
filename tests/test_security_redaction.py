"""No key, value, tag, attribute, password or secret shows in logs, reprs, errors or metrics, whatever goes wrong."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import prometheus_client
import pytest
import redis
from moto import mock_aws

from tests.canaries import Canaries, Witness, reachable, texts
from tests.integrations.telemetry import Telemetry
from tests.peers import drip, silence
from tests.support import RemoteBackend
from tiercache import Cache, DiskBackend, KeyRing, MemoryBackend, Tier, TierChain
from tiercache.errors import AccessDenied, BackendTimeout, ConfigurationError, CorruptEntry, PartialFailure
from tiercache.integrations.prometheus import CacheCollector
from tiercache_redis import RedisBackend
from tiercache_s3 import S3Backend

FACES = pytest.mark.parametrize("face", ["sync", "async"])
MODES = pytest.mark.parametrize(
    ("face", "strict"),
    [
        ("sync", True),
        ("async", False),
        pytest.param("sync", False, marks=pytest.mark.slow),
        pytest.param("async", True, marks=pytest.mark.slow),
    ],
)
Start = Callable[..., TierChain]


@pytest.fixture
def canaries() -> Canaries:
    return Canaries()


@pytest.fixture
def witness(canaries: Canaries, caplog: pytest.LogCaptureFixture) -> Witness:
    caplog.set_level(logging.DEBUG, "tiercache")
    return Witness(canaries)


@pytest.fixture
def redis_user(redis_url: str, canaries: Canaries) -> Iterator[str]:
    """The URL of a user of Redis who has a password."""
    admin = redis.Redis.from_url(redis_url)
    admin.acl_setuser("canary", enabled=True, passwords=[f"+{canaries.password}"], keys=["*"], commands=["+@all"])
    yield redis_url.replace("redis://", f"redis://canary:{canaries.password}@")
    admin.acl_deluser("canary")
    admin.close()


class Stand:
    """Where the stores of a test are; a healthy place each unless it says otherwise."""

    def __init__(self, directory: Path, redis_url: str, canaries: Canaries) -> None:
        self.directory, self.redis_url, self.canaries = directory, redis_url, canaries
        self.endpoint: str | None = None
        self.timeout = 10.0

    def chain(self, *, strict: bool, memory: bool = True) -> TierChain:
        keys = KeyRing({"2026-11": self.canaries.secret})
        s3 = S3Backend(
            "canary-bucket",
            endpoint_url=self.endpoint,
            region="us-east-1",
            access_key_id="test",
            secret_access_key=self.canaries.s3_secret,
            session_token=self.canaries.session_token,
            timeout=self.timeout,
        )
        stores: list[Any] = [
            DiskBackend(self.directory / "cache.sqlite3"),
            RedisBackend(self.redis_url, prefix="redaction:", timeout=self.timeout),
            s3,
        ]
        return TierChain(*[MemoryBackend()] * memory, *stores, strict=strict, keys=keys)


@pytest.fixture
def stand(tmp_path: Path, redis_user: str, canaries: Canaries) -> Stand:
    return Stand(tmp_path / "disk", redis_user, canaries)


@pytest.fixture
def moto() -> Iterator[Any]:
    with mock_aws():
        client = boto3.client("s3", region_name="us-east-1", aws_access_key_id="test", aws_secret_access_key="test")
        client.create_bucket(Bucket="canary-bucket")
        yield client


def watch(witness: Witness, *chains: TierChain) -> None:
    """Trace and measure chains, and have the witness look at what that exports."""
    telemetry, registry = Telemetry(), prometheus_client.CollectorRegistry()
    for chain in chains:
        telemetry.instrument(chain)
    registry.register(CacheCollector(*chains))
    witness.exported += [telemetry.everything, lambda: [prometheus_client.generate_latest(registry).decode()]]


async def use_all(witness: Witness, face: str, chain: TierChain) -> Cache:
    """Do everything a cache can do, with canaries for all that is a caller's."""
    known, below = witness.canaries, TierChain(*chain.tiers[1:], strict=chain.strict)
    watch(witness, chain, below)
    cache = Cache(chain)
    about: dict[str, Any] = {
        "ttl": 60,
        "tags": [known.tag],
        "attributes": {"model": known.attribute, known.attribute: 1},
    }
    value = {"answer": known.value}

    async def call(operation: str, *args: Any, **options: Any) -> Any:
        return await witness.call(face, cache, operation, *args, **options)

    await call("set", known.key, value, **about)
    await call("set_many", {known.key: value, f"{known.key}2": known.value}, **about)
    for fresh in (Cache(below), cache):
        for operation in ("get", "lookup", "metadata", "contains"):
            await witness.call(face, fresh, operation, known.key)
        await witness.call(face, fresh, "get", known.key, type=int)
        await witness.call(face, fresh, "get_many", [known.key, f"{known.key}2", f"{known.key}3"])
    await call("get_or_set", f"{known.key}4", lambda: known.value, **about)
    await call("touch", known.key, ttl=120)
    await call("keys")
    await call("warm", [known.key])
    await call("warm_with", {known.key: known.value})
    await call("health")
    await call("check")
    await call("stats")
    await call("sweep")
    # What is a mistake of the caller.
    await call("set", known.key, {known.value: object(), "field": {known.value}})
    await call("set", known.key, lambda: known.value)
    await call("set", known.key, value, tags=known.tag)
    await call("set", known.key, value, tags=[(known.tag,)])
    await call("set", known.key, value, attributes={known.attribute: [known.value]})
    await call("set", known.key * 5000, value)
    await call("get", known.key + "\ud800")
    await call("get", known.key.encode())
    await call("set", known.key, value, storage_class="NO_SUCH")
    await call("delete", known.key)
    await call("delete_many", [known.key, f"{known.key}2"])
    await call("clear")
    await call("drain")
    await call("stats")
    return cache


async def search(witness: Witness, caplog: pytest.LogCaptureFixture, face: str, chain: TierChain) -> None:
    """Use all, and find nothing."""
    cache = await use_all(witness, face, chain)
    reprs = [cache, chain, *chain.tiers, *(tier.backend for tier in chain.tiers)]
    assert witness.faults(reprs, caplog.records) == []
    await witness.call(face, cache, "close")
    await witness.call(face, cache, "get", witness.canaries.key)
    assert witness.faults(reprs, caplog.records) == []


def kinds(witness: Witness) -> set[str]:
    """The errors that callers saw, so that a test knows it saw any."""
    return {type(error).__name__ for error in witness.errors}


# The search itself


def test_the_search_finds_what_shows(canaries: Canaries):
    class Leaky:
        def __repr__(self) -> str:
            return f"<Leaky {canaries.password}>"

    Leaky.__module__ = "tiercache.leaky"
    witness = Witness(canaries)
    record = logging.LogRecord("tiercache", logging.DEBUG, "", 0, "a %s", (canaries.key,), None)
    failure = PartialFailure({"k": CorruptEntry(canaries.value)})
    failure.add_note(canaries.secret.hex())
    assert witness.faults([Leaky(), failure], [record]) == [
        "key in log of tiercache",
        "password in Leaky",
        "secret in PartialFailure",
        "value in CorruptEntry",
    ]


def test_the_search_finds_what_telemetry_and_fields_of_logs_show(canaries: Canaries):
    witness, telemetry = Witness(canaries), Telemetry()
    witness.exported.append(telemetry.everything)
    with telemetry.tracer.start_as_current_span("request", attributes={"key": canaries.key}):
        telemetry.meters.get_meter("tests").create_counter("reads").add(1, {"tag": canaries.tag})
    record = logging.makeLogRecord({"name": "tiercache", "msg": "said", "tier": canaries.password})
    assert witness.faults([], [record]) == ["key in telemetry", "password in log of tiercache", "tag in telemetry"]


async def test_the_search_sees_the_spans_and_the_metrics(tmp_path: Path, witness: Witness, caplog):
    chain = TierChain(MemoryBackend(), DiskBackend(tmp_path / "f"))
    await use_all(witness, "sync", chain)
    spans, metrics = ["".join(export()) for export in witness.exported]
    for operation in ("get", "set", "get_or_set", "get_many", "delete", "touch", "clear"):
        assert f'"tiercache.{operation}"' in spans
    assert 'tiercache_reads_total{namespace="default"' in metrics
    chain.close()


def test_the_search_reaches_what_matters(tmp_path: Path, canaries: Canaries):
    chain = TierChain(MemoryBackend(), DiskBackend(tmp_path / "f"), keys=KeyRing({"a": canaries.secret}))
    cache = Cache(chain)
    cache.set("k", 1)
    names = {type(thing).__name__ for thing in reachable([cache, cache.lookup("k"), cache.stats(), cache.health()])}
    expected = {"Cache", "TierChain", "Tier", "MemoryBackend", "DiskBackend", "SealedEnvelope", "KeyRing", "Result"}
    assert expected | {"Metadata", "Stats", "TierStats", "TierHealth"} <= names
    assert len(texts(cache.stats())) > len(texts(cache))


# Success, and every kind of failure


@MODES
async def test_nothing_shows_while_all_goes_well(stand, moto, witness, caplog, face: str, strict: bool):
    chain = stand.chain(strict=strict)
    await search(witness, caplog, face, chain)
    assert all(tier.counters.errors.get("BackendUnavailable", 0) == 0 for tier in chain.tiers)
    assert {"UncacheableValue", "InvalidKey", "TypeError", "CacheClosed"} <= kinds(witness)


@MODES
async def test_nothing_shows_of_stores_that_are_down(
    stand, witness, caplog, face: str, strict: bool, free_port: int, canaries
):
    stand.redis_url = f"redis://canary:{canaries.password}@127.0.0.1:{free_port}/0"
    stand.endpoint = f"http://127.0.0.1:{free_port}"
    await search(witness, caplog, face, stand.chain(strict=strict))
    assert "BackendUnavailable" in kinds(witness), "check() raises it, strict or not"
    assert caplog.records


@MODES
@pytest.mark.parametrize("talk", [silence, drip], ids=["silent", "dripping"])
@pytest.mark.slow
async def test_nothing_shows_of_stores_that_are_late(
    stand, witness, caplog, face: str, strict: bool, serve, canaries, talk
):
    port = serve(talk)
    stand.redis_url = f"redis://canary:{canaries.password}@127.0.0.1:{port}/0"
    stand.endpoint, stand.timeout = f"http://127.0.0.1:{port}", 0.1
    await search(witness, caplog, face, stand.chain(strict=strict))
    assert "BackendTimeout" in {kind for record in caplog.records for kind in record.args} | kinds(witness)


@MODES
async def test_nothing_shows_of_stores_that_refuse(
    stand, witness, caplog, face: str, strict: bool, web, canaries, redis_url: str
):
    """Wrong credentials; the answer quotes the request, as proxies and consoles do."""
    wrong = f"{canaries.password}wrong"
    stand.redis_url = redis_url.replace("redis://", f"redis://canary:{wrong}@")

    def quote(asked: Any) -> tuple[int, bytes, dict[str, str]]:
        said = f"{asked.path} {dict(asked.headers)} {asked.body!r} {canaries.value} {canaries.s3_secret}"
        body = f"<Error><Code>AccessDenied</Code><Message><![CDATA[{said}]]></Message></Error>"
        return 403, body.encode(), {"Content-Type": "application/xml"}

    stand.endpoint = web(quote).url
    await search(witness, caplog, face, stand.chain(strict=strict))
    assert "AccessDenied" in kinds(witness)


@MODES
@pytest.mark.parametrize("status", [200, 503, *(pytest.param(status, marks=pytest.mark.slow) for status in (307, 400))])
async def test_nothing_shows_of_a_server_that_quotes_what_it_was_asked(
    stand, witness, caplog, face: str, strict: bool, web, canaries, status: int
):
    def quote(asked: Any) -> tuple[int, bytes, dict[str, str]]:
        said = f"<html>{asked.path} {dict(asked.headers)} {asked.body!r} {canaries.value} {canaries.session_token}"
        return status, said.encode(), {"Content-Type": "text/html", "Location": f"/{canaries.value}", "ETag": '"e"'}

    stand.endpoint = web(quote).url
    await search(witness, caplog, face, stand.chain(strict=strict))


@MODES
@pytest.mark.parametrize(
    "damage",
    ["garbage", "plain", *(pytest.param(name, marks=pytest.mark.slow) for name in ("other key", "other secret"))],
)
async def test_nothing_shows_of_damaged_entries(
    stand, moto, witness, caplog, face: str, strict: bool, damage: str, canaries, redis_url: str
):
    chain, admin = stand.chain(strict=strict, memory=False), redis.Redis.from_url(redis_url)
    name = f"default:{canaries.key}"

    class Damaging(MemoryBackend):
        """An upper tier that damages what is below it before each read."""

        def get(self, key: str, **options: Any) -> Any:
            admin.set(f"redaction:{name}", bytes_of(damage, canaries))
            moto.put_object(Bucket="canary-bucket", Key=name, Body=bytes_of(damage, canaries))
            return None

    damaging = TierChain(Damaging(), *(Tier(tier.backend, name=f"damaged-{tier.name}") for tier in chain.tiers[1:]))
    damaging.strict = strict
    await search(witness, caplog, face, damaging)
    with contextlib.suppress(Exception):
        admin.delete(f"redaction:{name}")
    admin.close()
    counted = {kind for tier in damaging.tiers for kind in tier.counters.errors}
    assert counted & {"CorruptEntry", "NotSealed", "UnknownKey"}


def bytes_of(damage: str, canaries: Canaries) -> bytes:
    from tiercache import envelope
    from tiercache.entry import Entry, Metadata
    from tiercache.sealing.sealed import SealedEnvelope

    metadata = Metadata(key=f"default:{canaries.key}", created_at=1.7e9, codec="bytes", tags=(canaries.tag,))
    entry = Entry(canaries.value.encode(), metadata)
    if damage == "garbage":
        return f"{canaries.value} {canaries.key} {canaries.password}".encode() * 10
    if damage == "plain":
        return envelope.encode(entry)
    ring = KeyRing({"2026-11" if damage == "other secret" else "other": bytes(range(7, 256, 8))})
    return SealedEnvelope(ring).encode(entry)


@FACES
async def test_nothing_shows_of_what_a_backend_throws(witness, caplog, canaries, face: str):
    """A store of somebody else whose errors quote everything: logs, metrics and health do not repeat them."""
    leaky = RemoteBackend(clock=lambda: 1.7e9)
    leaky.break_down(ValueError(f"{canaries.key} {canaries.value} {canaries.password}"))
    chain = TierChain(MemoryBackend(), leaky)
    cache = await use_all(witness, face, chain)
    witness.errors = [error for error in witness.errors if error.__cause__ is None]
    assert witness.faults([cache, chain, *chain.tiers], caplog.records) == []
    assert chain.tiers[1].counters.errors["BackendUnavailable"] > 0


@FACES
@pytest.mark.parametrize("error", [AccessDenied, BackendTimeout, ConfigurationError, CorruptEntry])
async def test_nothing_shows_of_the_errors_of_a_tier(witness, caplog, face: str, error):
    store = RemoteBackend(clock=lambda: 1.7e9)
    store.break_down(error("the store says no"))
    for strict in (False, True):
        chain = TierChain(MemoryBackend(), store, strict=strict)
        cache = await use_all(witness, face, chain)
        assert witness.faults([cache, chain, *chain.tiers], caplog.records) == []
    assert any("the store says no" in record.getMessage() for record in caplog.records)


# Configuration


def bad_endpoint(password: str, secret: str) -> S3Backend:
    url = f"http://user:{password}@["
    return S3Backend("bucket", endpoint_url=url, region="x", access_key_id="test", secret_access_key=secret)


def wrong_settings(canaries: Canaries) -> dict[str, Callable[[], object]]:
    password = canaries.password
    return {
        "a URL of an unknown scheme": lambda: TierChain.from_urls(f"nosuch://user:{password}@host/"),
        "a Redis URL with a bad port": lambda: TierChain.from_urls(f"redis://user:{password}@host:port/0"),
        "a Redis URL with a '#'": lambda: TierChain.from_urls(f"redis://user:{password[:9]}#{password}@host/0"),
        "a Redis URL with a '?'": lambda: TierChain.from_urls(f"redis://user:x?{password}@host/0"),
        "a Redis URL with a bad option": lambda: TierChain.from_urls(f"redis://user:{password}@host/0?nosuch=1"),
        "a URL as a backend": lambda: TierChain(f"redis://user:{password}@host/0"),  # type: ignore[arg-type]
        "a list as a backend": lambda: TierChain([f"redis://user:{password}@host/0"]),  # type: ignore[arg-type]
        "a bad endpoint": lambda: bad_endpoint(password, canaries.s3_secret).ping(),
        "half of the credentials": lambda: S3Backend("bucket", secret_access_key=canaries.s3_secret),
        "a bad time limit": lambda: RedisBackend(f"redis://user:{password}@host/0?timeout=soon"),
        "keys that are bytes": lambda: TierChain(MemoryBackend(), keys=canaries.secret),  # type: ignore[arg-type]
        "keys that are a dict": lambda: TierChain(keys={"a": canaries.secret}),  # type: ignore[arg-type]
        "a key that is too short": lambda: KeyRing({"a": canaries.secret[:31]}),
        "a key as its own id": lambda: KeyRing({canaries.secret.hex(): canaries.secret}),
        "a key as an active id": lambda: KeyRing({"a": canaries.secret}, active=canaries.secret.hex()),
        "a key in place of a variable": lambda: KeyRing.from_env(canaries.secret.hex()),
        "a key in place of a file": lambda: KeyRing.from_file(canaries.secret.hex()),
        "a key in hex": lambda: KeyRing.from_env("K", env={"K": f"a:{canaries.secret.hex()}"}),
    }


@pytest.mark.parametrize("case", wrong_settings(Canaries()))
def test_nothing_shows_of_wrong_settings(witness: Witness, caplog, canaries: Canaries, case: str):
    with pytest.raises(ConfigurationError) as caught:
        wrong_settings(canaries)[case]()
    assert witness.faults([caught.value], caplog.records) == []


@FACES
async def test_a_decorated_function_shows_nothing_of_its_arguments(
    tmp_path: Path, witness, caplog, canaries, face: str
):
    cache = Cache(TierChain(MemoryBackend(), keys=KeyRing({"a": canaries.secret})))

    @cache.cached(ttl=60, tags=[canaries.tag])
    def answer(question: str) -> str:
        return canaries.value

    await witness.call("sync", answer, "__call__", canaries.key)
    await witness.call("sync", answer, "stats")
    await witness.call("sync", answer, "invalidate", canaries.key)
    assert witness.faults([answer, cache], caplog.records) == []
