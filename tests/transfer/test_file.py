"""One portable file: what goes in comes out as it was, and whatever happens to the file, never as anything else."""

from __future__ import annotations

import contextlib
import io
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.packed.objects import entry
from tests.transfer.conftest import KINDS, Make, fill, put, wires_of
from tiercache import Cache, MemoryBackend, TierChain
from tiercache.errors import BackendUnavailable, ConfigurationError, PartialFailure, UnknownFormat
from tiercache.transfer import CopyReport, DamagedFile, export_entries, import_entries, portable


def exported(backend: Any, **options: Any) -> bytes:
    file = io.BytesIO()
    assert export_entries(backend, file, **options).left == 0
    return file.getvalue()


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(portable, "BLOCK_BYTES", 800)


@pytest.mark.parametrize("kind", KINDS)
def test_entries_come_out_as_they_went_in(make: Make, tmp_path: Path, kind: str) -> None:
    source, path = make(kind, "a"), tmp_path / "entries.tier"
    wires = fill(source)
    report = export_entries(source, path)
    assert (report.copied, report.carried, report.complete) == (30, 0, True)
    there = make(kind, "b")
    report = import_entries(path, there)
    assert (report.copied, report.total, report.left) == (30, 30, 0)
    assert wires_of(make(kind, "b")) == wires
    assert there.get("n:0001").metadata.tags == ("t1",)


def test_it_is_read_as_a_stream(make: Make) -> None:
    source = make("disk", "a")
    wires = fill(source, 2000)
    reading, writing = os.pipe()

    def write() -> None:
        with os.fdopen(writing, "wb") as stream:
            export_entries(source, stream)

    thread = threading.Thread(target=write)
    thread.start()
    with os.fdopen(reading, "rb", buffering=0) as stream:
        report = import_entries(stream, make("disk", "b"))
    thread.join(60)
    assert (report.copied, report.total) == (2000, None)
    assert wires_of(make("disk", "b")) == wires


def test_what_repeats_is_compressed(make: Make) -> None:
    source = make("disk", "a")
    fill(source, 500)
    assert len(exported(source)) < sum(map(len, wires_of(source).values())) / 2


def test_the_same_filters_and_rules_hold(make: Make) -> None:
    source, there = make("disk", "a"), make("disk", "b")
    fill(source)
    fill(source, 5, namespace="other")
    put(there, "other:0001", b"newer")
    put(there, "other:0002", b"older", age=5000)
    data = exported(source)
    assert len(exported(source, namespace="other")) < len(data)
    report = import_entries(io.BytesIO(data), there, namespace="other")
    assert (report.copied, report.replaced, report.skipped_newer) == (4, 1, 1)
    assert there.get("other:0001").payload == b"newer"
    report = import_entries(io.BytesIO(data), there, tags=["t1"])
    assert (report.copied, report.skipped_present, report.skipped_newer, report.skipped_other) == (10, 1, 1, 23)
    assert import_entries(io.BytesIO(data), there, prefix="other:0001", overwrite="always").replaced == 1


def test_what_was_invalidated_stays_dead(make: Make) -> None:
    with contextlib.closing(TierChain(make("disk", "a"))) as chain:
        cache = Cache(chain, namespace="n")
        cache.set("dead", 1)
        cache.clear()
        cache.set("alive", 2)
        file = io.BytesIO()
        assert export_entries(chain, file).skipped_dead == 1
    with contextlib.closing(TierChain(make("disk", "b"))) as chain:
        Cache(chain, namespace="n").clear()
        file.seek(0)
        report = import_entries(file, chain)
        assert (report.copied, report.skipped_dead) == (0, 1)


def test_what_expired_since_is_left_out(make: Make) -> None:
    now = [1_800_000_000.0]
    source = make("objects", "a", clock=lambda: now[0])
    source.put("n:1", entry("n:1", now=now[0], ttl=60))
    source.put("n:2", entry("n:2", now=now[0]))
    data = exported(source)
    now[0] += 100
    with contextlib.closing(TierChain(MemoryBackend("1MiB", clock=lambda: now[0]), clock=lambda: now[0])) as chain:
        report = import_entries(io.BytesIO(data), chain)
    assert (report.copied, report.skipped_expired) == (1, 1)


def test_storage_classes_come_with_them(make: Make) -> None:
    from tiercache_s3 import S3Backend

    source, there = make("objects", "a"), make("objects", "b")
    source.rules = there.rules = S3Backend.rules
    source.put("n:1", entry("n:1").in_class("STANDARD_IA"))
    import_entries(io.BytesIO(exported(source)), there)
    assert there.get("n:1").metadata.storage_class == "STANDARD_IA"


# The file as such


def test_it_has_its_name_when_it_is_whole(make: Make, tmp_path: Path) -> None:
    source, path = make("objects", "a"), tmp_path / "out" / "f"
    fill(source)
    path.parent.mkdir()
    path.write_bytes(b"before")
    seen: list[list[str]] = []

    def look(call: str, name: str) -> None:
        seen.append(sorted(os.listdir(path.parent)))
        if call == "read" and name.endswith("n:0029"):
            raise KeyboardInterrupt

    source.objects.before = look
    with pytest.raises(KeyboardInterrupt):
        export_entries(source, path)
    assert any(len(names) == 2 for names in seen), "another name meanwhile"
    assert (os.listdir(path.parent), path.read_bytes()) == (["f"], b"before")
    source.objects.before = lambda call, name: None
    export_entries(source, path)
    assert os.listdir(path.parent) == ["f"]
    assert path.stat().st_mode & 0o777 == 0o600


