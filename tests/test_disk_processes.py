"""The disk backend among processes: several at once, killed ones, forked ones. Each test runs real processes."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
from contextlib import closing

import pytest

from tiercache.disk import DiskBackend

PRELUDE = """
import os, sys, threading, time
from tiercache.disk import connection as disk_connection
from tiercache.disk import DiskBackend
from tiercache.entry import Entry, Metadata
from tiercache.errors import BackendUnavailable

path = sys.argv[1]

def entry(key):
    return Entry(key.encode() * 500, Metadata(key=key, created_at=time.time(), size=500 * len(key)))

def put(backend, start, count):
    for number in range(count):
        assert backend.put(f"{start}{number:03}", entry(f"{start}{number:03}")) is True
"""
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="processes do not fork here")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "cache.sqlite3"


def start(path, code, *arguments):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    script = PRELUDE + textwrap.dedent(code)
    return subprocess.Popen(
        [sys.executable, "-c", script, path, *arguments],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process):
    """Return what the process printed; it must end well, and within two minutes."""
    try:
        printed, errors = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == 0, errors
    return printed


def check(path, *keys):
    """The file is sound, its count is exact, and it holds these keys with their values."""
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        counted = db.execute("SELECT count(*), sum(length(data)) FROM entries").fetchone()
    with closing(DiskBackend(path)) as backend:
        assert backend.usage() == counted
        found = backend.get_many(keys)
    assert [key for key in keys if key not in found] == []
    assert all(entry.payload == key.encode() * 500 for key, entry in found.items())


def names(start, count):
    return [f"{start}{number:03}" for number in range(count)]


def test_two_processes_that_write_at_once_lose_nothing(path):
    code = """
    print("ready", flush=True)
    sys.stdin.readline()
    backend = DiskBackend(path)
    put(backend, sys.argv[2], 200)
    backend.close()
    """
    writers = [start(path, code, name) for name in "ab"]
    for writer in writers:
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:  # both make the file
        writer.stdin.write("go\n")
        writer.stdin.flush()
    for writer in writers:
        finish(writer)
    check(path, *names("a", 200), *names("b", 200))


@pytest.mark.skipif(os.name == "nt", reason="SIGKILL is POSIX")
def test_what_a_process_wrote_is_there_after_it_was_killed(path):
    writer = start(
        path,
        """
        backend = DiskBackend(path)
        put(backend, "a", 50)
        print("wrote", flush=True)
        while True:
            put(backend, "more", 100)
        """,
    )
    assert writer.stdout.readline() == "wrote\n"
    os.kill(writer.pid, signal.SIGKILL)
    writer.communicate(timeout=60)
    check(path, *names("a", 50))


def test_a_process_that_ends_without_close_leaves_one_file(path):
    finish(start(path, "backend = DiskBackend(path); put(backend, 'a', 3)"))
    assert [file.name for file in path.parent.iterdir()] == ["cache.sqlite3"]
    check(path, *names("a", 3))


@needs_fork
def test_a_forked_child_and_its_parent_both_go_on(path):
    finish(
        start(
            path,
            """
            backend = DiskBackend(path)
            put(backend, "before", 10)
            child = os.fork()
            put(backend, "child" if child == 0 else "parent", 100)
            if child == 0:
                os._exit(0 if backend.get("before000") else 1)
            assert os.waitpid(child, 0)[1] == 0
            backend.close()
            """,
        )
    )
    check(path, *names("before", 10), *names("child", 100), *names("parent", 100))


@needs_fork
def test_what_a_child_writes_stays_when_its_parent_closes_before_it(path):
    finish(
        start(
            path,
            """
            backend = DiskBackend(path)
            put(backend, "before", 10)
            backend.get("before000")
            (child_reads, parent_tells), (parent_reads, child_tells) = os.pipe(), os.pipe()
            child = os.fork()
            if child == 0:
                put(backend, "first", 1)
                os.write(child_tells, b"!")
                os.read(child_reads, 1)
                put(backend, "after", 20)
                os._exit(0)
            os.read(parent_reads, 1)
            backend.close()  # were the child's locks not its own, this would take its log away
            os.write(parent_tells, b"!")
            assert os.waitpid(child, 0)[1] == 0
            """,
        )
    )
    check(path, *names("before", 10), *names("first", 1), *names("after", 20))


@needs_fork
def test_a_fork_while_other_threads_write_and_read(path):
    finish(
        start(
            path,
            """
            backend = DiskBackend(path)
            backend.timeout = 60.0
            put(backend, "a", 10)
            stop = threading.Event()

            def work(name):
                while not stop.is_set():
                    put(backend, name, 20)
                    assert backend.get("a000")

            threads = [threading.Thread(target=work, args=(f"t{n}-",)) for n in range(3)]
            for thread in threads:
                thread.start()
            for number in range(5):
                child = os.fork()
                if child == 0:
                    put(backend, f"child{number}-", 5)
                    os._exit(0)
                assert os.waitpid(child, 0)[1] == 0
            stop.set()
            for thread in threads:
                thread.join()
            """,
        )
    )
    check(path, *names("a", 10), *(name for number in range(5) for name in names(f"child{number}-", 5)))


@needs_fork
def test_a_child_forked_in_the_middle_of_a_write_refuses_and_its_parent_goes_on(path):
    finish(
        start(
            path,
            """
            disk_connection.SETTLE = 0.05
            backend = DiskBackend(path)
            put(backend, "a", 1)
            inside, leave = threading.Event(), threading.Event()

            def write():
                with backend._writer.transaction(until=time.monotonic() + 60):
                    inside.set()
                    leave.wait(60)

            thread = threading.Thread(target=write)
            thread.start()
            inside.wait(60)
            child = os.fork()
            if child == 0:
                try:
                    backend.put("b", entry("b"))
                except BackendUnavailable as error:
                    os._exit(0 if "forked" in str(error) else 1)
                os._exit(2)
            assert os.waitpid(child, 0)[1] == 0
            leave.set()
            thread.join()
            put(backend, "c", 1)
            """,
        )
    )
    check(path, *names("a", 1), *names("c", 1))
