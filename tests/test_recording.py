"""Recording accesses: what stands in the file, that hits in memory do, and what a full queue or a bad file costs."""

from __future__ import annotations

import csv
import gc
import json
import os
from pathlib import Path

import pytest

from tiercache import Cache, MemoryBackend, TierChain
from tiercache import recording as module
from tiercache.errors import ConfigurationError
from tiercache.planning import read_log


@pytest.fixture
def log(tmp_path):
    return tmp_path / "accesses.csv"


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(line for line in file if not line.startswith("#")))


def test_reads_stores_and_deletes_are_recorded_in_their_order(log, clock):
    with Cache(TierChain(MemoryBackend(clock=clock), clock=clock, record=log), namespace="docs", ttl=60) as cache:
        cache.get("a")
        cache.set("a", b"12345")
        clock.advance(20)
        cache.get("a")
        cache.delete("a")
    found = rows(log)
    assert [(row["op"], row["size"], row["ttl"], row["tier"]) for row in found] == [
        ("get", "", "", ""),
        ("set", "5", "60.0", ""),
        ("get", "5", "40.0", "memory"),
        ("delete", "", "", ""),
    ]
    assert {row["namespace"] for row in found} == {"docs"}
    assert {row["key_bytes"] for row in found} == {str(len("docs:a"))}


async def test_awaited_operations_are_recorded_too(log):
    async with Cache(TierChain(MemoryBackend(), record=log)) as cache:
        await cache.aget_or_set("a", lambda: b"value")
        await cache.aget("a")
        await cache.aset_many({"b": b"1", "c": b"2"})
        await cache.aget_many(["b", "c", "d"])
        await cache.adelete("b")
    assert [row["op"] for row in rows(log)] == ["get", "set", "get", "set", "set", "get", "get", "get", "delete"]


def test_every_hit_in_memory_is_recorded_once_the_timed_ones_included(log):
    with Cache(TierChain(MemoryBackend(), record=log)) as cache:
        cache.set("a", b"1")
        for _ in range(200):
            cache.get("a")
    assert sum(row["op"] == "get" for row in rows(log)) == 200


def test_keys_are_hashed_unless_told(tmp_path):
    chain = TierChain(MemoryBackend(), record=tmp_path / "hashed.csv")
    with Cache(chain) as cache:
        cache.get("secret, question")
        chain.record(tmp_path / "plain.csv", hashed=False)
        cache.get("secret, question")
    (hashed,), (plain,) = rows(tmp_path / "hashed.csv"), rows(tmp_path / "plain.csv")
    assert "secret" not in (tmp_path / "hashed.csv").read_text()
    assert len(hashed["key"]) == 32
    assert plain["key"] == "secret, question"


def test_recording_begins_and_ends_while_the_cache_runs(log):
    with Cache(TierChain(MemoryBackend())) as cache:
        cache.set("a", b"1")
        plain = cache._fresh
        assert cache.get("a") == b"1"
        cache.chain.record(log)
        assert cache.get("a") == b"1"
        cache.chain.record(None)
        assert cache.get("a") == b"1"
        assert cache._fresh.__code__ is plain.__code__, "a hit costs nothing more once recording is over"
    assert [row["op"] for row in rows(log)] == ["get"]


def test_a_file_of_json_lines_can_be_read_back(tmp_path):
    path = tmp_path / "accesses.jsonl"
    with Cache(TierChain(MemoryBackend(), record=path)) as cache:
        cache.set("a", b"123", attributes={"seconds": 1.5, "usd": 0.25})
    (line,) = path.read_text().splitlines()
    assert json.loads(line)["cost"] == 0.25
    (access,) = read_log(path)
    assert (access.op, access.size, access.seconds, access.key_bytes) == ("set", 3, 1.5, len("default:a"))


def test_a_sample_holds_all_accesses_of_some_keys_and_says_which_share(log):
    with Cache(TierChain(MemoryBackend(), record=log, record_sample=0.25)) as cache:
        for _ in range(2):
            for number in range(1000):
                cache.get(f"key-{number}")
    counts: dict[str, int] = {}
    for row in rows(log):
        counts[row["key"]] = counts.get(row["key"], 0) + 1
    assert set(counts.values()) == {2}
    assert 180 < len(counts) < 320
    assert log.read_text().startswith("# tiercache accesses sample=0.25\n")


def test_each_process_has_a_file_of_its_own(tmp_path):
    with Cache(TierChain(MemoryBackend(), record=tmp_path / "accesses-{pid}.csv")) as cache:
        cache.get("a")
        read, write = os.pipe()
        child = os.fork()
        if not child:
            cache.get("b")
            cache.chain.recorder.flush()
            os.write(write, b"done")
            os._exit(0)
        assert os.read(read, 4) == b"done"
        os.waitpid(child, 0)
    assert len(rows(tmp_path / f"accesses-{os.getpid()}.csv")) == 1
    assert len(rows(tmp_path / f"accesses-{child}.csv")) == 1


