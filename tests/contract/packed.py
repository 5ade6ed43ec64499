"""What the contract does to packed segments beside the backend, in whichever store: `raw_names`, `raw_body` and
`raw_put_object` are those of the store beneath."""

from __future__ import annotations

import copy
import time
from typing import ClassVar

import pytest

from tests.packed.raw import newest, overwriting
from tiercache.backend import Backend
from tiercache.packed import PackedBackend
from tiercache.packed.naming import FOLDER


class PackedHooks:
    """Each entry is stored before `put` returns, so that what is read comes from the store.

    A fixture `inner` yields the object store's backend; its clock is the test's.
    """

    options: ClassVar = {"durable": True, "refresh": 3600}
    many = 1100  # more than a page of `clear`
    seconds_later = 0.0

    @pytest.fixture
    def backend(self, inner):
        backend = PackedBackend(inner, **self.options)
        yield backend
        backend.close()

    def now(self):
        return time.time() + self.seconds_later

    def advance(self, seconds):
        self.seconds_later += seconds

    def raw_get(self, backend, key):
        """The bytes of the key's newest record, found in the segments without the backend's catalogue."""
        found = self.newest(backend, key)
        return None if found is None or not found.data else found.data

    def raw_put(self, backend, key, data):
        """Another process's segment holds a newer record of the key: these bytes."""
        name, body = overwriting(backend.inner.prefix, self.newest(backend, key), key, data)
        self.raw_put_object(backend.inner, name, body)
        backend.refresh()

    def newest(self, backend, key):
        """The key's newest record in the store."""
        backend.flush()
        return newest(backend.inner.prefix, self.segments(backend), key)

    def segments(self, backend):
        """Names and bytes of the store's segments."""
        names = self.raw_names(backend.inner, backend.inner.prefix + FOLDER)
        return [(name, self.raw_body(backend.inner, name)) for name in names]


class TwoProcessesHooks(PackedHooks):
    """One backend writes; another, which looks for new segments first, reads and deletes."""

    conditions_are_atomic = False  # two processes may each find a key absent: a segment's name has no condition on it

    @pytest.fixture
    def backend(self, inner):
        backend = TwoProcesses(*(PackedBackend(each, **self.options) for each in (inner, copy.copy(inner))))
        yield backend
        backend.close()


class TwoProcesses(Backend):
    keeps_deadlines = True

    def __init__(self, writer, reader):
        self.writer, self.reader, self.inner = writer, reader, reader.inner

    def refreshed(self, backend, deadline=None):
        backend.refresh(deadline=deadline)
        return backend

    def flush(self):
        self.writer.flush()
        self.reader.flush()

    def refresh(self):
        self.reader.refresh()

    def put(self, key, entry, *, deadline=None, **condition):
        return self.refreshed(self.writer, deadline).put(key, entry, deadline=deadline, **condition)

    def put_many(self, entries, *, deadline=None):
        self.refreshed(self.writer, deadline).put_many(entries, deadline=deadline)

    def get(self, key, *, deadline=None):
        return self.refreshed(self.reader, deadline).get(key, deadline=deadline)

    def get_many(self, keys, *, deadline=None):
        return self.refreshed(self.reader, deadline).get_many(keys, deadline=deadline)

    def head(self, key, *, deadline=None):
        return self.refreshed(self.reader, deadline).head(key, deadline=deadline)

    def delete(self, key, *, deadline=None):
        return self.refreshed(self.reader, deadline).delete(key, deadline=deadline)

    def delete_many(self, keys, *, deadline=None):
        return self.refreshed(self.reader, deadline).delete_many(keys, deadline=deadline)

    def clear(self, prefix="", *, deadline=None):
        return self.refreshed(self.reader, deadline).clear(prefix, deadline=deadline)

    def scan(self, prefix="", *, full=False, deadline=None):
        return self.refreshed(self.reader, deadline).scan(prefix, full=full, deadline=deadline)

    def ping(self, *, deadline=None):
        self.reader.ping(deadline=deadline)

    def close(self):
        self.writer.close()
        self.reader.close()
        super().close()
