"""The fake provider: a thread that accepts, a thread a connection, a journal and the scripts."""

from __future__ import annotations

import hashlib
import json
import socket
import threading
import time
from types import TracebackType
from typing import Any, BinaryIO, cast

from tests.provider import wire
from tests.provider.answers import Answer, error_for, text_for
from tests.provider.embeddings import embeddings, inputs_of, vector_for
from tests.provider.journal import Request
from tests.provider.scripts import Gate, Script, Scripts
from tests.provider.streams import frames

PATIENCE = 60.0  # seconds, after which a test that waits has hung


class FakeProvider:
    """See the package's docstring."""

    def __init__(self, *, dimensions: int = 16) -> None:
        self.dimensions = dimensions
        self.requests: list[Request] = []
        self._scripts = Scripts()
        self._arrived = threading.Condition()
        self._numbers = 0
        self._connections: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._closing = False
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.openai = f"{self.url}/v1"

    def __enter__(self) -> FakeProvider:
        self._start(self._accept)
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    # What tests ask.

    def calls(self, kind: str | None = None) -> int:
        """How many requests have arrived, of that kind."""
        with self._arrived:
            return sum(kind in (None, request.kind) for request in self.requests)

    @property
    def embedded(self) -> list[Any]:
        """The inputs of all embeddings requests so far."""
        with self._arrived:
            return [
                item for request in self.requests if request.kind == "embedding" for item in inputs_of(request.json)
            ]

    def wait_for(self, count: int, kind: str | None = None) -> list[Request]:
        """Wait until so many requests have arrived; the journal."""
        with self._arrived:
            enough = self._arrived.wait_for(
                lambda: sum(kind in (None, request.kind) for request in self.requests) >= count, PATIENCE
            )
            assert enough, f"of {count} requests {len(self.requests)} arrived"
            return list(self.requests)

    def text(self, request: Request | dict[str, Any]) -> str:
        """The text that belongs to a request or its body."""
        return text_for(request.json if isinstance(request, Request) else request)

    def vector(self, item: Any, *, model: str, dimensions: int | None = None) -> list[float]:
        """The vector that belongs to an input."""
        return vector_for(item, model=model, dimensions=dimensions or self.dimensions)

    # What tests tell.

    def next(self, *, times: int = 1, **script: Any) -> None:
        """The next request is answered so; see the package's docstring."""
        self._scripts.add(Script(**script), times)

    def script(self, *scripts: dict[str, Any]) -> None:
        """The next requests are answered so, one after the other."""
        for script in scripts:
            self._scripts.add(Script(**script))

    def always(self, **script: Any) -> None:
        """Every request without a script of its own is answered so."""
        self._scripts.always(Script(**script))

    def hold(self, after: int = 0, *, kind: str | None = None) -> Gate:
        """Hold the next answer after so many chunks of its body (0: before the status line)."""
        gate = Gate(after)
        self._scripts.add(Script(hold=gate, kind=kind))
        return gate

    def reset(self) -> None:
        """Forget the journal and the scripts; ids go on."""
        self._scripts.forget()
        with self._arrived:
            self.requests.clear()

    def close(self) -> None:
        """Open all gates, close all connections, and wait for the threads; again: nothing."""
        if self._closing:
            return
        self._closing = True
        self._scripts.forget()
        with socket.create_connection(("127.0.0.1", self.port)):  # wakes the thread that accepts
            pass
        for connection in list(self._connections):
            wire.hang_up(connection)
        for thread in list(self._threads):
            thread.join(PATIENCE)
        self._listener.close()

    # The server.

    def _start(self, target: Any, *args: Any) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True, name="fake-provider")
        self._threads = [other for other in self._threads if other.is_alive()]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            if self._closing:
                connection.close()
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._connections.add(connection)
            self._start(self._serve, connection)

    def _serve(self, connection: socket.socket) -> None:
        with connection, cast(BinaryIO, connection.makefile("rb")) as stream:
            try:
                while request := wire.read_request(stream):
                    if not self._answer(connection, stream, request):
                        break
            except OSError:  # the client is gone
                pass
            wire.hang_up(connection)
        self._connections.discard(connection)

    def _answer(self, connection: socket.socket, stream: BinaryIO, request: Request) -> bool:
        """Write the answer; can the connection be used again?"""
        with self._arrived:
            self._numbers += 1
            request.number = self._numbers
            script = self._scripts.take(request.kind)
            self.requests.append(request)
            self._arrived.notify_all()
        try:
            if request.headers.get("upgrade", "").lower() == "websocket":
                return _echo(connection, stream, request)
            return _Writer(connection, request, script).write(*self._reply(request, script))
        except OSError:
            request.broken = True
            raise
        finally:
            request.done.set()

    def _reply(self, request: Request, script: Script) -> tuple[int, dict[str, str], list[bytes], bool]:
        """Status, headers, the parts of the body, and whether they are a stream."""
        status = 307 if script.redirect else script.status
        headers = _usual_headers(request)
        streamed = request.stream and status == 200 and script.body is None
        if streamed:
            parts = frames(self._whole(request, script))
        else:
            body = self._body(request, script, status)
            parts = [body if isinstance(body, bytes) else json.dumps(body, ensure_ascii=False).encode()]
            if script.malformed:
                parts = [parts[0][: len(parts[0]) // 2]]
        headers["content-type"] = "text/event-stream; charset=utf-8" if streamed else "application/json"
        if script.retry_after is not None:
            headers["retry-after"] = f"{script.retry_after:g}"
        if script.redirect:
            headers["location"] = script.redirect
        if script.encoding:
            headers["content-encoding"] = script.encoding
        return status, headers | {name.lower(): value for name, value in script.headers.items()}, parts, streamed

    def _body(self, request: Request, script: Script, status: int) -> Any:
        if script.body is not None or script.redirect:
            return b"" if script.body is None else script.body
        if status != 200:
            return error_for(request.kind, status, request.number)
        if request.kind == "embedding":
            if script.error:
                return error_for(request.kind, 500, request.number)
            model = request.json.get("model") or request.deployment or "none"
            return embeddings(request.json, model=model, dimensions=self.dimensions, empty=script.empty)
        return _echo_of(request) if request.kind == "other" else self._whole(request, script).document()

    @staticmethod
    def _whole(request: Request, script: Script) -> Answer:
        model = request.json.get("model") or request.deployment or "none"
        return Answer(request.kind, request.json, model, request.number, script)


class _Writer:
    """Writes one answer, chunk by chunk, with the script's gates, pauses and breaks."""

    def __init__(self, connection: socket.socket, request: Request, script: Script) -> None:
        self.connection, self.request, self.script = connection, request, script

    def write(self, status: int, headers: dict[str, str], parts: list[bytes], streamed: bool) -> bool:
        script = self.script
        self._gate(0)
        if script.drop:
            return False
        if self.request.method == "HEAD":
            parts = []
        parts = wire.cut_up(wire.encoded(parts, script.encoding if parts else None), script.chunks)
        length = None if streamed or script.chunked else sum(map(len, parts))
        headers |= {"transfer-encoding": "chunked"} if length is None else {"content-length": str(length)}
        self.connection.sendall(wire.head(status, headers))
        for part in parts:
            if self.request.chunks_sent == script.cut:
                return False
            time.sleep(script.delay)
            self.connection.sendall(wire.chunk(part) if length is None else part)
            self.request.chunks_sent += 1
            self._gate(self.request.chunks_sent)
        if script.cut is not None:
            return False
        if length is None:
            self.connection.sendall(wire.LAST_CHUNK)
        return self.request.headers.get("connection", "").lower() != "close"

    def _gate(self, passed: int) -> None:
        if self.script.hold is not None and self.script.hold.after == passed:
            self.script.hold.pass_through()


def _usual_headers(request: Request) -> dict[str, str]:
    name = "request-id" if request.kind == "message" else "x-request-id"
    return {
        "date": "Thu, 01 Jan 2026 00:00:00 GMT",
        "server": "fake",
        "set-cookie": f"__cf_bm=cookie-{request.number}; path=/; HttpOnly",
        name: f"req_{request.number:08d}",
        "openai-organization": "org-fake",
        "openai-version": "2020-10-01",
        "openai-processing-ms": "12",
        "x-ratelimit-limit-requests": "10000",
        "x-ratelimit-remaining-requests": str(10000 - request.number),
        "alt-svc": 'h3=":443"; ma=86400',
        "cache-control": "no-cache",
    }


def _echo_of(request: Request) -> dict[str, Any]:
    if request.method == "GET" and request.path.endswith("/models"):
        return {"object": "list", "data": [{"id": "fake-model", "object": "model", "created": 0, "owned_by": "fake"}]}
    sha256 = hashlib.sha256(request.body).hexdigest()
    return {
        "id": f"file-{request.number:08d}",
        "object": "file",
        "bytes": len(request.body),
        "created_at": 0,
        "filename": "fake",
        "purpose": "assistants",
        "status": "processed",
        "text": sha256,
        "method": request.method,
        "path": request.path,
        "query": request.query,
        "content_type": request.headers.get("content-type"),
        "sha256": sha256,
    }


def _echo(connection: socket.socket, stream: BinaryIO, request: Request) -> bool:
    connection.sendall(wire.websocket_head(request))
    while data := stream.read1(65536):  # type: ignore[attr-defined]
        connection.sendall(data)
    return False