def test_what_does_not_fit_into_the_queue_is_dropped_and_counted(log, monkeypatch):
    monkeypatch.setattr(module, "MOST_WAITING", 3)
    monkeypatch.setattr(module, "EVERY", 3600)
    with Cache(TierChain(MemoryBackend(), record=log)) as cache:
        for number in range(10):
            cache.get(str(number))
        recorder = cache.chain.recorder
        assert recorder.flush()
    assert (recorder.written, recorder.dropped) == (3, 7)
    assert len(rows(log)) == 3


def test_a_file_that_is_large_enough_is_put_aside_and_begun_anew(log):
    chain = TierChain(MemoryBackend())
    chain.record(log, max_bytes=1000)
    with Cache(chain) as cache:
        for number in range(60):
            cache.get(str(number))
            assert chain.recorder.flush()
    assert log.stat().st_size <= 1300
    assert Path(f"{log}.1").stat().st_size <= 1300
    assert len(rows(log)) + len(rows(Path(f"{log}.1"))) < 60


def test_a_file_that_is_there_is_added_to_under_its_header(log):
    for _ in range(2):
        with Cache(TierChain(MemoryBackend(), record=log)) as cache:
            cache.get("a")
    assert len(rows(log)) == 2


def test_a_disk_that_is_full_ends_the_recording_and_nothing_else(log, caplog):
    with Cache(TierChain(MemoryBackend(), record=log)) as cache:
        recorder = cache.chain.recorder

        class Full:
            def write(self, text):
                raise OSError(28, "No space left on device")

            def close(self):
                pass

        recorder._file.close()
        recorder._file = Full()
        cache.set("a", b"1")
        recorder.flush()
        assert cache.get("a") == b"1"
    assert recorder.error == "No space left on device"
    assert recorder.dropped >= 1
    assert "no longer recorded" in caplog.text


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no device that is always full")
def test_what_a_full_disk_did_not_take_is_counted_and_the_thread_ends_in_peace(tmp_path):
    path = tmp_path / "accesses.jsonl"
    path.symlink_to("/dev/full")
    with Cache(TierChain(MemoryBackend(), record=path)) as cache:  # an exception in a thread would fail the test
        cache.set("a", b"1")
        cache.get("a")
        recorder = cache.chain.recorder
        recorder.flush()
    assert recorder.error is not None
    assert (recorder.written, recorder.dropped) == (0, 2)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked here")
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork.*:DeprecationWarning")
def test_a_child_that_is_forked_in_the_middle_of_a_write_writes_nothing_of_its_parent(log):
    chain = TierChain(MemoryBackend(), record=log)
    recorder = chain.recorder
    recorder._file.write(b"half a line")  # the thread is here
    child = os.fork()
    if child == 0:
        recorder.close()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    chain.close()
    assert log.read_text(encoding="utf-8").count("half a line") == 1


def test_the_size_at_which_a_file_is_begun_anew_is_counted_in_bytes(log):
    chain = TierChain(MemoryBackend())
    recorder = chain.record(log, hashed=False, max_bytes="64KiB")
    with Cache(chain) as cache:
        for _ in range(3):
            cache.get("\N{SNOWMAN}" * 10_000)
            assert recorder.flush()
    assert log.with_name("accesses.csv.1").stat().st_size > 64 * 1024


def test_a_chain_that_is_dropped_leaves_a_whole_file_and_no_thread(log):
    cache = Cache(TierChain(MemoryBackend(), record=log))
    for number in range(100):
        cache.get(str(number))
    thread = cache.chain.recorder._thread
    del cache
    gc.collect()
    thread.join(30)
    assert not thread.is_alive()
    assert len(rows(log)) == 100


@pytest.mark.parametrize("sample", [0, -1, 1.5, True, "half"])
def test_a_share_that_is_none_is_refused(log, sample):
    with pytest.raises(ConfigurationError, match="record_sample"):
        TierChain(MemoryBackend(), record=log, record_sample=sample)


def test_a_file_that_cannot_be_written_is_refused_at_once(tmp_path):
    with pytest.raises(ConfigurationError, match="cannot be written"):
        TierChain(MemoryBackend(), record=tmp_path / "missing" / "accesses.csv")


def test_a_chain_from_urls_takes_it(log):
    with Cache(TierChain.from_urls("memory://", record=log)) as cache:
        cache.get("a")
    assert len(rows(log)) == 1
