"""The stores of the fault matrix, each with its server, a proxy for the network, a proxy that answers in its place, and
a way to read and write its bytes beside the backend."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import tempfile
import time
import uuid
from contextlib import ExitStack, closing
from functools import cached_property
from pathlib import Path

from tests.faults.http_script import HttpScript
from tests.faults.packed import Packed
from tests.faults.redis_script import RedisScript
from tiercache import DiskBackend, MemoryBackend, envelope, keys
from tiercache.testing import FaultProxy, servers

PREFIX = "faults"


class Rig:
    """A store.

    Attributes:
        kind: its column.
        patience: the deadline of an operation that is expected to fail at once, in seconds.
        haste: the deadline of one that is expected to be spent.
        speaks: the kind of store whose answers it understands.
        keeps_alive: whether a backend can serve many cells; if not, each cell makes its own.
        packed: whether entries lie in segments.
    """

    kind = ""
    patience = 10.0
    keeps_alive = True
    packed = False
    haste = 0.5

    @property
    def speaks(self):
        return self.kind

    def __init__(self, stack):
        self.stack = stack
        self.backends = {}
        self.used = []
        stack.callback(self.close)

    def backend(self, through, timeout, *, fresh=False):
        """A backend that goes through `server`, `network` or `script`; the same one for the same, unless `fresh`."""
        if fresh or not self.keeps_alive:
            backend = self.make(through, timeout)
            self.used.append(backend)
            return backend
        if (through, timeout) not in self.backends:
            self.backends[through, timeout] = self.make(through, timeout)
        return self.backends[through, timeout]

    def tidy(self):
        """Close what was made for one cell."""
        while self.used:
            self.used.pop().close()

    def close(self):
        """Close everything."""
        self.tidy()
        while self.backends:
            self.backends.popitem()[1].close()

    def make(self, through, timeout):
        raise NotImplementedError

    def renew(self):
        """Called before each cell."""


class MemoryRig(Rig):
    kind = "memory"

    def backend(self, through, timeout, *, fresh=False):
        return super().backend("server", None, fresh=fresh)  # it has neither a network nor a deadline

    def make(self, through, timeout):
        return MemoryBackend("1MiB")


class DiskRig(Rig):
    kind = "disk"

    def renew(self):
        """Begin with another file: some faults are its end."""
        self.close()
        directory = Path(tempfile.mkdtemp(prefix="tiercache-faults-"))
        self.stack.callback(shutil.rmtree, directory, ignore_errors=True)
        self.path = directory / "cache" / "cache.sqlite3"

    def make(self, through, timeout):
        backend = DiskBackend(self.path, max_bytes="64MiB")
        backend.timeout = timeout
        return backend

    def raw_get(self, key):
        with closing(sqlite3.connect(self.path)) as db:
            return db.execute("SELECT data FROM entries WHERE key = ?", (key.encode(),)).fetchone()[0]

    def raw_put(self, key, data):
        with closing(sqlite3.connect(self.path)) as db, db:
            db.execute("UPDATE entries SET data = ? WHERE key = ?", (data, key.encode()))


class RedisRig(Rig):
    kind = "redis"
    haste = 0.3

    @cached_property
    def server(self):
        return self.stack.enter_context(servers.redis_server())  # its own: faults change its settings

    @cached_property
    def client(self):
        import redis

        client = redis.Redis.from_url(self.server.url)
        client.execute_command("ACL", "SETUSER", "admin", "on", "nopass", "~*", "&*", "+@all")
        self.stack.callback(client.close)
        admin = redis.Redis.from_url(self.server.url.replace("redis://", "redis://admin:x@"))
        self.stack.callback(admin.close)
        return admin

    @cached_property
    def network(self):
        return self.stack.enter_context(FaultProxy(self.server.url))

    @cached_property
    def script(self):
        return self.stack.enter_context(RedisScript(self.server.url).running())

    def make(self, through, timeout):
        from tiercache_redis import RedisBackend

        url = self.server.url if through == "server" else f"redis://{getattr(self, through).address}/0"
        return RedisBackend(url, prefix=f"{PREFIX}:", timeout=timeout)

    def raw_get(self, key):
        return self.client.get(f"{PREFIX}:{key}")

    def raw_put(self, key, data):
        self.client.set(f"{PREFIX}:{key}", data)


class WebRig(Rig):
    """A store that speaks HTTP, with `raw_names(start)`, `raw_body(name)` and `raw_put_object(name, data)`."""

    prefix = PREFIX

    @cached_property
    def network(self):
        return self.stack.enter_context(FaultProxy(self.url))

    @cached_property
    def script(self):
        return self.stack.enter_context(HttpScript(self.url).running())

    def address(self, through):
        """The store's URL, by the way asked for."""
        return {"server": lambda: self.url, "script": lambda: self.script.url}.get(
            through, lambda: f"http://{self.network.address}"
        )()

    def name(self, key):
        """The object in which the key's entry lies."""
        return f"{self.prefix}/{keys.object_name(key)}"

    def raw_get(self, key):
        return self.raw_body(self.name(key))

    def raw_put(self, key, data):
        self.raw_put_object(self.name(key), data)


