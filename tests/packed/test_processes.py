"""Packed segments among processes on a real server: writers that are killed at random moments, and readers."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
import uuid

import boto3
import pytest

from tests.packed.writing import KEYS, backend_of

HEAD_START = 60
"""Lines that all writers together have printed before the first one is killed."""


class Writer:
    """A process that writes, and the numbers that it has said to be stored."""

    def __init__(self, place):
        self.name = uuid.uuid4().hex[:8]
        self.stored = -1
        command = [sys.executable, "-m", "tests.packed.writing", json.dumps(place), self.name]
        paths = os.pathsep.join([os.getcwd(), os.path.join(os.getcwd(), "backends")])
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": paths}
        )
        self.listening = threading.Thread(target=self._listen)
        self.listening.start()

    def _listen(self):
        with self.process.stdout as lines:
            for line in lines:
                if line.endswith("\n"):
                    self.stored = int(line)

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.listening.join()


class Reader(threading.Thread):
    """Reads the common keys again and again: each value is of its key, and no writer's go backwards."""

    def __init__(self, place):
        super().__init__()
        self.backend = backend_of(place, refresh=0.2)
        self.ended = threading.Event()
        self.wrong, self.values = [], 0
        self.seen: dict[tuple[str, str], int] = {}

    def run(self):
        try:
            while not self.ended.is_set():
                for key, found in self.backend.get_many([f"common:{number}" for number in range(KEYS)]).items():
                    told, writer, number = found.payload.decode().split()
                    self.values += 1
                    if told != key or int(number) < self.seen.get((key, writer), -1):
                        self.wrong.append((key, told, writer, number))
                    self.seen[key, writer] = int(number)
        except Exception as error:  # the test says it
            self.wrong.append(error)


@pytest.fixture
def place(s3_server):
    bucket = f"packed-{uuid.uuid4().hex[:12]}"
    access = {"endpoint_url": s3_server.endpoint_url, "region": s3_server.region}
    keys = {"access_key_id": s3_server.access_key, "secret_access_key": s3_server.secret_key}
    client = boto3.client(
        "s3",
        endpoint_url=s3_server.endpoint_url,
        region_name=s3_server.region,
        aws_access_key_id=s3_server.access_key,
        aws_secret_access_key=s3_server.secret_key,
    )
    client.create_bucket(Bucket=bucket)
    client.close()
    return {"bucket": bucket, **access, **keys}


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("writers", "kills"), [(2, 3), pytest.param(4, 40, marks=pytest.mark.slow)], ids=["two", "four"]
)
def test_killed_writers_lose_nothing_that_was_flushed_and_readers_see_nothing_wrong(place, writers, kills):
    random.seed(writers)
    running = [Writer(place) for _ in range(writers)]
    ended: list[Writer] = []
    readers = [Reader(place) for _ in range(2)]
    for reader in readers:
        reader.start()
    try:
        for _ in range(kills):
            target = sum(writer.stored for writer in running) + HEAD_START // kills
            until = time.monotonic() + 120
            while sum(writer.stored for writer in running) < target and time.monotonic() < until:
                time.sleep(random.random() / 20)
            victim = running.pop(random.randrange(len(running)))
            victim.kill()
            ended.append(victim)
            running.append(Writer(place))
    finally:
        for writer in running:
            writer.kill()
        for reader in readers:
            reader.ended.set()
            reader.join()
            reader.backend.close()
    fresh = backend_of(place)
    try:
        for writer in [*ended, *running]:
            own = [f"own:{writer.name}:{number}" for number in range(writer.stored + 1)]
            found = fresh.get_many(own)
            assert {key: found[key].payload for key in found} == {key: key.encode() * 20 for key in own}
    finally:
        fresh.close()
    assert sum(writer.stored + 1 for writer in ended) > 0
    assert [reader.wrong for reader in readers] == [[], []]
    assert all(reader.values for reader in readers)
