"""The end of a process: what waits to be written is written within a bound, and what is lost is said."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest

from tiercache import Cache, DiskBackend, TierChain, drain_on_sigterm
from tiercache.errors import ConfigurationError
from tiercache.reports import Report, read_reports

ROOT = Path(__file__).parent.parent
GUARD = 60

SLOW = """
    import os, signal, sys, threading, time
    from tiercache import Cache, DiskBackend, Tier, TierChain, MemoryBackend, drain_on_sigterm

    class Slow(DiskBackend):
        seconds = 0.3

        def put_many(self, entries, *, deadline=None):
            time.sleep(self.seconds)
            super().put_many(entries)

    cache = Cache(TierChain(MemoryBackend(), Tier(Slow(sys.argv[1]), write="behind")), namespace="n")
"""


def run(script: str, path: Path, *, send: signal.Signals | None = None) -> subprocess.CompletedProcess[str]:
    code = textwrap.dedent(SLOW) + textwrap.dedent(script)
    env = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'backends'}"}
    with subprocess.Popen(
        [sys.executable, "-c", code, str(path)], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        if send is not None:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            process.send_signal(send)
        out, err = process.communicate(timeout=GUARD)
    return subprocess.CompletedProcess([], process.returncode, out, err)


def held(path: Path) -> set[str]:
    with Cache(DiskBackend(path), namespace="n") as cache:
        return set(cache.keys())


def told(path: Path) -> list[Report]:
    chain = TierChain(DiskBackend(path))
    reports = read_reports(chain)
    chain.close()
    return reports


def test_at_exit_what_waits_is_written(tmp_path: Path) -> None:
    ended = run("cache.set_many({str(n): n for n in range(100)})", tmp_path / "store")
    assert ended.returncode == 0, ended.stderr
    assert len(held(tmp_path / "store")) == 100


def test_a_store_that_hangs_does_not_keep_the_process(tmp_path: Path) -> None:
    ended = run('Slow.seconds = 600\ncache.set("secret-key", "v")', tmp_path / "store")
    assert ended.returncode == 0
    assert "1 entries were not written before the end" in ended.stderr
    assert "secret-key" not in ended.stderr


SET_AND_WAIT = """
    cache.set_many({str(n): n for n in range(100)})
    print("ready", flush=True)
    while True:  # a signal that comes just before a sleep begins is seen when it ends
        time.sleep(0.05)
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGTERM to handle")
def test_on_sigterm_what_waits_is_written_and_the_signal_ends_the_process(tmp_path: Path) -> None:
    ended = run("    drain_on_sigterm()" + SET_AND_WAIT, tmp_path / "store", send=signal.SIGTERM)
    assert ended.returncode == -signal.SIGTERM
    assert len(held(tmp_path / "store")) == 100


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGTERM to handle")
def test_the_handler_that_stood_before_is_called_afterwards(tmp_path: Path) -> None:
    before = """
    def stop(number, frame):
        os.write(1, b"stopping" + bytes([10]))
        os._exit(3)
    signal.signal(signal.SIGTERM, stop)
    drain_on_sigterm()
    """
    ended = run(before + SET_AND_WAIT, tmp_path / "store", send=signal.SIGTERM)
    assert ended.returncode == 3
    assert ended.stdout.endswith("stopping\n")
    assert len(held(tmp_path / "store")) == 100


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGTERM to handle")
def test_a_signal_that_finds_the_main_thread_in_the_journals_lock_does_not_hang(tmp_path: Path) -> None:
    script = """
    drain_on_sigterm(0.5)
    cache.set("k", "v")
    with cache.chain.tiers[1].journal._lock:
        print("ready", flush=True)
        while True:
            time.sleep(0.05)
    """
    assert run(script, tmp_path / "store", send=signal.SIGTERM).returncode == -signal.SIGTERM


def test_it_is_called_in_the_main_thread() -> None:
    raised: list[BaseException] = []

    def call() -> None:
        try:
            drain_on_sigterm()
        except ConfigurationError as error:
            raised.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    thread.join(GUARD)
    assert "main thread" in str(raised[0])


# What was recorded and counted

WATCHED = """
    from tiercache import recording, reporting
    recording.EVERY = 3600.0  # nothing is written unless somebody wants it
    reporting.FIRST = 3600.0

    def watched(path):
        chain = TierChain(MemoryBackend(), Tier(Slow(path), write="behind"), record=path + ".csv", report=True)
        return Cache(chain, namespace="watched")

    watched_cache = watched(sys.argv[1])
    for number in range(100):
        watched_cache.get(f"absent-{number}")
"""


def recorded(path: Path) -> int:
    return len(Path(f"{path}.csv").read_text(encoding="utf-8").splitlines()) - 1  # the header


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGTERM to handle")
def test_on_sigterm_what_was_recorded_and_counted_is_written(tmp_path: Path) -> None:
    script = WATCHED + "    drain_on_sigterm()" + SET_AND_WAIT
    ended = run(script, tmp_path / "store", send=signal.SIGTERM)
    assert ended.returncode == -signal.SIGTERM
    assert recorded(tmp_path / "store") == 100
    [report] = told(tmp_path / "store")
    assert (report.ended, report.stats.misses) == (True, 100)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGTERM to handle")
def test_a_process_that_may_go_on_after_the_signal_does_not_say_that_it_ended(tmp_path: Path) -> None:
    before = """
    signal.signal(signal.SIGTERM, lambda number, frame: os._exit(3))
    drain_on_sigterm()
    """
    ended = run(WATCHED + before + SET_AND_WAIT, tmp_path / "store", send=signal.SIGTERM)
    assert ended.returncode == 3
    assert recorded(tmp_path / "store") == 100
    [report] = told(tmp_path / "store")
    assert (report.ended, report.stats.misses) == (False, 100)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGTERM to handle")
def test_a_store_that_hangs_keeps_no_recording_from_being_written_on_sigterm(tmp_path: Path) -> None:
    script = WATCHED + "    Slow.seconds = 600\n    drain_on_sigterm(0.5)" + SET_AND_WAIT
    assert run(script, tmp_path / "store", send=signal.SIGTERM).returncode == -signal.SIGTERM
    assert recorded(tmp_path / "store") == 100


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGTERM to handle")
def test_a_signal_that_finds_the_main_thread_in_the_recorders_lock_does_not_hang(tmp_path: Path) -> None:
    script = """
    drain_on_sigterm()
    cache.set("k", "v")
    with watched_cache.chain.recorder._turn:
        print("ready", flush=True)
        while True:
            time.sleep(0.05)
    """
    assert run(WATCHED + script, tmp_path / "store", send=signal.SIGTERM).returncode == -signal.SIGTERM
    assert held(tmp_path / "store") == {"k"}


@pytest.mark.parametrize("drop", ["", "    del watched_cache, number\n    import gc; gc.collect()"])
def test_at_exit_what_was_recorded_and_counted_is_written_of_dropped_chains_too(tmp_path: Path, drop: str) -> None:
    ended = run(WATCHED + drop, tmp_path / "store")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert recorded(tmp_path / "store") == 100
    [report] = told(tmp_path / "store")
    assert (report.ended, report.stats.misses) == (True, 100)
