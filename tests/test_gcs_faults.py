"""`GCSBackend` and peers that fail it: dead, silent, slow ones, those that are no store, and TLS."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import threading
import time
import types

import pytest
from requests.adapters import HTTPAdapter

from tests.peers import drip, drip_body, failure, silence, timed, under_tls
from tests.test_gcs import entry
from tiercache.errors import BackendTimeout, BackendUnavailable, ConfigurationError, PartialFailure
from tiercache.objectstore import sockets
from tiercache.objectstore.session import DeadlineAdapter
from tiercache.pool import DaemonPool
from tiercache_gcs import GCSBackend


@pytest.fixture
def to():
    """A function that returns a backend whose store is at this port."""
    with contextlib.ExitStack() as stack:

        def to(port, scheme="http", **options):
            options = {"endpoint_url": f"{scheme}://127.0.0.1:{port}", "anonymous": True, "timeout": 0.5} | options
            return stack.enter_context(contextlib.closing(GCSBackend("bucket", **options)))

        yield to


def call_of(backend, operation):
    calls = {
        "put": lambda: backend.put("k", entry("k")),
        "ping": backend.ping,
        "scan": lambda: list(backend.scan()),
        "delete_many": lambda: backend.objects.remove_many({"k": None}, deadline=backend.due(None)),
    }
    return calls.get(operation, lambda: getattr(backend, operation)("k"))


def test_a_dead_endpoint_is_unavailable_at_once(to, free_port):
    found, seconds = timed(to(free_port, timeout=30).get, "confidential")
    assert isinstance(found, BackendUnavailable)
    assert seconds < 20


@pytest.mark.parametrize(
    ("operation", "talk"),
    [
        *((operation, talk) for operation in ("get", "put") for talk in (silence, drip)),
        *((operation, talk) for operation in ("ping", "delete", "delete_many") for talk in (silence, drip_body)),
    ],
)
def test_a_peer_that_is_too_slow_costs_the_timeout_however_it_is_slow(to, serve, operation, talk):
    found, seconds = timed(call_of(to(serve(talk)), operation))
    assert isinstance(found, BackendTimeout)
    assert seconds < 5  # ten times the timeout


def test_a_body_that_drips_costs_the_timeout_too(to, serve):
    def drip_object(peer, stop):
        peer.recv(65536)
        peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\nx-goog-hash: x\r\n\r\n")
        while not stop.wait(0.02):
            peer.sendall(b"x")

    found, seconds = timed(to(serve(drip_object)).get, "k")
    assert isinstance(found, BackendTimeout)
    assert seconds < 5


def test_a_deadline_is_kept_that_is_shorter_than_the_timeout(to, serve):
    found, seconds = timed(to(serve(drip), timeout=60).get, "k", deadline=time.monotonic() + 0.3)
    assert isinstance(found, BackendTimeout)
    assert seconds < 6


def test_a_timeout_that_is_changed_later_counts(to, serve):
    backend = to(serve(silence), timeout=60)
    backend.objects._client.get()
    backend.timeout = 0.3
    found, seconds = timed(backend.get, "k")
    assert isinstance(found, BackendTimeout)
    assert seconds < 6


def test_a_batch_at_a_silent_peer_ends_at_its_deadline(to, serve):
    backend = to(serve(silence), timeout=60, max_concurrency=4)
    found, seconds = timed(backend.get_many, [f"k{n}" for n in range(20)], deadline=time.monotonic() + 0.5)
    assert isinstance(found, PartialFailure)
    assert {type(each) for each in found.failed.values()} == {BackendTimeout}
    assert len(found.failed) == 20
    assert seconds < 6


def test_a_name_lookup_that_hangs_costs_the_timeout(to, monkeypatch):
    never = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: never.wait(30) and [])
    found, seconds = timed(to(1).get, "k")
    assert isinstance(found, BackendTimeout)
    assert seconds < 5
    never.set()


def test_lookups_that_nobody_waits_for_any_more_are_not_made(to, monkeypatch):
    may_end, asked = threading.Event(), []

    def getaddrinfo(host, *_):
        asked.append(host)
        may_end.wait(30)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    monkeypatch.setattr(sockets, "_resolvers", DaemonPool(1, "test"))
    for _ in range(5):
        failure(to(1, timeout=0.05).get, "k")
    may_end.set()
    failure(to(1, timeout=30).get, "k")
    assert len(asked) == 2


def test_an_answer_that_is_cut_off_is_unavailable(to, serve):
    def cut(peer, stop):
        peer.recv(65536)
        peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\nx-goog-hash: x\r\n\r\nTIER")

    assert isinstance(failure(to(serve(cut), timeout=30).get, "k"), BackendUnavailable)


@pytest.mark.parametrize(
    "answer",
    [
        (200, "<html><p>Welcome<br></html>", {"Content-Type": "text/html"}),
        (404, "<html>Not found", {"Content-Type": "text/html"}),
        (400, "<html>Bad request", {"Content-Type": "text/html"}),
        (302, "", {"Location": "/login"}),
        (200, "[]"),
        (200, "not json"),
        (200, "{}"),
        (200, {"status": "ok"}),
        (405, {"error": "method not allowed"}),
    ],
    ids=lambda answer: f"{answer[0]} {answer[1]}"[:20],
)
@pytest.mark.parametrize("operation", ["get", "head", "ping", "put", "scan"])
def test_an_endpoint_that_is_no_object_store_is_pointed_out(to, web, answer, operation):
    found = failure(call_of(to(web(answer).url.rpartition(":")[2], timeout=30), operation))
    assert isinstance(found, ConfigurationError)
    assert "endpoint_url" in str(found)


@pytest.mark.parametrize("url", ["", "not a url", "htp://x", "http://", "//host", "http://[::1", "http://a:b", 7])
def test_an_endpoint_that_is_no_url_is_refused(url):
    with pytest.raises(ConfigurationError, match="endpoint_url"):
        GCSBackend("bucket", endpoint_url=url)


@pytest.mark.parametrize("url", ["http://a..b", "http://no host"])
def test_an_endpoint_that_no_host_can_have_is_pointed_out(to, url):
    found = failure(to(1, endpoint_url=url).get, "confidential")
    assert isinstance(found, (BackendUnavailable, ConfigurationError))
    assert "endpoint_url" in str(found)


# TLS


def test_a_silent_tls_peer_costs_the_timeout(to, serve):
    found, seconds = timed(to(serve(silence), "https").get, "k")
    assert isinstance(found, BackendTimeout)
    assert seconds < 5


@pytest.mark.parametrize("talk", [silence, drip])
def test_a_slow_peer_costs_the_timeout_under_tls_too(to, serve, certificate, talk, monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    found, seconds = timed(to(serve(under_tls(certificate, talk)), "https").get, "k")
    assert isinstance(found, BackendTimeout)
    assert seconds < 5


def test_an_untrusted_certificate_is_unavailable(to, serve, certificate):
    backend = to(serve(under_tls(certificate, silence)), "https", timeout=30)
    assert isinstance(failure(backend.get, "confidential"), BackendUnavailable)


def test_a_tls_context_that_all_sessions_share_is_left_as_it_is(to, serve, certificate, monkeypatch):
    shared, build = ssl.create_default_context(), HTTPAdapter.build_connection_pool_key_attributes

    def as_requests_2_32_does(self, *arguments, **options):
        host, made_with = build(self, *arguments, **options)
        return host, made_with | {"ssl_context": shared}

    monkeypatch.setattr(HTTPAdapter, "build_connection_pool_key_attributes", as_requests_2_32_does)
    backend = to(serve(under_tls(certificate, silence)), "https", timeout=30)
    assert isinstance(failure(backend.get, "k"), BackendUnavailable)  # it does not trust the server
    assert shared.sslsocket_class is ssl.SSLSocket


def test_large_entries_pass_through_tls(to, serve, certificate, monkeypatch):
    stored = {}

    def store(peer, stop):
        stream = peer.makefile("rb")
        while line := stream.readline():
            headers = {}
            while (header := stream.readline().strip()) != b"":
                name, _, text = header.partition(b": ")
                headers[name.lower()] = text
            answer = b'{"generation": "1"}'
            if line.startswith(b"POST"):
                body = stream.read(int(headers[b"content-length"]))
                stored["body"] = body.split(b"\r\n\r\n", 2)[2].rpartition(b"\r\n--")[0]
            else:
                answer = stored["body"]
            head = b"HTTP/1.1 200 OK\r\nx-goog-hash: x\r\nContent-Length: %d\r\n\r\n" % len(answer)
            peer.sendall(head + answer)

    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    backend = to(serve(under_tls(certificate, store)), "https", timeout=30)
    payload = os.urandom(3 * 2**20)
    backend.put("k", entry("k", payload))
    assert backend.get("k").payload == payload


# Proxies


def test_pools_of_a_socks_proxy_are_left_as_they_are(monkeypatch):
    theirs = {"http": object}
    manager = types.SimpleNamespace(pool_classes_by_scheme=theirs)
    monkeypatch.setattr(HTTPAdapter, "proxy_manager_for", lambda *_, **__: manager)
    adapter = DeadlineAdapter()
    assert adapter.proxy_manager_for("socks5h://proxy").pool_classes_by_scheme is theirs
    assert adapter.proxy_manager_for("http://proxy").pool_classes_by_scheme is not theirs
