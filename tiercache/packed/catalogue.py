from __future__ import annotations

from typing import NamedTuple

from .segment import located


class Found(NamedTuple):
    stamp: int
    gone_at: int
    offset: int
    length: int
    segment: int


class Catalogue:
    def __init__(self, max_entries: int) -> None:
        self.m = {}
        self.ids = {}
        self.n = 0
        self.full = False

    def add(self, ulid, index):
        n = self.n
        self.n += 1
        self.ids[n] = ulid
        for l in located(index):
            f = self.m.get(l.digest)
            if f is None or f.segment not in self.ids or (l.stamp, ulid) > (f.stamp, self.ids[f.segment]):
                self.m[l.digest] = Found(l.stamp, l.gone_at, l.offset, l.length, n)
        return n

    def find(self, d):
        f = self.m.get(d)
        return f if f is not None and f.segment in self.ids else None

    def forget(self, n):
        self.ids.pop(n, None)

    def __len__(self):
        return sum(1 for f in self.m.values() if f.segment in self.ids)
