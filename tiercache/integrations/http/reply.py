"""A provider's reply, read once: what of it is handed on, and what is stored."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from . import headers

Stored = dict[str, Any]
"""`{"status": int, "headers": [[name, value]…], "body": bytes, "chunks": [lengths] | None}`; the body is decoded."""

_OF_THE_TRANSFER = (b"content-encoding", b"content-length", b"transfer-encoding")
_ENCODED = ("gzip", "x-gzip", "deflate", "br", "zstd")


class Reply:
    """A reply whose body was read, as far as it may be kept.

    Attributes:
        response: as it came.
        stream: its stream, as it came; used up, but for the rest.
        chunks: the body as it was transferred.
        rest: what follows the chunks, where the body is larger than may be kept; None: it is whole.
    """

    __slots__ = ("chunks", "response", "rest", "stream")

    def __init__(self, response: Any, chunks: list[bytes], rest: Any = None) -> None:
        self.response = response
        self.stream = response.stream
        self.chunks = chunks
        self.rest = rest

    def body(self, module: Any, limit: int | None = None) -> bytes | None:
        """Return the decoded body; None: it is larger than the limit, or its encoding is none of the module's.

        Raises:
            DecodingError: of the module; the body is not what its headers say.
        """
        whole = b"".join(self.chunks)
        self.chunks = [whole]  # so that it is held once
        encoding = self.response.headers.get("content-encoding", "").strip().lower()
        if encoding in ("", "identity"):
            return whole
        decoded = self._decoded(module, limit)
        return None if decoded == whole and encoding in _ENCODED else decoded

    def _decoded(self, module: Any, limit: int | None) -> bytes | None:
        parts, size = [], 0
        stream = module.ByteStream(self.chunks[0])
        for part in module.Response(200, headers=self.response.headers, stream=stream).iter_bytes():
            parts.append(part)
            size += len(part)
            if limit is not None and size > limit:
                return None
        return b"".join(parts)


def response_of(module: Any, stored: Stored, status: Iterable[tuple[str, str]]) -> Any:
    """Return the response of a module that a stored reply stands for."""
    body = stored["body"]
    return module.Response(
        stored["status"],
        headers=headers.as_bytes([*stored["headers"], ("content-length", str(len(body))), *status]),
        stream=module.ByteStream(body),
        extensions={"http_version": b"HTTP/1.1"},
    )


def unread(response: Any, module: Any) -> Any:
    """Return a response whose stream can be read, where the inner transport (one that logs, say) has read it already.

    Its headers tell nothing of a transfer that is over: what is there is decoded.
    """
    if not response.is_stream_consumed or isinstance(response.stream, module.ByteStream):
        return response
    try:
        body = response.content
    except module.ResponseNotRead:
        return response
    kept = [pair for pair in response.headers.raw if pair[0].lower() not in _OF_THE_TRANSFER]
    return module.Response(response.status_code, headers=kept, content=body, extensions=response.extensions)


def handed_on(response: Any, stream: Any, status: Iterable[tuple[str, str]]) -> Any:
    """Return a provider's response with another stream, and what the cache did in its headers."""
    response.stream = stream
    for name, value in status:
        response.headers[name] = value
    return response


def stored_form(response: Any, body: bytes, *, good: bool) -> Stored:
    """Return a reply as it is stored, or handed to those who wait for the same one."""
    kept = headers.replayed(response.headers) if good else headers.shared(response.headers)
    return {"status": response.status_code, "headers": kept, "body": body, "chunks": None}


def is_reply(value: Any) -> bool:
    """Whether what the cache holds is a reply as it is stored."""
    return (
        isinstance(value, Mapping)
        and isinstance(value.get("status"), int)
        and isinstance(value.get("headers"), list)
        and isinstance(value.get("body"), bytes)
    )
