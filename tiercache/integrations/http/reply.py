"""A provider's reply, read once: what of it is handed on, and what is stored."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from . import headers

Stored = dict[str, Any]
"""`{"status": int, "headers": [[name, value]…], "body": bytes, "chunks": [lengths] | None}`; the body is decoded."""


class Reply:
    """A reply whose body was read, as far as it may be kept.

    Attributes:
        response: as it came; its stream is used up.
        chunks: the body as it was transferred.
        rest: what follows the chunks, where the body is larger than may be kept; None: it is whole.
    """

    __slots__ = ("chunks", "response", "rest")

    def __init__(self, response: Any, chunks: list[bytes], rest: Any = None) -> None:
        self.response = response
        self.chunks = chunks
        self.rest = rest

    def body(self, module: Any) -> bytes:
        """Return the decoded body. Raises the module's DecodingError."""
        stream = module.ByteStream(b"".join(self.chunks))
        decoded: bytes = module.Response(200, headers=self.response.headers, stream=stream).read()
        return decoded


def response_of(module: Any, stored: Stored, status: Iterable[tuple[str, str]]) -> Any:
    """Return the response of a module that a stored reply stands for."""
    body = stored["body"]
    pairs = [*((name, value) for name, value in stored["headers"]), ("content-length", str(len(body))), *status]
    return module.Response(
        stored["status"],
        headers=pairs,
        stream=module.ByteStream(body),
        extensions={"http_version": b"HTTP/1.1"},
    )


def handed_on(module: Any, response: Any, stream: Any, status: Iterable[tuple[str, str]]) -> Any:
    """Return a provider's response with another stream, and what the cache did in its headers."""
    return module.Response(
        response.status_code,
        headers=[*response.headers.raw, *((name.encode(), value.encode()) for name, value in status)],
        stream=stream,
        extensions=response.extensions,
    )


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
