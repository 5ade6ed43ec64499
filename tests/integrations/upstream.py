"""A counting provider on loopback: chat, streams and embeddings in OpenAI's form; it tells what it was asked."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Upstream:
    """What it was asked, in order. Each answer says how many there were before, so that no two are equal."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.requests: list[dict[str, Any]] = []
        self.finish_reason = "stop"
        self._lock = threading.Lock()

    @property
    def calls(self) -> int:
        return len(self.requests)

    def answer(self, path: str, request: dict[str, Any]) -> tuple[str, bytes]:
        """Return content type and body."""
        with self._lock:
            self.requests.append(request)
            number = len(self.requests)
        if path.endswith("/embeddings"):
            return "application/json", json.dumps(_embeddings(request)).encode()
        if request.get("stream"):
            return "text/event-stream", b"".join(_events(request, number))
        return "application/json", json.dumps(self._chat(request, number)).encode()

    def _chat(self, request: dict[str, Any], number: int) -> dict[str, Any]:
        message = {"role": "assistant", "content": f"answer {number}"}
        return {
            "id": f"chatcmpl-{number}",
            "object": "chat.completion",
            "created": 1_750_000_000,
            "model": request["model"],
            "choices": [{"index": 0, "message": message, "finish_reason": self.finish_reason}],
            "usage": {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7},
        }


@contextmanager
def counting_upstream() -> Iterator[Upstream]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["content-length"])))
            kind, body = upstream.answer(self.path, request)
            self.send_response(200)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    upstream = Upstream(f"http://127.0.0.1:{server.server_port}/v1")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield upstream
    finally:
        server.shutdown()
        server.server_close()


def vector(text: str) -> list[float]:
    return [float(len(text)), 0.1, -1.5e-7]


def _embeddings(request: dict[str, Any]) -> dict[str, Any]:
    texts = request["input"] if isinstance(request["input"], list) else [request["input"]]
    data = [{"object": "embedding", "index": place, "embedding": vector(text)} for place, text in enumerate(texts)]
    usage = {"prompt_tokens": 7 * len(texts), "total_tokens": 7 * len(texts)}
    return {"object": "list", "model": request["model"], "data": data, "usage": usage}


def _events(request: dict[str, Any], number: int) -> Iterator[bytes]:
    for delta, reason in (
        ({"role": "assistant", "content": "answer "}, None),
        ({"content": str(number)}, None),
        ({}, "stop"),
    ):
        chunk = {
            "id": f"chatcmpl-{number}",
            "object": "chat.completion.chunk",
            "created": 1_750_000_000,
            "model": request["model"],
            "choices": [{"index": 0, "delta": delta, "finish_reason": reason}],
        }
        yield b"data: " + json.dumps(chunk).encode() + b"\n\n"
    yield b"data: [DONE]\n\n"
