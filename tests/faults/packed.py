"""A column of the fault matrix for packed segments: the store of another rig, with segments in it."""

from __future__ import annotations

import uuid

from tests.packed.raw import newest, overwriting


class Packed:
    """Segments in the store of the rig that comes after it. What is put is stored when `put` returns, so that it can
    meet a fault.

    Each cell has a prefix of its own: a new backend reads the end of every segment that is there.
    """

    packed = True
    keeps_alive = False

    def renew(self):
        self.prefix = f"packed/{uuid.uuid4().hex[:12]}"
        self.bodies = {}

    def make(self, through, timeout):
        from tiercache.packed import PackedBackend

        return PackedBackend(super().make(through, timeout), durable=True)

    def segments(self):
        """Names and bytes of the cell's segments, without the backend's catalogue."""
        for name in self.raw_names(f"{self.prefix}/_segments/"):
            if name not in self.bodies:  # segments never change
                self.bodies[name] = self.raw_body(name)
            yield name, self.bodies[name]

    def newest(self, key):
        return newest(f"{self.prefix}/", self.segments(), key)

    def name(self, key):
        return self.newest(key).name

    def raw_get(self, key):
        return self.newest(key).data

    def raw_put(self, key, data):
        """Another process's segment holds a newer record of the key: these bytes."""
        self.raw_put_object(*overwriting(f"{self.prefix}/", self.newest(key), key, data))
        for backend in self.used:
            backend.refresh()
