"""`migrate`: entries move into segments and back, bit for bit, while others go on."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from typing import Any

import pytest

from tests.packed.objects import MemoryObjects, entry, packed
from tiercache import Cache, MemoryBackend, Tier, TierChain
from tiercache.epochs.marks import from_bytes
from tiercache.errors import BackendUnavailable, ConfigurationError, PartialFailure
from tiercache.objectstore import ObjectStoreBackend
from tiercache.packed import MigrationReport, PackedBackend, amigrate, migrate
from tiercache.sealing.keyring import KeyRing
from tiercache.sealing.sealed import seal as seal_all


def single(objects: Any, prefix: str = "p", **options: Any) -> ObjectStoreBackend:
    return ObjectStoreBackend(objects, prefix=prefix, timeout=30, **options)


def filled(backend: Any, count: int, *, size: int = 50) -> dict[str, bytes]:
    """Put entries of all sorts, and return their envelopes."""
    packs = isinstance(backend, PackedBackend)
    wires = {}
    for number in range(count):
        key = f"n:{number:04}"
        fields: dict[str, Any] = {"tags": (f"t{number % 3}",), "attributes": {"model": "m", "tokens": number}}
        one = entry(key, number.to_bytes(4, "big") * size, ttl=[None, 3000.0, 90_000.0][number % 3], **fields)
        one = one.with_metadata(created_at=one.metadata.created_at - 100, as_of=one.metadata.created_at - 101)
        backend.put(key, one)
    if packs:
        backend.flush()
    for key, _ in list(backend.scan()):
        wires[key] = backend.get(key).wire
    assert len(wires) == count
    return wires


def wires_of(backend: Any) -> dict[str, bytes]:
    return {key: backend.get(key).wire for key, _ in list(backend.scan()) if not key.startswith("_meta")}


def both_ways(objects: Any, way: str, there: Any = None, prefix: str = "p") -> tuple[Any, Any]:
    there = objects if there is None else there
    if way == "in":
        return single(objects), packed(there, prefix=prefix)
    return packed(objects), single(there, prefix)


@pytest.mark.parametrize("place", ["the same", "another"])
@pytest.mark.parametrize("way", ["in", "back"])
def test_entries_come_over_as_they_are(objects, way, place):
    other = objects if place == "the same" else MemoryObjects()
    source, target = both_ways(objects, way, other)
    wires = filled(source, 300)
    report = migrate(source, target)
    assert (report.examined, report.copied, report.complete) == (300, 300, True)
    fresh = both_ways(objects, way, other)[1]  # another process: nothing of it waits in memory only
    assert wires_of(fresh) == wires
    assert wires_of(source) == wires, "nothing is deleted unless asked for"
    found = fresh.get("n:0001").metadata
    assert found.as_of is not None
    assert found.expires_at is not None
    assert found.tags == ("t1",)
    assert found.attributes == {"model": "m", "tokens": 1}


async def test_it_can_be_awaited(objects):
    source, target = both_ways(objects, "in")
    wires = filled(source, 10)
    seen: list[MigrationReport] = []
    report = await amigrate(source, target, prefix="n:", progress=seen.append)
    assert report.copied == 10
    assert seen[-1].copied == 10
    assert wires_of(packed(objects)) == wires


def test_any_backend_can_be_the_source_or_the_target(objects):
    memory: Any = MemoryBackend("10MiB")
    memory.put("n:1", entry("n:1", b"one"))
    target = packed(objects)
    assert migrate(memory, target).copied == 1
    assert packed(objects).get("n:1").payload == b"one"
    other: Any = MemoryBackend("10MiB")
    assert migrate(target, other).copied == 1
    assert other.get("n:1").payload == b"one"
    with pytest.raises(ConfigurationError, match="max_entries"):
        migrate(memory, target, max_entries=3)
    with pytest.raises(ConfigurationError, match="go on from a token"):
        migrate(memory, target, resume="after:n")


def test_many_small_entries_take_few_writes(objects):
    source, other = single(objects), MemoryObjects()
    filled(source, 5000, size=20)
    target = packed(other)
    with other.counted() as written, objects.counted() as read:
        assert migrate(source, target).copied == 5000
    assert written["write"] <= 10, "three lives, a few segments"
    assert written["read"] + written["read_range"] + written["stat"] == 0
    assert read["list_page"] <= 10
    assert read["read"] == 5000
    back = single(MemoryObjects())
    with other.counted() as read:
        assert migrate(packed(other), back).copied == 5000
    assert read["read_range"] <= 40, "segments are read whole"
    assert not read["read"]


def test_a_prefix_limits_it(objects):
    source, target = both_ways(objects, "in")
    filled(source, 3)
    source.put("other:1", entry("other:1"))
    assert migrate(source, target, prefix="other:").copied == 1
    assert set(wires_of(packed(objects))) == {"other:1"}
    assert migrate(target, single(MemoryObjects()), prefix="n:").examined == 0


@pytest.mark.parametrize("way", ["in", "back"])
def test_a_budget_and_a_token_see_each_entry_once(objects, way):
    other = MemoryObjects()
    source, target = both_ways(objects, way, other)
    wires = filled(source, 60)
    token, copied, runs = None, 0, 0
    while runs < 100:
        report = migrate(source, target, resume=token, max_entries=7)
        assert report.skipped_present == 0
        copied, runs, token = copied + report.copied, runs + 1, report.resume
        if report.complete:
            break
    assert (copied, runs > 2) == (60, True)
    assert wires_of(both_ways(objects, way, other)[1]) == wires


@pytest.mark.parametrize("way", ["in", "back"])
@pytest.mark.parametrize("failing", ["source", "target"])
def test_it_can_be_broken_off_at_any_request_and_gone_on_with(objects, way, failing):
    source, _ = both_ways(objects, way)
    wires = filled(source, 25)
    for point in range(1, 200):
        here, other = MemoryObjects(), MemoryObjects()
        here.bodies = dict(objects.bodies)
        broken, calls, safe = {"source": here, "target": other}[failing], [0], list[MigrationReport]()

        def fail(call: str, name: str, calls: list[int] = calls, point: int = point) -> None:
            calls[0] += 1
            if calls[0] == point:
                raise BackendUnavailable("the store is away")

        source, target = both_ways(here, way, other)
        broken.before = fail
        try:
            report = migrate(source, target, max_entries=10, progress=safe.append)
        except PartialFailure as failure:
            report = failure.results
        broken.before = lambda call, name: None
        assert report.copied == (safe[-1].copied if safe else 0)
        assert len(wires_of(both_ways(here, way, other)[1])) >= report.copied, "what was reported is stored"
        if not report.complete:
            source, target = both_ways(here, way, other)  # another process
            assert migrate(source, target, resume=report.resume).complete
        assert wires_of(both_ways(here, way, other)[1]) == wires, point
        if calls[0] < point:
            return
    pytest.fail("it never ended")


@pytest.mark.parametrize("way", ["in", "back"])
def test_nothing_that_the_target_has_is_overwritten(objects, way):
    source, target = both_ways(objects, way, MemoryObjects())
    filled(source, 5)
    target.put("n:0002", entry("n:0002", b"newer"))
    report = migrate(source, target)
    assert (report.copied, report.skipped_present) == (4, 1)
    assert target.get("n:0002").payload == b"newer"


@pytest.mark.parametrize("change", ["put", "delete"])
@pytest.mark.parametrize("who", ["this process", "another"])
def test_what_changes_in_the_target_between_reading_and_copying_wins(objects, change, who):
    other = MemoryObjects()
    source, target = both_ways(objects, "in", other)
    filled(source, 5)
    live = target if who == "this process" else packed(other, durable=True)
    live.get("n:0002")

    def meddle(call: str, name: str) -> None:
        if call == "read" and name.endswith("n:0002"):
            if change == "put":
                live.put("n:0002", entry("n:0002", b"newer"))
            else:
                live.delete("n:0002")
                live.flush()

    objects.before = meddle
    migrate(source, target)
    for reader in (packed(other), packed(other)):
        found = reader.get("n:0002")
        assert (None if found is None else found.payload) == (b"newer" if change == "put" else None)


def test_what_the_target_deleted_stays_deleted(objects):
    source, target = both_ways(objects, "in", MemoryObjects())
    filled(source, 5)
    target.put("n:0002", entry("n:0002", b"newer"))
    target.flush()
    target.delete("n:0002")
    assert migrate(source, target, delete=True).skipped_present == 1
    assert target.get("n:0002") is None
    assert set(wires_of(source)) == {"n:0002"}, "what is not in the target is not deleted"


def test_an_older_copy_in_the_target_is_no_reason_to_delete_the_newer_entry(objects):
    source, target = both_ways(objects, "in", MemoryObjects())
    filled(source, 5)
    migrate(source, target)
    source.put("n:0002", entry("n:0002", b"newer"))
    report = migrate(source, target, delete=True)
    assert (report.skipped_present, report.deleted) == (5, 4)
    assert source.get("n:0002").payload == b"newer"


def test_expired_and_damaged_entries_are_left(objects):
    now = [time.time()]
    source = single(objects, clock=lambda: now[0])
    target = PackedBackend(single(MemoryObjects(), clock=lambda: now[0]))
    for number in range(4):
        source.put(f"n:{number}", entry(f"n:{number}", ttl=60 if number == 1 else None))
    objects.bodies["p/n:2"] = b"rubbish"
    now[0] += 100
    report = migrate(source, target, delete=True)
    assert (report.examined, report.copied, report.skipped_expired, report.damaged, report.deleted) == (4, 2, 1, 1, 2)
    assert "p/n:2" in objects.bodies
    assert "2 of 4 entries copied" in str(report)
    assert "1 expired, 1 cannot be read" in str(report)


@pytest.mark.parametrize("way", ["in", "back"])
def test_delete_removes_what_is_stored(objects, way):
    other = MemoryObjects()
    source, target = both_ways(objects, way, other)
    wires = filled(source, 30)
    assert migrate(source, target, delete=True).deleted == 30
    assert wires_of(both_ways(objects, way)[0]) == {}
    assert wires_of(both_ways(objects, way, other)[1]) == wires


def test_there_and_back_again_in_one_place(objects):
    source, target = both_ways(objects, "in")
    wires = filled(source, 30)
    assert migrate(source, target, delete=True).deleted == 30
    assert migrate(packed(objects), single(objects), delete=True).deleted == 30
    assert wires_of(single(objects)) == wires
    assert migrate(single(objects), packed(objects), delete=True).copied == 30
    assert wires_of(packed(objects)) == wires
    assert wires_of(single(objects)) == {}


def test_nothing_is_deleted_before_its_segment_is_stored(objects):
    other = MemoryObjects()
    source, target = both_ways(objects, "in", other)
    filled(source, 30)
    gone: list[int] = []
    objects.before = lambda call, name: gone.append(len(other.segments())) if call == "remove_many" else None
    migrate(source, target, delete=True)
    assert gone
    assert all(gone)


def test_what_was_written_again_in_segments_is_not_deleted(objects):
    other = MemoryObjects()
    source, target = both_ways(objects, "back", other)
    filled(source, 5)
    writer = packed(objects, durable=True)

    def meddle(call: str, name: str) -> None:
        if call == "write" and name.endswith("n:0002"):
            writer.put("n:0002", entry("n:0002", b"newer"))

    other.before = meddle
    migrate(source, target, delete=True)
    assert packed(objects).get("n:0002").payload == b"newer"


@pytest.mark.parametrize("way", ["in", "back"])
@pytest.mark.parametrize("place", ["the same", "another"])
def test_what_was_invalidated_stays_so(objects, way, place):
    other = objects if place == "the same" else MemoryObjects()
    source, target = both_ways(objects, way, other)
    with contextlib.closing(Cache(TierChain(source), namespace="a", ttl=None)) as cache:
        cache.set("dead", 1, tags=["t"])
        cache.set("alive", 2)
        cache.invalidate_tags(["t"])
    with contextlib.closing(
        Cache(TierChain(packed(objects) if way == "back" else single(objects)), namespace="b")
    ) as b:
        b.set("dead", 1)
        b.clear()
    source, target = both_ways(objects, way, other)
    assert migrate(source, target).complete
    chain = TierChain(both_ways(objects, way, other)[1])
    with contextlib.closing(Cache(chain, namespace="a", ttl=None)) as cache:
        assert cache.get("dead") is None
        assert cache.get("alive") == 2
        assert Cache(chain, namespace="b").get("dead") is None


def test_invalidations_come_first_and_are_merged(objects):
    other = MemoryObjects()
    source, target = both_ways(objects, "in", other)
    for name, backend, tag in (("s", source, "x"), ("t", target, "y")):
        chain = TierChain(backend.inner if isinstance(backend, PackedBackend) else backend)
        Cache(chain, namespace="a").set(name, 1, tags=[tag])
        Cache(chain, namespace="a").invalidate_tags([tag])
    written: list[str] = []
    other.before = lambda call, name: written.append(name) if call == "write" else None
    migrate(source, target)
    assert "_meta" in written[0]
    assert "_segments" in written[-1]
    assert set(from_bytes(target.get("_meta:epochs:a").payload).marks.tags) == {"x", "y"}


@pytest.mark.parametrize("way", ["in", "back"])
def test_sealed_entries_stay_sealed_as_they_are(objects, way):
    other, keys = MemoryObjects(), KeyRing({"k1": bytes(range(32))}, encrypt=True)
    source, target = both_ways(objects, way, other)
    seal(source, keys)
    with pytest.raises(ConfigurationError, match="sealed"):
        migrate(source, target)
    seal(target, keys)
    wires = filled(source, 10)
    assert migrate(source, target).copied == 10
    fresh = both_ways(objects, way, other)[1]
    seal(fresh, keys)
    assert wires_of(fresh) == wires


def seal(backend: Any, keys: KeyRing) -> None:
    seal_all([backend], keys)


@pytest.mark.parametrize("way", ["in", "back"])
def test_storage_classes_are_kept(objects, way):
    from tiercache_s3 import S3Backend

    other = MemoryObjects()
    source, target = both_ways(objects, way, other)
    for backend in (source, target):
        inner = backend.inner if isinstance(backend, PackedBackend) else backend
        inner.rules = S3Backend.rules
    for number, name in enumerate([None, "STANDARD_IA", "GLACIER_IR"]):
        source.put(f"n:{number}", entry(f"n:{number}").in_class(name))
    assert migrate(source, target).copied == 3
    classes = set(other.classes.values())
    assert classes == {None, "STANDARD_IA", "GLACIER_IR"}
    assert target.get("n:1").metadata.storage_class == "STANDARD_IA"


async def test_cancelled_it_ends_after_the_page_under_way(objects):
    source, target = both_ways(objects, "in")
    filled(source, 1500)
    begun, go_on, reported = threading.Event(), threading.Event(), threading.Event()

    def hold(call: str, name: str) -> None:
        if call == "read":
            begun.set()
            go_on.wait(60)

    objects.before = hold
    seen: list[int] = []

    def progress(report: MigrationReport) -> None:
        seen.append(report.examined)
        reported.set()

    moving = asyncio.create_task(amigrate(source, target, progress=progress))
    assert await asyncio.to_thread(begun.wait, 60)
    moving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await moving
    go_on.set()
    assert await asyncio.to_thread(reported.wait, 60)
    assert seen == [1000]


def test_long_keys_come_over(objects):
    source, target = both_ways(objects, "in")
    key = "n:" + "x" * 2000
    source.put(key, entry(key, b"long"))
    assert migrate(source, target, delete=True).deleted == 1
    assert packed(objects).get(key).payload == b"long"
    assert single(objects).get(key) is None


def test_the_same_place_is_refused(objects):
    for make in (single, packed):
        with pytest.raises(ConfigurationError, match="same place"):
            migrate(make(objects), make(objects))


def test_what_is_no_backend_is_refused_and_named(objects):
    target = packed(objects)
    with pytest.raises(ConfigurationError, match=r"source must be a backend.*not a Tier"):
        migrate(Tier(MemoryBackend()), target)
    with pytest.raises(ConfigurationError, match=r"target must be a backend.*not a str"):
        migrate(target, "s3+packed://bucket/")


def test_readers_miss_nothing_during_the_move(objects):
    with contextlib.closing(Cache(TierChain(single(objects)), namespace="n", ttl=None)) as before:
        before.set_many({str(number): number for number in range(50)})
    target, old = packed(objects), single(objects)
    with contextlib.closing(Cache(TierChain(target, Tier(old, name="old", write="never")), namespace="n")) as cache:
        wanted = {str(number): number for number in range(50)}
        assert cache.get_many(wanted) == wanted
        cache.set("7", "newer")
        cache.set("new", "new")
        migrate(single(objects), target, delete=True)
        assert cache.get_many([*wanted, "new"]) == wanted | {"7": "newer", "new": "new"}
    with contextlib.closing(Cache(TierChain(packed(objects)), namespace="n")) as after:
        assert after.get_many([*wanted, "new"]) == wanted | {"7": "newer", "new": "new"}


@pytest.mark.parametrize("way", ["in", "back"])
def test_on_a_real_server(s3_server, s3_bucket, s3_prefix, way):
    from tiercache_s3 import S3Backend

    def at() -> Any:
        return S3Backend(
            s3_bucket,
            prefix=s3_prefix,
            endpoint_url=s3_server.endpoint_url,
            access_key_id=s3_server.access_key,
            secret_access_key=s3_server.secret_key,
            region=s3_server.region,
            timeout=30,
        )

    with contextlib.ExitStack() as stack:
        one, many = (
            stack.enter_context(contextlib.closing(at())),
            stack.enter_context(contextlib.closing(PackedBackend(at()))),
        )
        source, target = (one, many) if way == "in" else (many, one)
        wires = filled(source, 60)
        first = migrate(source, target, max_entries=25, delete=True)
        assert first.copied
        assert not first.complete
        last = migrate(source, target, resume=first.resume, delete=True)
        assert last.complete
        assert first.copied + last.copied == 60
        assert wires_of(target) == wires
        assert wires_of(source) == {}