def test_nothing_is_left_where_the_source_fails(make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tiercache.transfer.patience.PAUSES", [])
    monkeypatch.setattr("tiercache.transfer.origins.PAUSES", [])
    source, path = make("objects", "a"), tmp_path / "out" / "f"
    fill(source)
    path.parent.mkdir()

    def fail(call: str, name: str) -> None:
        raise BackendUnavailable("away")

    source.objects.before = fail
    with pytest.raises(PartialFailure):
        export_entries(source, path)
    assert os.listdir(path.parent) == []


def test_other_files_are_refused(tmp_path: Path) -> None:
    for data in (b"", b"TIER", b"PK\x03\x04" + bytes(100), bytes(1000)):
        with pytest.raises(ConfigurationError, match="tiercache export"):
            import_entries(io.BytesIO(data), MemoryBackend("1MiB"))
    later = portable.START.pack(portable.MAGIC, 2, 0) + bytes(100)
    with pytest.raises(UnknownFormat, match="later release"):
        import_entries(io.BytesIO(later), MemoryBackend("1MiB"))


def test_wherever_it_is_cut_off_the_whole_blocks_come_in(make: Make, small_blocks: None) -> None:
    source = make("disk", "a")
    wires = fill(source, 9)
    data = exported(source)
    whole: set[int] = set()
    for end in range(len(portable.MAGIC), len(data)):
        there: Any = MemoryBackend("1MiB")
        with pytest.raises((DamagedFile, PartialFailure)) as caught:
            import_entries(io.BytesIO(data[:end]), there)
        error, found = caught.value, wires_of(there)
        cut = error.failed["DamagedFile"] if isinstance(error, PartialFailure) else error
        assert found.items() <= wires.items()
        assert isinstance(error, DamagedFile) or error.results.copied == len(found)
        assert "cut off" in str(cut)
        assert not found or f"with {len(found)} entries" in str(cut)
        whole.add(len(found))
    assert len(whole) > 2
    assert max(whole) == len(wires), "only the end is missing"


def test_every_bit_counts(make: Make, small_blocks: None) -> None:
    source = make("disk", "a")
    wires = fill(source, 3, size=1)
    data = exported(source)
    for at in range(len(data)):
        for bit in range(8):
            damaged = bytearray(data)
            damaged[at] ^= 1 << bit
            there: Any = MemoryBackend("1MiB")
            with pytest.raises((DamagedFile, PartialFailure, ConfigurationError, UnknownFormat)):
                import_entries(io.BytesIO(bytes(damaged)), there)
            assert wires_of(there).items() <= wires.items()


def test_blocks_cannot_be_swapped_left_out_or_doubled(make: Make, small_blocks: None) -> None:
    source = make("disk", "a")
    fill(source, 60)
    data = exported(source)
    starts = [at for at in range(len(data)) if data.startswith(b"BLCK", at)]
    end = data.rindex(b"ENDS")
    parts = [data[start:stop] for start, stop in zip(starts, [*starts[1:], end], strict=True)]
    assert len(parts) > 2
    for other in (parts[1:], parts[:-1], [parts[0], *parts], [parts[1], parts[0], *parts[2:]]):
        with pytest.raises(PartialFailure, match="DamagedFile"):
            import_entries(io.BytesIO(data[: starts[0]] + b"".join(other) + data[end:]), MemoryBackend("1MiB"))
    with pytest.raises(PartialFailure, match="DamagedFile") as caught:
        import_entries(io.BytesIO(data + b"x"), MemoryBackend("1MiB"))
    assert "behind its end" in str(caught.value.failed["DamagedFile"])


# Going on


@pytest.mark.parametrize("kind", ["disk", "packed"])
def test_an_import_goes_on_where_it_stopped(make: Make, small_blocks: None, kind: str) -> None:
    source = make("disk", "a")
    wires = fill(source, 60)
    data, token, copied, runs = exported(source), None, 0, 0
    while runs == 0 or token is not None:
        stop = threading.Event()
        stop.set()  # after the first block
        report = import_entries(io.BytesIO(data), make(kind, "b"), resume=token, stop=stop)
        assert report.skipped_present == 0
        copied, runs, token = copied + report.copied, runs + 1, report.resume
        assert runs < 100
    assert runs > 2
    assert (copied, wires_of(make(kind, "b"))) == (60, wires)


def test_a_token_of_another_file_is_a_mistake(make: Make, small_blocks: None) -> None:
    source = make("disk", "a")
    fill(source, 60)
    data = exported(source)
    stop = threading.Event()
    reports: list[CopyReport] = []
    report = import_entries(
        io.BytesIO(data), make("disk", "b"), stop=stop, progress=lambda so_far: (reports.append(so_far), stop.set())
    )
    assert report.resume == reports[-1].resume
    put(source, "n:more", b"more")
    for token, file in ((report.resume, exported(source, prefix="n:00")), ("after:x", data), ("block:x:y", data)):
        with pytest.raises(ConfigurationError, match="of another"):
            import_entries(io.BytesIO(file), make("disk", "c"), resume=token)
