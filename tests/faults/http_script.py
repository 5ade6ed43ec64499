"""A web proxy that answers in a store's place when a fault says so, and passes everything else on."""

from __future__ import annotations

import contextlib
import http.client
import http.server
import json
import socket
import struct
import threading
from urllib.parse import urlsplit

from tests.peers import Asked

LOSE = object()
"""In place of an answer: the store does what it was asked, and whoever asked sees a reset."""

CANARY = "canary-of-the-server"
"""Stands in the text of every scripted answer: no log line of ours may repeat it."""


def refusal(kind, status, code, headers=None):
    """The answer with which a store of this kind refuses a request."""
    headers = dict(headers or {})
    if kind == "gcs":
        error = {"code": status, "message": CANARY, "errors": [{"reason": code, "message": CANARY}]}
        return status, json.dumps({"error": error}).encode(), {"Content-Type": "application/json"} | headers
    body = f"<?xml version='1.0' encoding='UTF-8'?><Error><Code>{code}</Code><Message>{CANARY}</Message></Error>"
    named = {"x-ms-error-code": code, "x-ms-request-id": "1"} if kind == "azure" else {"x-amz-request-id": "1"}
    return status, body.encode(), {"Content-Type": "application/xml"} | named | headers


class HttpScript:
    """Stands between a client and a web server. `answer`, when it is set, is asked about each request: it returns what
    to answer (status, body, headers), `LOSE`, or None to pass the request on."""

    def __init__(self, target):
        self.target = (urlsplit(target).hostname, urlsplit(target).port)
        self.answer = None

    @contextlib.contextmanager
    def running(self):
        script = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def handle_any(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                asked = Asked(self.command, self.path, self.headers, body)
                answer = script.answer(asked) if script.answer is not None else None
                if answer is None:
                    self.reply(*script.ask(asked))
                elif answer is LOSE:
                    script.ask(asked)
                    self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    self.close_connection = True
                else:
                    status, sent, headers = answer
                    self.reply(status, [*headers.items(), ("Content-Length", str(len(sent)))], sent)

            def reply(self, status, headers, body):
                with contextlib.suppress(OSError):  # who asked may have gone
                    self.send_response_only(status)
                    for name, text in headers:
                        self.send_header(name, text)
                    self.end_headers()
                    self.wfile.write(body if self.command != "HEAD" else b"")

            do_GET = do_HEAD = do_PUT = do_POST = do_PATCH = do_DELETE = handle_any

            def log_message(self, *_):
                pass

            def handle(self):
                with contextlib.suppress(OSError):
                    super().handle()

        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
            server.daemon_threads = True
            threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
            self.url = f"http://127.0.0.1:{server.server_port}"
            yield self
            server.shutdown()

    def ask(self, asked):
        """Pass a request on, as it is."""
        connection = http.client.HTTPConnection(*self.target, timeout=60)
        with contextlib.closing(connection):
            connection.putrequest(asked.method, asked.path, skip_host=True, skip_accept_encoding=True)
            for name, text in asked.headers.items():
                if name.lower() not in ("expect", "connection"):
                    connection.putheader(name, text)
            connection.endheaders(asked.body)
            answer = connection.getresponse()
            body = answer.read()
            dropped = ("transfer-encoding", "connection", "keep-alive")
            headers = [(name, text) for name, text in answer.getheaders() if name.lower() not in dropped]
            if not any(name.lower() == "content-length" for name, _ in headers):
                headers.append(("Content-Length", str(len(body))))
            return answer.status, headers, body
