"""How each fault is brought about: in the network, in a store's answers, in its bytes, in its settings."""

from __future__ import annotations

import contextlib
import functools
import gzip
import shutil
import sqlite3
import time

import zstandard

from tests.faults.http_script import LOSE, refusal
from tests.faults.rigs import another, damaged
from tests.properties import raw
from tiercache.sealing.keyring import KeyRing
from tiercache.sealing.sealed import SealedEnvelope


def network(fault, **options):
    """The network between the client and the server does this."""

    def inject(scene):
        return scene.rig.network.broken(fault, **options)

    return inject


@contextlib.contextmanager
def dropped(scene):
    """The server was restarted: connections that lay idle are reset."""
    scene.rig.network.drop()
    yield


def answered(web, redis=None):
    """The store answers this: `web[kind]` is a status and a code, `redis` a line."""

    @contextlib.contextmanager
    def inject(scene):
        script = scene.rig.script
        if scene.rig.kind == "redis":
            script.answer = redis
        else:
            answer = refusal(scene.rig.speaks, *web[scene.rig.speaks])
            script.answer = lambda asked: answer
        try:
            yield
        finally:
            script.answer = None

    return inject


@contextlib.contextmanager
def partly(scene):
    """The store fails for every second key."""
    rig, bad = scene.rig, scene.keys[::2]
    if rig.kind == "disk":
        for key in bad:
            rig.raw_put(scene.full(key), damaged(rig.raw_get(scene.full(key)), "flipped"))
        yield
        return
    ends = tuple(key.removeprefix("confidential-") for key in bad)
    busy = refusal(rig.kind, *BUSY[rig.kind])
    rig.script.answer = lambda asked: busy if asked.path.partition("?")[0].endswith(ends) else None
    try:
        yield
    finally:
        rig.script.answer = None


BUSY = {"s3": (503, "SlowDown"), "gcs": (503, "backendError"), "azure": (503, "ServerBusy")}


@contextlib.contextmanager
def other_redis_types(scene):
    """Every second key holds a list, which another program made."""
    for key in scene.keys[::2]:
        name = f"faults:{scene.full(key)}"
        scene.rig.client.delete(name)
        scene.rig.client.lpush(name, "x")
    yield


@contextlib.contextmanager
def writes_lose_their_answer(scene):
    """The store does what it is asked, and the answer never arrives."""
    script = scene.rig.script
    if scene.rig.kind == "redis":
        script.lose_writes = True
    else:
        script.answer = lambda asked: LOSE if asked.method in ("PUT", "POST", "DELETE") else None
    try:
        yield
    finally:
        script.lose_writes = False
        script.answer = None


def archived(scene):
    return {"s3": archived_s3, "azure": archived_azure}[scene.rig.speaks](scene)


@contextlib.contextmanager
def archived_s3(scene):
    """A lifecycle rule moved the objects where a GET cannot read them."""
    answer = refusal("s3", 403, "InvalidObjectState")
    scene.rig.script.answer = lambda asked: answer if asked.method == "GET" and "list-type" not in asked.path else None
    try:
        yield
    finally:
        scene.rig.script.answer = None


@contextlib.contextmanager
def archived_azure(scene):
    for name in {scene.rig.name(scene.full(key)) for key in scene.keys}:
        scene.rig.blob(name).set_standard_blob_tier("Archive")
    yield


@contextlib.contextmanager
def refuses_checksums(scene):
    """The store knows nothing of the checksums that SDKs send since 2025."""
    answer = refusal("s3", 501, "NotImplemented")

    def asked_for(asked):
        named = [name.lower() for name in asked.headers]
        return answer if any("checksum" in name or "trailer" in name for name in named) else None

    scene.rig.script.answer = asked_for
    try:
        yield
    finally:
        scene.rig.script.answer = None


@contextlib.contextmanager
def transcoded(scene):
    """Somebody's tool stored the objects compressed: a download that is not raw would unpack them."""
    rig = scene.rig
    for name in {rig.name(scene.full(key)) for key in scene.keys}:
        rig.raw_put_object(name, gzip.compress(rig.raw_body(name)), encoding="gzip")
    yield


