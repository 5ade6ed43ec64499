"""Envelopes made by hand, beside the code under test: any header, any lengths, a tag that fits or not."""

from __future__ import annotations

import struct
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import msgspec
from blake3 import blake3

KEY = "ns:key"


def header(**fields: object) -> bytes:
    """A header by its names on the wire: k, c, t and n are always there."""
    return msgspec.msgpack.encode({"k": KEY, "c": 1.7e9, "t": "bytes", "n": 0, **fields})


def envelope(
    header: bytes,
    stored: bytes = b"",
    *,
    magic: bytes = b"TIER",
    version: int = 1,
    flags: int = 0,
    reserved: int = 0,
    header_size: int | None = None,
    stored_size: int | None = None,
) -> bytes:
    """The bytes of the documented format, with a tag that fits."""
    sizes = (len(header) if header_size is None else header_size, len(stored) if stored_size is None else stored_size)
    return tagged(struct.pack(">4sBBHIQ", magic, version, flags, reserved, *sizes) + header + stored)


def tagged(body: bytes) -> bytes:
    return body + blake3(body).digest()


def parts(data: bytes) -> tuple[bytes, bytes]:
    """The header and the stored payload of an envelope."""
    header_size = struct.unpack_from(">I", data, 8)[0]
    return data[20 : 20 + header_size], data[20 + header_size : -32]


@dataclass
class Peak:
    """Bytes that Python and numpy held at most, beyond what they held before."""

    bytes: int = 0


@contextmanager
def peak() -> Iterator[Peak]:
    measured = Peak()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        yield measured
        measured.bytes = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
