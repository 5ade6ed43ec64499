"""`ObjectStore.read_range` and what stands before a store: other answers than the part that was asked for, and faults.

What real servers answer is in the contract (`tiercache.testing.contract_ranges`); how large a request may be is here.
"""

from __future__ import annotations

import contextlib
import gc
import os
import threading
import time
import uuid
from collections import Counter

import pytest

from tests.faults.http_script import CANARY, refusal
from tests.peers import drip, failure, silence, timed
from tiercache.errors import AccessDenied, BackendTimeout, BackendUnavailable, ConfigurationError
from tiercache.objectstore import Upload
from tiercache.objectstore.ranges import MOST_SKIPPED, bytes_of
from tiercache_azure import AzureBlobBackend
from tiercache_gcs import GCSBackend
from tiercache_s3 import S3Backend

KINDS = ("s3", "gcs", "azure")
BODY = os.urandom(5000)
HEADERS = {"x-goog-hash": "crc32c=x", "x-ms-request-id": "1", "ETag": '"x"'}
PERMISSION = {"s3": "s3:GetObject", "gcs": "storage.objects.get", "azure": "blobs/read"}
DENIED = {"s3": (403, "AccessDenied"), "gcs": (403, "forbidden"), "azure": (403, "AuthorizationPermissionMismatch")}
BUSY = {"s3": (503, "SlowDown"), "gcs": (429, "rateLimitExceeded"), "azure": (503, "ServerBusy")}
ARCHIVED = {"s3": (403, "InvalidObjectState"), "azure": (409, "BlobArchived")}


def store_at(kind, url, timeout=30):
    if kind == "s3":
        options = {"access_key_id": "k", "secret_access_key": "s", "region": "us-east-1"}
        return S3Backend("bucket", endpoint_url=url, timeout=timeout, **options)
    if kind == "gcs":
        return GCSBackend("bucket", endpoint_url=url, anonymous=True, timeout=timeout)
    return AzureBlobBackend("container", account_url=f"{url}/account", credential="a2V5", timeout=timeout)


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


@pytest.fixture
def at(kind):
    """A function that returns the backend of this kind whose store is at a URL."""
    with contextlib.ExitStack() as stack:
        yield lambda url, **options: stack.enter_context(contextlib.closing(store_at(kind, url, **options)))


def read(backend, start, length):
    return backend.objects.read_range("confidential", start, length, deadline=backend.due(None))


def part(start, data, total=5000, length=None):
    """A 206 with these bytes; `length` says how many it tells of."""
    last = start + (len(data) if length is None else length) - 1
    return 206, data, HEADERS | {"Content-Range": f"bytes {start}-{last}/{total}"}


# Other answers than the part that was asked for


def test_the_range_that_is_asked_for_is_absolute(at, kind, web):
    store = web(part(100, BODY[100:120]))
    assert read(at(store.url), 100, 20) == BODY[100:120]
    (asked,) = store.asked
    assert asked.headers["x-ms-range" if kind == "azure" else "Range"] == "bytes=100-119"
    assert kind != "gcs" or asked.headers["Accept-Encoding"] == "gzip"  # else a packed body is sent whole


@pytest.mark.parametrize(("start", "length"), [(100, 20), (4990, 100), (5000, 10), (9000, 10)])
def test_of_a_whole_object_in_place_of_a_part_the_part_is_taken(at, web, start, length):
    store = web((200, BODY, HEADERS))
    assert read(at(store.url), start, length) == BODY[start : start + length]
    assert len(store.asked) == 1


def test_a_server_that_ignores_ranges_is_not_read_to_its_end(at, serve):
    sent, done = [0], threading.Event()

    def answer(peer, stop):
        peer.recv(65536)
        head = "".join(f"{name}: {text}\r\n" for name, text in HEADERS.items())
        try:
            peer.sendall(f"HTTP/1.1 200 OK\r\nContent-Length: {2**40}\r\n{head}\r\n".encode())
            while not stop.is_set() and sent[0] < 2**30:
                sent[0] += peer.send(b"x" * 2**16)
        finally:
            done.set()

    assert read(at(f"http://127.0.0.1:{serve(answer)}"), 1000, 10) == b"x" * 10
    assert done.wait(60)
    assert sent[0] < 100 * 2**20  # what the two sockets hold


