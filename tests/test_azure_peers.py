"""`AzureBlobBackend` before peers that are silent, slow or gone: every operation ends by its deadline."""

from __future__ import annotations

import os
import socket
import threading
import time

import pytest

from tests.peers import drip, drip_body, failure, silence, timed, under_tls
from tests.test_azure import KEY, entry
from tests.tls import secured as secured
from tiercache.errors import BackendTimeout, BackendUnavailable, PartialFailure
from tiercache_azure import AzureBlobBackend


def drip_blob(peer, stop):
    """Answer a read at once, as Azure does, and send the body a byte at a time."""
    peer.recv(65536)
    head = b"HTTP/1.1 206 OK\r\nContent-Length: 100000\r\nContent-Range: bytes 0-99999/100000\r\nx-ms-request-id: 1\r\n"
    peer.sendall(head + b"ETag: x\r\n\r\n")
    while not stop.wait(0.02):
        peer.sendall(b"x")


def to(port, scheme="http", **options):
    url = f"{scheme}://127.0.0.1:{port}/account"
    return AzureBlobBackend("container", account_url=url, credential=KEY, **{"timeout": 0.5} | options)


def call_of(backend, operation):
    calls = {
        "put": lambda: backend.put("k", entry("k")),
        "ping": backend.ping,
        "delete_many": lambda: backend.objects.remove_many(
            {"k": None}, deadline=time.monotonic() + (backend.timeout or 0)
        ),
    }
    return calls.get(operation, lambda: getattr(backend, operation)("k"))


def test_a_dead_endpoint_is_unavailable_at_once(free_port):
    backend = to(free_port, timeout=30)
    error, seconds = timed(backend.get, "confidential")
    assert isinstance(error, BackendUnavailable)
    assert seconds < 20
    backend.close()


@pytest.mark.parametrize(
    ("operation", "talk"),
    [
        *(("get", talk) for talk in (silence, drip, drip_blob)),
        *(("ping", talk) for talk in (silence, drip, drip_body)),
        *((operation, talk) for operation in ("put", "delete", "delete_many") for talk in (silence, drip)),
    ],
)
def test_a_peer_that_is_too_slow_costs_the_timeout_however_it_is_slow(serve, operation, talk):
    backend = to(serve(talk))
    error, seconds = timed(call_of(backend, operation))
    assert isinstance(error, BackendTimeout)
    assert seconds < 5  # ten times the timeout
    backend.close()


def test_a_deadline_is_kept_that_is_shorter_than_the_timeout(serve):
    backend = to(serve(drip), timeout=60)
    error, seconds = timed(backend.get, "k", deadline=time.monotonic() + 0.3)
    assert isinstance(error, BackendTimeout)
    assert seconds < 6
    backend.close()


def test_a_timeout_that_is_changed_later_counts(serve):
    backend = to(serve(silence), timeout=60)
    backend.objects._client.get()
    backend.timeout = 0.3
    error, seconds = timed(backend.get, "k")
    assert isinstance(error, BackendTimeout)
    assert seconds < 6
    backend.close()


def test_a_batch_at_a_silent_peer_ends_at_its_deadline(serve):
    backend = to(serve(silence), timeout=60, max_concurrency=4)
    error, seconds = timed(backend.get_many, [f"k{n}" for n in range(20)], deadline=time.monotonic() + 0.5)
    assert isinstance(error, PartialFailure)
    assert {type(each) for each in error.failed.values()} == {BackendTimeout}
    assert len(error.failed) == 20
    assert seconds < 6
    backend.close()


def test_a_name_lookup_that_hangs_costs_the_timeout(monkeypatch):
    never = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: never.wait(30) and [])
    backend = to(1)
    error, seconds = timed(backend.get, "k")
    assert isinstance(error, BackendTimeout)
    assert seconds < 5
    never.set()
    backend.close()


@pytest.mark.parametrize("talk", [silence, drip, drip_blob])
def test_a_slow_peer_costs_the_timeout_under_tls_too(serve, certificate, talk, monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    backend = to(serve(under_tls(certificate, talk)), "https")
    error, seconds = timed(backend.get, "k")
    assert isinstance(error, BackendTimeout)
    assert seconds < 5
    backend.close()


def test_a_peer_that_never_agrees_on_keys_costs_the_timeout(serve):
    backend = to(serve(silence), "https")
    error, seconds = timed(backend.get, "k")
    assert isinstance(error, BackendTimeout)
    assert seconds < 5
    backend.close()


def test_an_untrusted_certificate_is_unavailable(serve, certificate):
    backend = to(serve(under_tls(certificate, silence)), "https", timeout=30)
    assert isinstance(failure(backend.get, "confidential"), BackendUnavailable)
    backend.close()


def test_large_entries_pass_through_tls(web, secured):
    stored = {}

    def store(asked):
        headers = {"x-ms-request-id": "1", "ETag": "1"}
        if asked.method == "PUT":
            stored["body"] = asked.body
            return 201, b"", headers
        body = stored["body"]
        return 206, body, headers | {"Content-Range": f"bytes 0-{len(body) - 1}/{len(body)}"}

    url = secured(web(store))
    backend = AzureBlobBackend("container", account_url=f"{url}/account", credential=KEY, timeout=30)
    payload = os.urandom(3 * 2**20)
    backend.put("k", entry("k", payload))
    assert backend.get("k").payload == payload
    backend.close()