class S3Rig(WebRig):
    kind = "s3"

    @cached_property
    def server(self):
        return self.stack.enter_context(servers.seaweedfs_server())

    @property
    def url(self):
        return self.server.endpoint_url

    @cached_property
    def bucket(self):
        bucket = f"faults-{uuid.uuid4().hex[:12]}"
        self.client.create_bucket(Bucket=bucket)
        return bucket

    @cached_property
    def client(self):
        import boto3

        client = boto3.client(
            "s3",
            endpoint_url=self.server.endpoint_url,
            aws_access_key_id=self.server.access_key,
            aws_secret_access_key=self.server.secret_key,
            region_name=self.server.region,
        )
        self.stack.callback(client.close)
        return client

    def make(self, through, timeout):
        from tiercache_s3 import S3Backend

        return S3Backend(
            self.bucket,
            prefix=self.prefix,
            endpoint_url=self.address(through),
            access_key_id=self.server.access_key,
            secret_access_key=self.server.secret_key,
            region=self.server.region,
            timeout=timeout,
        )

    def raw_names(self, start):
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=start)
        return [item["Key"] for page in pages for item in page.get("Contents", ())]

    def raw_body(self, name):
        return self.client.get_object(Bucket=self.bucket, Key=name)["Body"].read()

    def raw_put_object(self, name, data):
        self.client.put_object(Bucket=self.bucket, Key=name, Body=data)


class GCSRig(WebRig):
    kind = "gcs"

    @cached_property
    def server(self):
        return self.stack.enter_context(servers.fake_gcs_server())

    @property
    def url(self):
        return self.server.endpoint_url

    @cached_property
    def bucket(self):
        from google.auth.credentials import AnonymousCredentials
        from google.cloud import storage

        client = storage.Client(
            self.server.project, AnonymousCredentials(), client_options={"api_endpoint": self.server.endpoint_url}
        )
        self.stack.callback(client.close)
        return client.create_bucket(f"faults-{uuid.uuid4().hex[:12]}")

    def make(self, through, timeout):
        from tiercache_gcs import GCSBackend

        return GCSBackend(self.bucket.name, prefix=self.prefix, endpoint_url=self.address(through), timeout=timeout)

    def raw_names(self, start):
        return [blob.name for blob in self.bucket.list_blobs(prefix=start)]

    def raw_body(self, name):
        return self.bucket.blob(name).download_as_bytes(raw_download=True)

    def raw_put_object(self, name, data, encoding=None):
        blob = self.bucket.blob(name)
        blob.content_encoding = encoding
        blob.upload_from_string(data)


class AzureRig(WebRig):
    kind = "azure"
    keeps_alive = False  # Azurite ends them after 5 s

    @cached_property
    def server(self):
        return self.stack.enter_context(servers.azurite_server())

    @property
    def url(self):
        return self.server.account_url.rpartition("/")[0]

    @cached_property
    def container(self):
        from azure.storage.blob import ContainerClient

        name = f"faults-{uuid.uuid4().hex[:12]}"
        container = self.stack.enter_context(
            ContainerClient.from_connection_string(self.server.connection_string, name)
        )
        container.create_container()
        return container

    def make(self, through, timeout):
        from tiercache_azure import AzureBlobBackend

        connection = self.server.connection_string.replace(self.url, self.address(through))
        return AzureBlobBackend(
            self.container.container_name, prefix=self.prefix, connection_string=connection, timeout=timeout
        )

    def blob(self, name):
        from tiercache_azure.blobs import blob_name

        return self.container.get_blob_client(blob_name(name))

    def raw_names(self, start):
        return list(self.container.list_blob_names(name_starts_with=start))

    def raw_body(self, name):
        return self.blob(name).download_blob().readall()

    def raw_put_object(self, name, data):
        self.blob(name).upload_blob(data, overwrite=True)


class PackedS3Rig(Packed, S3Rig):
    kind = "packed-s3"
    speaks = "s3"


class PackedGCSRig(Packed, GCSRig):
    kind = "packed-gcs"
    speaks = "gcs"


class PackedAzureRig(Packed, AzureRig):
    kind = "packed-azure"
    speaks = "azure"


RIGS = {
    rig.kind: rig
    for rig in (MemoryRig, DiskRig, RedisRig, S3Rig, GCSRig, AzureRig, PackedS3Rig, PackedGCSRig, PackedAzureRig)
}
PACKED = tuple(kind for kind, rig in RIGS.items() if rig.packed)
WEB = ("s3", "gcs", "azure", *PACKED)
REMOTE = ("redis", *WEB)
WIRED = ("disk", *REMOTE)
"""Those that keep envelopes."""


@contextlib.contextmanager
def rigs():
    """All stores, each started when it is first asked for."""
    with ExitStack() as stack:
        yield {kind: rig(stack) for kind, rig in RIGS.items()}


def damaged(data, how):
    """What became of an envelope."""
    if how == "flipped":
        middle = len(data) // 2
        return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]
    return {"cut": data[: len(data) // 2], "empty": b"", "later": data[:4] + b"\x63" + data[5:]}[how]


def another(entry, **changes):
    """The envelope of an entry with other metadata."""
    return envelope.encode(entry.with_metadata(**changes))


def now():
    return time.time()
