"""Peers that fail: silent ones, those that answer a byte at a time, web servers that are no store; and certificates.

Their fixtures are known to all tests (`tests/conftest.py`).
"""

from __future__ import annotations

import contextlib
import datetime
import http.client
import http.server
import json
import socket
import ssl
import threading
import time
from typing import NamedTuple

import pytest

from tiercache.errors import BackendError, ConfigurationError


@pytest.fixture
def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


@pytest.fixture
def serve():
    """A function that serves each connection with a function in a thread, and returns the port."""
    stop = threading.Event()
    with contextlib.ExitStack() as stack:
        stack.callback(stop.set)

        def serve(talk):
            listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))

            def accept():
                with contextlib.suppress(OSError):
                    while True:
                        peer = listener.accept()[0]
                        threading.Thread(target=talk_to, args=(peer,), daemon=True).start()

            def talk_to(peer):
                with peer, contextlib.suppress(OSError):
                    talk(peer, stop)

            threading.Thread(target=accept, daemon=True).start()
            return listener.getsockname()[1]

        yield serve


def silence(peer, stop):
    """Say nothing."""
    stop.wait(60)


def drip(peer, stop):
    """Answer a byte every 20 ms: never late for a single wait, and never done."""
    peer.recv(65536)
    for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\nETag: x\r\n\r\n" + bytes(100000):
        peer.sendall(bytes([byte]))
        if stop.wait(0.02):
            return


def drip_body(peer, stop):
    """Answer at once, and send the body a byte at a time."""
    peer.recv(65536)
    peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\nETag: x\r\n\r\n")
    while not stop.wait(0.02):
        peer.sendall(b"x")


class Asked(NamedTuple):
    """A request that a `Web` was sent."""

    method: str
    path: str
    headers: http.client.HTTPMessage
    body: bytes


class Web:
    """A web server that answers with the next of its answers, and with the last one ever after.

    An answer is a status, a body (what is no bytes and no text is sent as JSON) and headers; or a function of the
    request that returns one.
    """

    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked: list[Asked] = []
        self._lock = threading.Lock()

    def answer(self, asked):
        with self._lock:
            self.asked.append(asked)
            answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        status, body, headers = (*(answer(asked) if callable(answer) else answer), {})[:3]
        headers = {"Content-Type": "application/json"} | headers
        if not isinstance(body, bytes):
            body = (body if isinstance(body, str) else json.dumps(body)).encode()
        return status, body, headers

    @contextlib.contextmanager
    def running(self):
        web = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self):
                sent = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                status, body, headers = web.answer(Asked(self.command, self.path, self.headers, sent))
                self.send_response(status)
                for name, text in (headers | {"Content-Length": str(len(body))}).items():
                    self.send_header(name, text)
                self.end_headers()
                with contextlib.suppress(OSError):  # who asked may have gone
                    self.wfile.write(body if self.command != "HEAD" else b"")

            do_GET = do_HEAD = do_PUT = do_POST = do_PATCH = do_DELETE = handle_any

            def log_message(self, *_):
                pass

        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
            server.daemon_threads = True
            threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
            self.url = f"http://127.0.0.1:{server.server_port}"
            yield self
            server.shutdown()


@pytest.fixture
def web():
    """A function that starts a web server with these answers."""
    with contextlib.ExitStack() as stack:
        yield lambda *answers: stack.enter_context(Web(*answers).running())


def failure(call, *arguments, **options):
    """Return the error that the call raises; it tells of no key and no secret of these tests."""
    with pytest.raises((BackendError, ConfigurationError)) as caught:
        call(*arguments, **options)
    text = f"{caught.value!r} {caught.value}"
    assert "confidential" not in text
    assert "canary" not in text
    return caught.value


def timed(call, *arguments, **options):
    """Return the `failure`, and the seconds that it took."""
    start = time.monotonic()
    error = failure(call, *arguments, **options)
    return error, time.monotonic() - start


@pytest.fixture
def certificate(tmp_path):
    """A certificate for 127.0.0.1 and its key, in one file."""
    import ipaddress

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path / "certificate.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(private + signed.public_bytes(serialization.Encoding.PEM))
    return path


def under_tls(certificate, talk):
    """The same talk, encrypted."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)

    def talk_tls(peer, stop):
        with context.wrap_socket(peer, server_side=True) as secured:
            talk(secured, stop)

    return talk_tls
