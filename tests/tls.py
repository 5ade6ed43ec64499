"""A web server of the tests (`tests.peers.Web`) behind TLS, for what is never sent without: tokens."""

from __future__ import annotations

import contextlib
import socket
import threading
from urllib.parse import urlsplit

import pytest

from tests.peers import under_tls


@pytest.fixture
def secured(serve, certificate, monkeypatch):
    """A function that puts TLS before a `Web` and returns the URL; requests trusts its certificate."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))

    def secured(web):
        def pass_on(peer, stop):
            with socket.create_connection(("127.0.0.1", urlsplit(web.url).port)) as plain:
                back = threading.Thread(target=pump, args=(plain, peer), daemon=True)
                back.start()
                pump(peer, plain)
                with contextlib.suppress(OSError):
                    plain.shutdown(socket.SHUT_WR)
                back.join(60)

        return f"https://127.0.0.1:{serve(under_tls(certificate, pass_on))}"

    return secured


def pump(source, sink):
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
