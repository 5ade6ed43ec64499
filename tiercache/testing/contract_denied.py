"""Contract cases of object stores: a request that the credentials do not allow, as the vendor answers it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from ..entry import Entry, Metadata
from ..errors import AccessDenied, PartialFailure
from ..objectstore import ObjectStoreBackend
from .contract_hooks import needs
from .contract_object_hooks import Answer, ObjectStoreHooks

DENIED: dict[str, Callable[..., Any]] = {
    "get": lambda backend, key, entry: backend.get(key),
    "head": lambda backend, key, entry: backend.head(key),
    "put": lambda backend, key, entry: backend.put(key, entry),
    "delete": lambda backend, key, entry: backend.delete(key),
    "scan": lambda backend, key, entry: list(backend.scan()),
    "clear": lambda backend, key, entry: backend.clear(),
    "ping": lambda backend, key, entry: backend.ping(),
}


class DeniedCases(ObjectStoreHooks):
    """An error says which permission is missing; asking again would not help, and is billed."""

    @pytest.fixture
    def denied(self) -> Iterator[ObjectStoreBackend]:
        """Yield a backend whose every request the store denies."""
        assert self.denied_answer is not None
        with _answering(self.denied_answer) as server:
            threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
            try:
                with closing(self.backend_at(f"http://127.0.0.1:{server.server_port}")) as backend:
                    yield backend
            finally:
                server.shutdown()

    @needs("denied_answer")
    @pytest.mark.parametrize("operation", DENIED.values(), ids=DENIED)
    def test_what_is_denied_is_asked_once_and_says_so(
        self, denied: ObjectStoreBackend, operation: Callable[..., Any]
    ) -> None:
        key = self.key("confidential")
        with self.sent(denied) as requests, pytest.raises(AccessDenied) as caught:
            operation(denied, key, Entry(b"payload", Metadata(key=key, created_at=time.time(), size=7)))
        assert len(requests) == 1
        assert "confidential" not in str(caught.value)

    @needs("denied_answer")
    @pytest.mark.parametrize("operation", ["get", "head"])
    def test_a_denied_read_names_the_permissions_that_a_miss_needs(
        self, denied: ObjectStoreBackend, operation: str
    ) -> None:
        with pytest.raises(AccessDenied) as caught:
            getattr(denied, operation)(self.key("missing"))
        assert self.read_permission in str(caught.value)
        assert self.list_permission in str(caught.value)

    @needs("denied_answer")
    def test_a_denied_batch_names_its_keys_and_asks_once_for_each(self, denied: ObjectStoreBackend) -> None:
        keys = self.keys(3)
        with self.sent(denied) as requests, pytest.raises(PartialFailure) as caught:
            denied.get_many(keys)
        assert {key: type(error) for key, error in caught.value.failed.items()} == dict.fromkeys(keys, AccessDenied)
        assert len(requests) == 3


def _answering(answer: Answer) -> ThreadingHTTPServer:
    """Return a server that gives one answer to everything."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_one_request(self) -> None:
            self.raw_requestline = self.rfile.readline(65537)
            if not self.raw_requestline or not self.parse_request():
                self.close_connection = True
                return
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(answer.status)
            for name, text in answer.headers.items():
                self.send_header(name, text)
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(answer.body)

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    return ThreadingHTTPServer(("127.0.0.1", 0), Handler)
