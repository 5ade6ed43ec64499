"""HTTP/1.1 on a socket, raw enough to say where a chunk ends and where a connection breaks."""

from __future__ import annotations

import base64
import hashlib
import http.client
import socket
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import BinaryIO

import zstandard

from tests.provider.journal import Request


def read_request(stream: BinaryIO) -> Request | None:
    """The next request of a connection; None where the client has closed it."""
    line = stream.readline(65536)
    if not line.strip():
        return None
    method, target, _ = line.decode("latin-1").split(" ", 2)
    headers = {name.lower(): value for name, value in http.client.parse_headers(stream).items()}
    if headers.get("transfer-encoding", "").lower() == "chunked":
        body = b"".join(_chunks(stream))
    else:
        body = stream.read(int(headers.get("content-length", 0)))
    return Request(method, target, headers, body)


def _chunks(stream: BinaryIO) -> Iterator[bytes]:
    while size := int(stream.readline().split(b";")[0], 16):
        yield stream.read(size)
        stream.readline()
    while stream.readline().strip():
        pass


def head(status: int, headers: Mapping[str, str]) -> bytes:
    reason = http.client.responses.get(status, "Unknown")
    lines = [f"HTTP/1.1 {status} {reason}", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def chunk(data: bytes) -> bytes:
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


LAST_CHUNK = b"0\r\n\r\n"


def cut_up(parts: Sequence[bytes], lengths: int | Sequence[int] | None) -> list[bytes]:
    """The parts with other boundaries: of one length, or of those lengths and the rest."""
    if lengths is None:
        return [part for part in parts if part]
    whole = b"".join(parts)
    if isinstance(lengths, int):
        return [whole[start : start + lengths] for start in range(0, len(whole), lengths)]
    found, start = [], 0
    for length in [*lengths, len(whole)]:
        found.append(whole[start : start + length])
        start += length
    return [part for part in found if part]


def encoded(parts: Sequence[bytes], encoding: str | None) -> list[bytes]:
    """The parts compressed as one stream that is flushed after each of them."""
    if encoding is None:
        return list(parts)
    if encoding == "zstd":
        compressor = zstandard.ZstdCompressor().compressobj()
        flush = zstandard.COMPRESSOBJ_FLUSH_BLOCK
        done = [compressor.compress(part) + compressor.flush(flush) for part in parts]
        return [*done, compressor.flush(zstandard.COMPRESSOBJ_FLUSH_FINISH)]
    deflater = zlib.compressobj(wbits={"gzip": 31, "deflate": 15}[encoding])
    done = [deflater.compress(part) + deflater.flush(zlib.Z_SYNC_FLUSH) for part in parts]
    return [*done, deflater.flush()]


def websocket_head(request: Request) -> bytes:
    """The answer that switches to a websocket."""
    key = request.headers.get("sec-websocket-key", "") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
    accept = base64.b64encode(hashlib.sha1(key.encode(), usedforsecurity=False).digest()).decode()
    return head(101, {"upgrade": "websocket", "connection": "Upgrade", "sec-websocket-accept": accept})


def hang_up(connection: socket.socket) -> None:
    """End both directions: the other side sees a connection closed."""
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:  # it has done so itself
        return
