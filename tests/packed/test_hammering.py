"""Writers with clocks that are off, listings that lag, compactions and kills, all on the same keys of a real server.

Of every key the newest of what was said to be stored, or something newer, is what a fresh process finds, and of keys
that have one writer all that was said; readers never see a value of another key, one that nobody put, or one that is
older than what they saw.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path

import pytest

from tests.packed.hammering import KEYS, backend_of
from tiercache.packed.segment import digest_of

ROOT = Path(__file__).parent.parent.parent
NAMES = [f"n:{number}" for number in range(KEYS)]
GUARD = 120


class Writer:
    """A process, and the newest that it said of each key: stamp and value."""

    def __init__(self, place, off, lag):
        self.name, self.lines = uuid.uuid4().hex[:8], 0
        self.said: dict[str, tuple[int, str | None]] = {}
        command = [sys.executable, "-m", "tests.packed.hammering", json.dumps(place), self.name, str(off), str(lag)]
        env = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'backends'}"}
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env, cwd=ROOT)
        self.off = off
        self._listening = threading.Thread(target=self._listen)
        self._listening.start()

    def _listen(self):
        with self.process.stdout as lines:
            for line in lines:
                if line.endswith("\n"):
                    for key, stamp, value in json.loads(line):
                        self.said[key] = stamp, value
                    self.lines += 1

    def kill(self):
        self.process.kill()
        self.process.wait()
        self._listening.join()


class Reader(threading.Thread):
    """Looks and reads; its stamps of a key never fall, and each value is one of the key."""

    def __init__(self, place, lag):
        super().__init__()
        self.backend = backend_of(place, lag=lag, refresh=0.3)
        self.ended = threading.Event()
        self.wrong: list[object] = []
        self.values = 0
        self._last: dict[tuple[str, str], int] = {}

    def run(self):
        try:
            while not self.ended.is_set():
                for key, found in self.backend.get_many(NAMES).items():
                    told, writer, number = found.payload.decode().split()
                    self.values += 1
                    if told != key or int(number) < self._last.get((key, writer), -1):
                        self.wrong.append((key, told, writer, number))
                    self._last[key, writer] = int(number)
        except Exception as error:  # the test says it
            self.wrong.append(error)


@pytest.fixture
def place(s3_server, s3_bucket, s3_prefix):
    return {
        "bucket": s3_bucket,
        "prefix": s3_prefix,
        "endpoint_url": s3_server.endpoint_url,
        "region": s3_server.region,
        "access_key_id": s3_server.access_key,
        "secret_access_key": s3_server.secret_key,
    }


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("clocks", "lag", "kills", "seconds"),
    [
        pytest.param([0.0, 200.0], 0.0, 3, 1.5, id="two"),
        pytest.param([0.0, 200.0, -200.0, 0.0], 0.0, 25, 2.0, marks=pytest.mark.slow, id="four"),
        pytest.param([0.0, -200.0, 0.0], 3.0, 10, 3.0, marks=pytest.mark.slow, id="lists-that-lag"),
        pytest.param([0.0, -5 * 3600.0, 100.0], 0.0, 10, 3.0, marks=pytest.mark.slow, id="hours-behind"),
    ],
)
def test_what_was_said_to_be_stored_is_what_a_fresh_process_finds(place, clocks, lag, kills, seconds):
    random.seed(len(clocks))
    running = [Writer(place, off, lag) for off in clocks]
    ended: list[Writer] = []
    readers = [Reader(place, lag) for _ in range(2)]
    for reader in readers:
        reader.start()
    try:
        for _ in range(kills):
            until = time.monotonic() + GUARD
            while any(not writer.lines for writer in running) and time.monotonic() < until:
                time.sleep(0.02)
            time.sleep(random.random() * seconds)
            victim = running.pop(random.randrange(len(running)))
            victim.kill()
            ended.append(victim)
            running.append(Writer(place, victim.off, lag))
    finally:
        for writer in running:
            writer.kill()
        for reader in readers:
            reader.ended.set()
            reader.join()
            reader.backend.close()
    everyone = [*ended, *running]
    fresh = backend_of(place)
    try:
        fresh.refresh()
        found = fresh.get_many(NAMES)
        for key in NAMES:
            said = [writer.said[key] for writer in everyone if key in writer.said]
            if not said:
                continue
            stamp = max(stamp for stamp, _ in said)
            values = {value for each, value in said if each == stamp}
            known = fresh.newest.stamp(digest_of(key))
            value = found[key].payload.decode() if key in found else None
            if known == stamp:
                assert value in values, key
            else:  # another one wrote later, and was killed before it said so; a merge may drop what was deleted
                assert known > stamp or (known == 0 and value is None and None in values), key
        for writer in everyone:  # nobody else touches these
            own = {key: value for key, (_, value) in writer.said.items() if key.startswith("own:")}
            assert {key: found.payload.decode() for key, found in fresh.get_many(list(own)).items()} == own
    finally:
        fresh.close()
    assert sum(writer.lines for writer in ended) > 0
    assert [reader.wrong for reader in readers] == [[], []]
    assert all(reader.values for reader in readers)