def test_what_stands_too_far_into_a_whole_object_is_an_error_that_says_so(at, web):
    error = failure(read, at(web((200, BODY, HEADERS)).url), MOST_SKIPPED + 1, 10)
    assert isinstance(error, BackendUnavailable)
    assert "ignores ranges" in str(error)


@pytest.mark.parametrize("told", ["bytes 90-109/5000", "bytes */5000", "bytes x/5000", "bytes -20/5000"])
def test_another_range_than_asked_for_is_an_error(at, web, told):
    error = failure(read, at(web((206, BODY[:20], HEADERS | {"Content-Range": told})).url), 100, 20)
    assert isinstance(error, BackendUnavailable)
    assert "another range" in str(error)


def test_more_than_asked_for_is_cut(at, web):
    assert read(at(web(part(100, BODY[100:])).url), 100, 20) == BODY[100:120]


def test_less_than_the_answer_tells_of_is_an_error(at, web):
    error = failure(read, at(web(part(100, BODY[100:110], length=20)).url), 100, 20)
    assert isinstance(error, BackendUnavailable)
    assert "cut off after 10 of 20 bytes" in str(error)


def test_a_part_that_ends_before_it_is_whole_is_an_error(at, serve):
    def answer(peer, stop):
        peer.recv(65536)
        head = "".join(f"{name}: {text}\r\n" for name, text in HEADERS.items())
        told = "Content-Length: 20\r\nContent-Range: bytes 100-119/5000"
        peer.sendall(f"HTTP/1.1 206 OK\r\n{told}\r\n{head}\r\nten bytes!".encode())

    assert isinstance(failure(read, at(f"http://127.0.0.1:{serve(answer)}"), 100, 20), BackendUnavailable)


def test_an_encoded_body_is_cut_as_it_is_stored(at, web):
    status, body, headers = part(100, BODY[100:120])
    assert read(at(web((status, body, headers | {"Content-Encoding": "gzip"})).url), 100, 20) == body


def test_what_follows_is_read_from_the_same_connection(at, web, monkeypatch):
    from urllib3.connectionpool import HTTPConnectionPool

    backend = at(web(part(100, BODY[100:120])).url)
    read(backend, 100, 20)
    made, before = [], HTTPConnectionPool._new_conn
    monkeypatch.setattr(HTTPConnectionPool, "_new_conn", lambda pool: made.append(1) or before(pool))
    assert [read(backend, 100, 20) for _ in range(3)] == [BODY[100:120]] * 3
    assert not made


def test_parts_that_arrive_in_pieces_are_put_together():
    pieces = iter([b"ab", b"c", b""])
    assert bytes_of(200, None, 0, 10, lambda _: next(pieces)) == b"abc"


def test_a_blob_that_comes_without_a_range_is_read_whole(web):
    with contextlib.closing(store_at("azure", web((200, BODY, HEADERS)).url)) as backend:
        assert backend.objects.read("confidential", limit=5000, deadline=None)[1] == BODY


@pytest.mark.filterwarnings("ignore:Exception ignored in.*DeadlineSocket:pytest.PytestUnraisableExceptionWarning")
def test_a_range_that_the_sdk_of_azure_cannot_read_is_pointed_out(web):
    store = web((206, BODY, HEADERS | {"Content-Range": "nonsense"}))
    with contextlib.closing(store_at("azure", store.url)) as backend:
        for call in (backend.get, lambda name: backend.objects.read_range(name, 0, 10, deadline=None)):
            assert isinstance(failure(call, "confidential"), ConfigurationError)
    gc.collect()  # the SDK fails before it hands the answer on, so that nobody can close its connection


# Faults


def test_what_is_denied_names_the_permission(at, kind, web):
    error = failure(read, at(web(refusal(kind, *DENIED[kind])).url), 0, 10)
    assert isinstance(error, AccessDenied)
    assert PERMISSION[kind] in str(error)
    assert CANARY not in str(error)


