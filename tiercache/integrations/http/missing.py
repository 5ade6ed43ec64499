"""`Missing`: asking the provider for some inputs of an embeddings request, or for all of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from time import perf_counter
from typing import TYPE_CHECKING, Any, NoReturn

import msgspec

from ...llm.collecting import Reply
from ...llm.costs import attributes_of
from . import headers
from .endpoints import Call
from .failures import Failed, Refused, Unshared
from .reply import Reply as Read
from .reply import stored_form

if TYPE_CHECKING:
    from .exchange import Exchange, HTTPWorld

_LARGEST = 2**28
"""Bytes of a reply that is taken apart: 2,048 vectors of 3,072 numbers in JSON are half of it."""
_OF_THE_BODY = (b"content-length", b"transfer-encoding")
_decode = msgspec.json.Decoder().decode


class Missing:
    """Calls of the provider for one request.

    Attributes:
        response: the provider's last reply.
    """

    def __init__(self, exchange: Exchange, world: HTTPWorld, request: Any, call: Call) -> None:
        self._exchange = exchange
        self._world = world
        self._request = request
        self._call = call
        self._stream: Any = None
        self._error: Exception | None = None
        self._live = self._left = self._answers = False
        self.response: Any = None

    @property
    def is_over(self) -> bool:
        """Whether there is a reply, or a failure, that answers the caller's request."""
        return self._answers

    async def __call__(self, fields: Mapping[str, Any] | None) -> Reply:
        """Ask for what the fields say; None: send the caller's own request.

        Raises:
            Refused: the reply is no 200. It answers the request, whichever inputs were asked for.
            Failed: the provider was not reached.
            Unshared: the reply can only be handed through, or it is of no use.
        """
        whole = fields is None
        request = self._request if fields is None else rebuilt(self._exchange.http, self._request, fields)
        started = perf_counter()
        try:
            response = await self._world.send(request)
            if not _is_one_document(response):
                await self._hand_through(response, response.stream, whole)
            read = await self._world.read(response, _LARGEST)
        except Unshared:
            raise
        except Exception as error:  # noqa: BLE001 - it is raised to the caller as it is
            self._error, self._answers = error, True
            raise Failed.of(error, self._world.inner, request) from None
        if read.rest is not None:
            await self._hand_through(response, self._world.stream(read), whole)
        self.response, self._stream = response, self._world.stream(read)
        self._answers = whole or response.status_code != 200
        return self._judged(read, perf_counter() - started)

    async def leave(self) -> None:
        """Nobody waits for the reply any more."""
        self._left = True
        if self._live:
            await self._world.close(self.response)

    def outcome(self) -> Any:
        """Return the provider's own reply; raise its failure."""
        if self._error is not None:
            raise self._error
        self.response.stream = self._stream
        return self.response

    async def _hand_through(self, response: Any, stream: Any, whole: bool) -> NoReturn:
        self._exchange.llm.counters.of[self._call.kind].refuse("too_large")
        if self._left or not (whole or response.status_code != 200):
            response.stream = stream
            await self._world.close(response)
        else:
            self.response, self._stream, self._live, self._answers = response, stream, True, True
        raise Unshared

    def _judged(self, read: Read, seconds: float) -> Reply:
        counters = self._exchange.llm.counters.of[self._call.kind]
        try:
            body = read.body(self._exchange.http, _LARGEST)
        except self._exchange.http.DecodingError:
            body = None
        if body is None:
            counters.refuse("malformed")
            raise Unshared
        if read.response.status_code != 200:
            counters.refuse("error")
            raise Refused(stored_form(read.response, body, good=False))
        answer = _parsed(body)
        attributes = {}
        if isinstance(answer, Mapping):
            prices = self._exchange.llm.rules.prices
            attributes = attributes_of(self._call.model, answer, seconds=seconds, url=self._call.url, prices=prices)
        told = json.dumps(headers.replayed(read.response.headers))
        return Reply(answer, attributes, {"headers": told})


def rebuilt(module: Any, request: Any, fields: Mapping[str, Any]) -> Any:
    """Return a request with another body; its length is said anew, all other headers stay."""
    kept = [(name, value) for name, value in request.headers.raw if name.lower() not in _OF_THE_BODY]
    text = json.dumps(fields, ensure_ascii=False, separators=(",", ":"))
    try:
        body = text.encode()
    except UnicodeEncodeError:  # a lone surrogate, which JSON has only as an escape
        body = json.dumps(fields, separators=(",", ":")).encode()
    return module.Request(request.method, request.url, headers=kept, content=body, extensions=request.extensions)


def _is_one_document(response: Any) -> bool:
    """Whether the reply is one document of a size to take apart, or an error."""
    size = response.headers.get("content-length", "")
    if size.isascii() and size.isdigit() and (len(size) > 15 or int(size) > _LARGEST):
        return False
    return response.status_code != 200 or "json" in response.headers.get("content-type", "")


def _parsed(body: bytes) -> Any:
    try:
        return _decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return None