def bytes_that_are(change):
    """The store holds other bytes: `change(entry, data)` of the entry and its envelope."""

    @contextlib.contextmanager
    def inject(scene):
        held = [(key, scene.raw_entry(key), scene.rig.raw_get(scene.full(key))) for key in scene.keys]
        for key, entry, data in held:
            scene.rig.raw_put(scene.full(key), change(entry, data))
        yield

    return inject


def harmed(how):
    return bytes_that_are(lambda entry, data: damaged(data, how))


def made(seconds):
    """Another machine, whose clock is so many seconds ahead, wrote the entries."""
    if_ahead = bytes_that_are(lambda entry, data: another(entry, created_at=time.time() + seconds))

    @contextlib.contextmanager
    def inject(scene):
        if scene.rig.kind != "memory":
            with if_ahead(scene):
                yield
            return
        for key in scene.keys:
            entry = scene.backend.get(scene.full(key))
            scene.backend.put(scene.full(key), entry.with_metadata(created_at=time.time() + seconds))
        yield

    return inject


@functools.cache
def zeros():
    return zstandard.ZstdCompressor().compress(bytes(64 << 20))


def bomb(entry, data):
    """64 MiB of compressed zeros that claim to be small, with a checksum that fits."""
    return raw.envelope(raw.header(k=entry.metadata.key, n=100, e="zstd"), zeros())


def sealed_by_others(entry, data):
    """What a chain with another key would have written."""
    return SealedEnvelope(KeyRing({"theirs": bytes(range(32))})).encode(entry.with_metadata())


# Redis' own settings.


def set_up(change, undo):
    """An administrator runs `change`, and `undo` when it is over; connections begin anew."""

    @contextlib.contextmanager
    def inject(scene):
        admin = scene.rig.client
        for command in change:
            admin.execute_command(*command)
        admin.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        try:
            yield
        finally:
            for command in undo:
                admin.execute_command(*command)

    return inject


full = set_up([["CONFIG", "SET", "maxmemory", "1"]], [["CONFIG", "SET", "maxmemory", "0"]])
read_only = set_up([["REPLICAOF", "127.0.0.1", "1"]], [["REPLICAOF", "NO", "ONE"]])
other_password = set_up(
    [["ACL", "SETUSER", "default", "resetpass", ">another"]], [["ACL", "SETUSER", "default", "nopass"]]
)
other_keys = set_up([["ACL", "SETUSER", "default", "resetkeys", "~other*"]], [["ACL", "SETUSER", "default", "allkeys"]])


def by_store(web, redis):
    """One way for Redis, another one for the rest."""

    def inject(scene):
        return (redis if scene.rig.kind == "redis" else web)(scene)

    return inject


# The disk's file.


@contextlib.contextmanager
def no_directory(scene):
    """What should be the cache's directory is a file."""
    directory = scene.rig.path.parent
    aside = directory.with_name("aside")
    directory.rename(aside)
    directory.touch()
    try:
        yield
    finally:
        directory.unlink()
        while aside.exists():  # who tries in the background may make the directory in this very moment
            shutil.rmtree(directory, ignore_errors=True)
            with contextlib.suppress(OSError):
                aside.rename(directory)


@contextlib.contextmanager
def deleted_file(scene):
    for file in scene.rig.path.parent.iterdir():
        file.unlink()
    yield


@contextlib.contextmanager
def locked(scene):
    """Another process holds the file for writing."""
    with contextlib.closing(sqlite3.connect(scene.rig.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


@contextlib.contextmanager
def full_disk(scene):
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextlib.contextmanager
def damaged_file(scene):
    """The file is damaged as a whole; it heals when somebody removes it."""
    path = scene.rig.path
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    data = path.read_bytes()
    path.write_bytes(data[:100] + bytes(len(data) - 100))
    try:
        yield
    finally:
        for file in path.parent.iterdir():
            file.unlink()


@contextlib.contextmanager
def nothing(scene):
    """Nothing is wrong but what is asked for."""
    yield