def test_what_is_throttled_is_unavailable_for_as_long_as_the_store_says(at, kind, web):
    store = web(refusal(kind, *BUSY[kind], {"Retry-After": "7"}))
    error = failure(read, at(store.url), 0, 10)
    assert isinstance(error, BackendUnavailable)
    assert error.retry_after == 7
    assert len(store.asked) == 1


def test_what_is_archived_is_none(at, kind, web):
    if kind not in ARCHIVED:
        pytest.skip("its classes all answer at once")
    assert read(at(web(refusal(kind, *ARCHIVED[kind])).url), 0, 10) is None


def test_a_range_beyond_the_end_is_empty(at, kind, web):
    assert read(at(web(refusal(kind, 416, "InvalidRange")).url), 9000, 10) == b""


def test_an_end_that_is_told_to_who_asked_for_no_range_is_an_error(at, kind, web):
    error = failure(at(web(refusal(kind, 416, "InvalidRange")).url).get, "confidential")
    assert isinstance(error, ConfigurationError)
    assert "ranges" in str(error)


def drip_part(peer, stop):
    peer.recv(65536)
    head = "".join(f"{name}: {text}\r\n" for name, text in HEADERS.items())
    peer.sendall(
        f"HTTP/1.1 206 OK\r\nContent-Length: 10000\r\nContent-Range: bytes 0-9999/10000\r\n{head}\r\n".encode()
    )
    while not stop.wait(0.02):
        peer.sendall(b"x")


@pytest.mark.parametrize("talk", [silence, drip, drip_part])
def test_a_peer_that_is_too_slow_costs_the_timeout_however_it_is_slow(at, serve, talk):
    error, seconds = timed(read, at(f"http://127.0.0.1:{serve(talk)}", timeout=0.5), 0, 10_000)
    assert isinstance(error, BackendTimeout)
    assert seconds < 5  # ten times the timeout


def test_a_deadline_that_has_passed_sends_nothing(at, web):
    store = web(part(0, BODY[:10]))
    with pytest.raises(BackendTimeout):
        at(store.url).objects.read_range("k", 0, 10, deadline=time.monotonic() - 1)
    assert not store.asked


# Large objects


@pytest.fixture
def real(kind, request):
    """The backend of this kind on its real server."""
    server = request.getfixturevalue(f"{kind}_server")
    if kind == "s3":
        options = {"access_key_id": server.access_key, "secret_access_key": server.secret_key, "region": server.region}
        backend = S3Backend(request.getfixturevalue("s3_bucket"), endpoint_url=server.endpoint_url, **options)
    elif kind == "gcs":
        backend = GCSBackend(request.getfixturevalue("gcs_bucket"), endpoint_url=server.endpoint_url)
    else:
        container = request.getfixturevalue("azure_container")
        backend = AzureBlobBackend(container, connection_string=server.connection_string)
    with contextlib.closing(backend):
        yield backend


@pytest.mark.slow
@pytest.mark.parametrize("size", [16, 32, 64])
def test_an_object_of_many_mebibytes_is_one_request_each_way(real, size, monkeypatch):
    from urllib3.connectionpool import HTTPConnectionPool

    name, body, sent = f"{uuid.uuid4().hex}/large", os.urandom(size * 2**20), Counter()
    urlopen = HTTPConnectionPool.urlopen

    def counted(self, method, *arguments, **options):
        sent[method] += 1
        return urlopen(self, method, *arguments, **options)

    monkeypatch.setattr(HTTPConnectionPool, "urlopen", counted)
    assert real.objects.write(Upload(name, body, {}), if_absent=True, if_match=None, deadline=None)
    assert sum(sent.values()) == 1
    found = real.objects.read(name, limit=len(body), deadline=None)
    assert found is not None
    assert found[1] == body
    assert real.objects.read_range(name, 1, len(body), deadline=None) == body[1:]
    assert sum(sent.values()) == 3
    real.objects.remove(name, deadline=None)
