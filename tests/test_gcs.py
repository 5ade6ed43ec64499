"""`GCSBackend`: what it takes, what it sends to Google Cloud Storage, and what it makes of the objects there."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
import warnings
from collections import Counter
from datetime import UTC, datetime
from urllib.parse import parse_qs, urlsplit

import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage

from tests.peers import failure
from tiercache import TierChain, keys
from tiercache.entry import Entry, Metadata
from tiercache.errors import (
    AccessDenied,
    BackendTimeout,
    BackendUnavailable,
    CacheClosed,
    ConfigurationError,
    CorruptEntry,
    EntryTooLarge,
    PartialFailure,
)
from tiercache_gcs import GCSBackend, GCSStorageClass

HOUR = 3600.0
OBJECT = {"kind": "storage#object", "name": "k", "size": "7", "generation": "1"}


def entry(key, payload=b"payload", **fields):
    return Entry(payload, Metadata(key=key, created_at=time.time(), size=len(payload), **fields))


@pytest.fixture
def make(gcs_server, gcs_bucket):
    """A function that makes backends on fake-gcs-server, below a prefix of this test."""
    prefix = uuid.uuid4().hex
    with contextlib.ExitStack() as stack:

        def make(**options):
            defaults = {"endpoint_url": gcs_server.endpoint_url, "prefix": prefix, "timeout": 30}
            options = {"bucket": gcs_bucket} | defaults | options
            return stack.enter_context(contextlib.closing(GCSBackend(**options)))

        yield make


@pytest.fixture
def backend(make):
    return make()


@pytest.fixture
def raw(gcs_server, gcs_bucket):
    """The bucket, through the SDK."""
    options = {"api_endpoint": gcs_server.endpoint_url}
    with contextlib.closing(storage.Client("p", AnonymousCredentials(), client_options=options)) as client:
        yield client.bucket(gcs_bucket)


@pytest.fixture
def at(web):
    """A function that returns a backend whose store gives these answers; `backend.web` is that store."""
    with contextlib.ExitStack() as stack:

        def at(*answers, **options):
            store = web(*answers)
            options = {"endpoint_url": store.url, "timeout": 30} | options
            backend = stack.enter_context(contextlib.closing(GCSBackend("bucket", **options)))
            backend.web = store
            return backend

        yield at


@pytest.fixture
def sent(monkeypatch):
    """Counts requests, of whichever backend, by method and path without names and queries."""
    from urllib3.connectionpool import HTTPConnectionPool

    counts, urlopen = Counter(), HTTPConnectionPool.urlopen

    def counted(self, method, url, *arguments, **options):
        path = re.sub(r"/b/[^/]+", "", urlsplit(url).path)
        counts[f"{method} {re.sub('/o/.*', '/o/NAME', path)}"] += 1
        return urlopen(self, method, url, *arguments, **options)

    monkeypatch.setattr(HTTPConnectionPool, "urlopen", counted)
    return counts


READ = "GET /download/storage/v1/o/NAME"
STAT = "GET /storage/v1/o/NAME"
WRITE = "POST /upload/storage/v1/o"
DELETE = "DELETE /storage/v1/o/NAME"
BATCH = "POST /batch/storage/v1"
LIST = "GET /storage/v1/o"


def error(status, reason="", message="canary message about confidential"):
    """An answer of the API."""
    return status, {"error": {"code": status, "message": message, "errors": [{"reason": reason, "message": message}]}}


# Making one


def run_without_google(code):
    without = "import sys; sys.modules['google'] = None\n"
    path = os.pathsep.join(p for p in sys.path if p)
    return subprocess.run(
        [sys.executable, "-c", without + code], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path}
    )


def test_it_can_be_imported_without_the_sdk_and_says_what_to_install():
    done = run_without_google(
        "from tiercache_gcs import GCSBackend, GCSStorageClass\n"
        "from tiercache.errors import MissingExtra\n"
        "try:\n    GCSBackend('bucket')\nexcept MissingExtra as error:\n    print(error)"
    )
    assert done.stdout.strip() == "GCSBackend needs a package that is not installed: install tiercache[gcs]", (
        done.stderr
    )


def test_the_constructor_makes_no_client_reads_no_file_and_connects_to_nothing(monkeypatch):
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: pytest.fail("looked up a name"))
    backend = GCSBackend("no-such-bucket", endpoint_url="https://store.invalid", credentials_file="no-such-file")
    assert backend.objects._client._client is None
    backend.close()


@pytest.mark.parametrize("storage_class", ["STANDARD", GCSStorageClass.NEARLINE, "COLDLINE", "ARCHIVE"])
def test_all_classes_answer_at_once_and_are_taken(storage_class):
    assert GCSBackend("bucket", storage_class=storage_class).storage_class == storage_class


@pytest.mark.parametrize("storage_class", ["GLACIER", "standard", "REGIONAL", ""])
def test_another_class_is_refused_with_advice(storage_class):
    with pytest.raises(ConfigurationError, match=r"choose .*STANDARD"):
        GCSBackend("bucket", storage_class=storage_class)


@pytest.mark.parametrize(
    "options",
    [
        {"bucket": ""},
        {"bucket": "gs://bucket/prefix"},
        {"credentials": "canary.json"},
        {"credentials": AnonymousCredentials(), "credentials_file": "canary.json"},
        {"credentials_file": "canary.json", "anonymous": True},
        {"credentials_json": "canary"},
        {"credentials_json": '["canary"]'},
        {"credentials_json": {"type": "service_account", "private_key": "canary"}},
        {
            "credentials_json": {
                "type": "service_account",
                "private_key": "canary",
                "client_email": "canary",
                "token_uri": "canary",
            }
        },
        {"credentials_json": 7},
        {"max_concurrency": 0},
        {"max_entry_bytes": "much"},
        {"timeout": -1},
        {"prefix": "/a"},
    ],
)
def test_bad_options_are_refused_without_repeating_secrets(options):
    with pytest.raises(ConfigurationError) as caught:
        GCSBackend(**{"bucket": "bucket"} | options)
    assert "canary" not in str(caught.value)


def connection_of(backend):
    return backend.objects._client._build.args[0]


def test_from_env_reads_the_variables():
    backend = GCSBackend.from_env(
        {
            "TIERCACHE_GCS_BUCKET": "mine",
            "TIERCACHE_GCS_PREFIX": "cache",
            "TIERCACHE_GCS_STORAGE_CLASS": "NEARLINE",
            "GOOGLE_CLOUD_PROJECT": "project",
            "GOOGLE_APPLICATION_CREDENTIALS": "/a/file",
            "STORAGE_EMULATOR_HOST": "",
        }
    )
    assert (backend.bucket, backend.prefix, backend.storage_class) == ("mine", "cache/", "NEARLINE")
    connection = connection_of(backend)
    assert (connection.project, connection.credentials_file, connection.anonymous) == ("project", "/a/file", False)


@pytest.mark.parametrize("host", ["http://127.0.0.1:4443", "127.0.0.1:4443", "http://127.0.0.1:4443/"])
def test_an_emulator_in_the_environment_is_asked_without_credentials(monkeypatch, host):
    env = {"TIERCACHE_GCS_BUCKET": "b", "GOOGLE_APPLICATION_CREDENTIALS": "/a", "STORAGE_EMULATOR_HOST": host}
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", host)
    for backend in (GCSBackend.from_env(env), GCSBackend("b")):
        connection = connection_of(backend)
        assert (connection.endpoint_url, connection.anonymous) == ("http://127.0.0.1:4443", True)
        assert backend.objects._client.get().url == "http://127.0.0.1:4443"
        backend.close()


@pytest.mark.parametrize(
    ("options", "anonymous"),
    [
        ({}, False),
        ({"anonymous": True}, True),
        ({"endpoint_url": "http://emulator.invalid"}, True),
        ({"endpoint_url": "http://emulator.invalid", "credentials_file": "/a"}, False),
        ({"endpoint_url": "http://emulator.invalid", "anonymous": False}, False),
        ({"endpoint_url": "https://private.invalid"}, False),
    ],
)
def test_only_an_emulator_is_asked_without_credentials(options, anonymous):
    assert connection_of(GCSBackend("bucket", **options)).anonymous is anonymous


def test_from_env_without_a_bucket_names_the_variable():
    with pytest.raises(ConfigurationError, match="TIERCACHE_GCS_BUCKET"):
        GCSBackend.from_env({"TIERCACHE_GCS_BUCKET": ""})


def test_options_of_from_env_come_before_the_variables():
    env = {"TIERCACHE_GCS_BUCKET": "theirs", "GOOGLE_APPLICATION_CREDENTIALS": "/a/file"}
    backend = GCSBackend.from_env(env, bucket="mine", anonymous=True)
    assert (backend.bucket, connection_of(backend).anonymous) == ("mine", True)


def test_a_url_names_bucket_and_prefix():
    arguments = GCSBackend.url_arguments(urlsplit("gs://my-bucket/tiercache/a%20b"))
    assert arguments == {"bucket": "my-bucket", "prefix": "tiercache/a b"}
    with pytest.raises(ConfigurationError) as caught:
        GCSBackend.url_arguments(urlsplit("gs://key:canary@my-bucket/"))
    assert "canary" not in str(caught.value)


def test_a_chain_can_be_made_of_a_url(gcs_server, gcs_bucket, monkeypatch):
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", gcs_server.endpoint_url)
    prefix = uuid.uuid4().hex
    chain = TierChain.from_urls("memory://", f"gs://{gcs_bucket}/{prefix}/?storage_class=NEARLINE&timeout=30s")
    backend = chain.tiers[1].backend
    backend.put("k", entry("k"))
    assert backend.head("k").storage_class == "NEARLINE"
    chain.close()


# The client


def test_it_tries_nothing_again_and_says_who_asks(at):
    backend = at(error(503, "backendError"))
    for call in (backend.get, backend.head, backend.ping, backend.delete):
        backend.web.asked.clear()
        failure(*(call,) if call == backend.ping else (call, "k"))
        assert len(backend.web.asked) == 1
        assert re.search(r"tiercache/\d", backend.web.asked[0].headers["User-Agent"])


def test_it_has_a_connection_for_each_thread(make):
    session = make(max_concurrency=40).objects._client.get().session
    assert session.get_adapter("https://x")._pool_maxsize >= 2 * 40


def test_one_client_is_made_however_many_threads_come_first(make, monkeypatch):
    import tiercache_gcs.client as module

    made, build = [], module.build
    monkeypatch.setattr(module, "build", lambda *arguments: made.append(1) or build(*arguments))
    backend, start = make(), threading.Barrier(8)

    def first():
        start.wait(30)
        backend.objects._client.get()

    threads = [threading.Thread(target=first) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert made == [1]


def test_close_may_be_called_before_use_and_again_and_ends_the_backend(make):
    backend = make()
    backend.close()
    backend.close()
    with pytest.raises(CacheClosed):
        backend.get("k")


def test_a_forked_child_makes_its_own_client_and_the_parents_goes_on(backend):
    backend.put("k", entry("k"))
    before = backend.objects._client.get()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # later Pythons warn of forking beside threads
        child = os.fork()
    if child == 0:
        signal.alarm(60)
        code = 1
        with contextlib.suppress(BaseException):
            got = backend.get_many(["k", "absent"])
            code = 0 if got["k"].payload == b"payload" and backend.objects._client.get() is not before else 2
        os._exit(code)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert backend.objects._client.get() is before
    assert backend.get("k").payload == b"payload"


# Requests


def test_each_operation_sends_what_it_must(backend, sent):
    backend.put("k", entry("k"))
    backend.get("k")
    backend.head("k")
    backend.get("absent")
    assert sent == {WRITE: 1, READ: 2, STAT: 1}
    sent.clear()
    backend.delete("k")
    assert sent == {STAT: 1, DELETE: 1}
    sent.clear()
    backend.ping()
    assert sent == {LIST: 1}


def test_an_entry_of_16_mib_is_one_request_each_way(backend, sent):
    payload = os.urandom(16 * 2**20)
    backend.put("k", entry("k", payload))
    assert backend.get("k").payload == payload
    assert sent == {WRITE: 1, READ: 1}


def test_batches_send_a_get_for_each_key_and_a_delete_for_each_hundred(backend, sent):
    backend.put("k7", entry("k7"))
    sent.clear()
    assert list(backend.get_many([f"k{number}" for number in range(100)])) == ["k7"]
    assert sent == {READ: 100}
    sent.clear()
    assert backend.delete_many([f"k{number}" for number in range(150)]) == 150
    assert sent == {BATCH: 2}
    assert backend.get("k7") is None


def test_more_than_a_page_is_listed_whole_and_tells_what_a_head_tells(backend, sent):
    many = {f"k{number:04}": entry(f"k{number:04}", tags=("t",)) for number in range(1001)}
    backend.put_many(many)
    sent.clear()
    found = dict(backend.scan("k", full=True))
    assert list(found) == sorted(many)
    assert found["k0007"] == backend.head("k0007")
    assert sent == {LIST: 2, STAT: 1}
    sent.clear()
    assert backend.clear("k") == 1001
    assert sent == {LIST: 2, BATCH: 11}


def test_an_object_has_the_class_the_type_and_the_metadata_of_its_entry(make, raw):
    backend = make(storage_class="COLDLINE")
    backend.put("a/b", entry("a/b", tags=("doc:7",), attributes={"model": "m"}))
    blob = raw.get_blob(backend.prefix + "a%2Fb")
    assert blob.storage_class == "COLDLINE"
    assert blob.content_type == "application/vnd.tiercache.entry"
    assert blob.content_encoding is None
    assert blob.metadata["tags"] == '["doc:7"]'
    assert blob.metadata["attributes"] == '{"model":"m"}'
    for found in (backend.get("a/b").metadata, backend.head("a/b"), dict(backend.scan())["a/b"]):
        assert found.etag == str(blob.generation)
    assert backend.head("a/b").storage_class == "COLDLINE"


def uploaded(asked):
    """The metadata and the body of an upload, and its query."""
    boundary = asked.headers["Content-Type"].partition("boundary=")[2].encode()
    _, about, media, _ = asked.body.split(b"--" + boundary)
    return json.loads(about.partition(b"\r\n\r\n")[2]), media.partition(b"\r\n\r\n")[2][:-2], urlsplit(asked.path).query


def test_a_write_says_what_a_console_shows_and_keeps_google_from_caching_it(at):
    backend = at((200, OBJECT))
    backend.put("k", entry("k"))
    about, body, query = uploaded(backend.web.asked[0])
    assert about.pop("metadata")["tiercache-version"] == "1"
    assert about == {
        "name": "k",
        "contentType": "application/vnd.tiercache.entry",
        "cacheControl": "no-store",
        "storageClass": "STANDARD",
    }
    assert body.startswith(b"TIER")
    assert parse_qs(query) == {"uploadType": ["multipart"], "fields": ["generation"]}


def test_a_get_tells_the_class_and_asks_for_the_bytes_as_they_are_stored(at):
    backend = at((200, OBJECT))
    backend.put("k", entry("k"))
    _, body, _ = uploaded(backend.web.asked[0])
    headers = {"x-goog-hash": "crc32c=x", "x-goog-generation": "17", "x-goog-storage-class": "ARCHIVE"}
    backend.web.answers = [(200, body, headers | {"Content-Encoding": "gzip"})]
    found = backend.get("k").metadata
    assert (found.etag, found.storage_class, found.stored_size) == ("17", "ARCHIVE", len(body))
    assert backend.web.asked[-1].headers["Accept-Encoding"] == "gzip"


def test_the_class_of_an_entry_comes_before_the_backends(backend):
    backend.put("k", Entry(b"payload", entry("k").metadata, storage_class="ARCHIVE"))
    assert backend.head("k").storage_class == "ARCHIVE"


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, None),
        ({"expires_at": 2_000_000_000.5}, datetime(2033, 5, 18, 3, 33, 20, 500_000, UTC)),
        ({"expires_at": 1.9e9, "stale_until": 2e9}, datetime(2033, 5, 18, 3, 33, 20, tzinfo=UTC)),
        ({"expires_at": 1e300}, datetime(9999, 12, 31, tzinfo=UTC)),
        ({"expires_at": -1e300}, datetime(1970, 1, 1, tzinfo=UTC)),
    ],
)
def test_the_custom_time_is_when_the_entry_can_no_longer_be_read(backend, raw, fields, expected):
    backend.put("k", entry("k", **fields))
    assert raw.get_blob(backend.prefix + "k").custom_time == expected


def test_an_overwrite_has_the_custom_time_of_the_new_entry(backend, raw):
    backend.put("k", entry("k", expires_at=2e9))
    backend.put("k", entry("k", expires_at=1.9e9))
    assert raw.get_blob(backend.prefix + "k").custom_time == datetime.fromtimestamp(1.9e9, UTC)
    backend.put("k", entry("k"))
    assert raw.get_blob(backend.prefix + "k").custom_time is None


@pytest.mark.parametrize(
    ("condition", "query"), [({"if_absent": True}, "0"), ({"if_match": "1795720918026431"}, "1795720918026431")]
)
def test_a_conditional_write_names_the_generation(at, condition, query):
    backend = at((200, OBJECT))
    assert backend.put("k", entry("k"), **condition) is True
    assert parse_qs(uploaded(backend.web.asked[0])[2])["ifGenerationMatch"] == [query]


@pytest.mark.parametrize("etag", ["0", "-1", '"etag"', "", "1&x=1", "٣"])
def test_what_is_no_generation_matches_nothing_and_costs_no_request(at, etag):
    backend = at((200, OBJECT))
    assert backend.put("k", entry("k"), if_match=etag) is False
    assert backend.web.asked == []


def test_deletes_with_versions_name_the_generations(at):
    backend = at((200, batched("204 No Content", "412 Precondition Failed"), BATCHED))
    failed = backend.objects.remove_many({"a": "17", "b": "18"}, deadline=None)
    assert [type(error).__name__ for error in failed.values()] == ["Refused"]
    lines = re.findall(rb"DELETE (\S+) HTTP/1.1", backend.web.asked[0].body)
    assert lines == [b"/storage/v1/b/bucket/o/a?ifGenerationMatch=17", b"/storage/v1/b/bucket/o/b?ifGenerationMatch=18"]


# What stands in the bucket


def test_an_object_copied_to_another_keys_name_is_a_miss(backend, raw):
    backend.put("one", entry("one"))
    raw.copy_blob(raw.blob(backend.prefix + "one"), raw, backend.prefix + "two")
    for read in (backend.get, backend.head):
        with pytest.raises(CorruptEntry):
            read("two")


@pytest.mark.parametrize("body", [b"", b"TIER", b"{}", b"x" * 5000])
def test_a_foreign_object_is_corrupt_and_leaks_nothing(backend, raw, body):
    blob = raw.blob(backend.prefix + "confidential")
    blob.metadata = {"mine": "yes"}
    blob.upload_from_string(body)
    for read in (backend.get, backend.head):
        assert isinstance(failure(read, "confidential"), CorruptEntry)
    assert backend.delete("confidential") is False
    assert backend.get("confidential") is None


def test_a_huge_foreign_object_is_refused_by_its_length_and_the_backend_stays_usable(make, raw):
    backend = make(max_entry_bytes="64KiB")
    raw.blob(backend.prefix + "k").upload_from_string(bytes(8 * 2**20))
    with pytest.raises(CorruptEntry, match="8,388,608 bytes"):
        backend.get("k")
    backend.put("other", entry("other"))
    assert backend.get("other").payload == b"payload"


# The store's errors


@pytest.mark.parametrize(
    ("answer", "kind", "says"),
    [
        (error(403, "forbidden"), AccessDenied, "storage.objects.get on bucket 'bucket'.*storage.objects.list"),
        (error(401, "required"), AccessDenied, "missing, expired or revoked; give credentials_file"),
        (error(403, "rateLimitExceeded"), BackendUnavailable, "later"),
        (error(429, "rateLimitExceeded"), BackendUnavailable, "later"),
        (error(500, "internalError"), BackendUnavailable, "later$"),
        (error(503, "backendError"), BackendUnavailable, "later$"),
        (
            (502, "<html>Bad gateway", {"Content-Type": "text/html"}),
            BackendUnavailable,
            "later, and check endpoint_url",
        ),
        (error(408, "requestTimeout"), BackendTimeout, ""),
        (error(400, "invalid"), ConfigurationError, "HTTP 400 invalid.*storage_class"),
        (error(400, "confidential!"), ConfigurationError, "HTTP 400[^!]*check"),
        ((400, "<html>Bad request"), ConfigurationError, "endpoint_url"),
        ((403, "canary does not have access", {"Content-Type": "text/html"}), AccessDenied, "storage.objects.get"),
        ((405, {"error": "canary"}), ConfigurationError, "endpoint_url"),
        ((404, {"error": "canary"}), ConfigurationError, "endpoint_url.*bucket 'bucket' is missing|endpoint_url"),
        (error(404, "notFound"), ConfigurationError, "bucket 'bucket' does not exist; create it"),
    ],
)
def test_an_error_says_what_to_do(at, answer, kind, says):
    found = failure(at(answer).get, "confidential")
    assert type(found) is kind
    assert re.search(says, str(found))


@pytest.mark.parametrize(
    ("operation", "permission"),
    [
        ("put", "storage.objects.create"),
        ("head", "storage.objects.get"),
        ("remove", "storage.objects.delete"),
        ("remove_many", "storage.objects.delete"),
        ("ping", "storage.objects.list"),
        ("apply_lifecycle", "storage.buckets.get"),
    ],
)
def test_a_denied_action_names_the_permission(at, operation, permission):
    backend = at(error(403, "forbidden"))
    call = {
        "put": lambda: backend.put("k", entry("k")),
        "head": lambda: backend.head("k"),
        "remove": lambda: backend.objects.remove("k", deadline=None),
        "remove_many": lambda: backend.objects.remove_many({"k": None}, deadline=None),
    }.get(operation, lambda: getattr(backend, operation)())
    assert permission in str(failure(call))
    assert len(backend.web.asked) == 1


def test_a_larger_object_than_the_store_takes_is_too_large(at):
    assert isinstance(failure(at(error(413, "uploadTooLarge")).put, "k", entry("k")), EntryTooLarge)


def test_a_name_that_is_written_too_often_is_unavailable_for_now(at):
    found = failure(at(error(429, "rateLimitExceeded")).put, "k", entry("k"))
    assert isinstance(found, BackendUnavailable)


def test_a_conflict_of_conditional_writes_is_tried_once_more(at):
    backend = at(error(409, "conflict"), (200, OBJECT))
    assert backend.put("k", entry("k"), if_absent=True) is True


def test_a_second_conflict_is_a_lost_race(at):
    backend = at(error(409, "conflict"))
    assert backend.put("k", entry("k"), if_match="1") is False
    assert len(backend.web.asked) == 2


@pytest.mark.parametrize("operation", ["get", "head", "put", "delete", "get_many", "delete_many", "scan", "ping"])
def test_a_missing_bucket_is_a_configuration_error_in_every_operation(make, operation):
    backend = make(bucket="no-such-bucket")
    calls = {"put": lambda: backend.put("k", entry("k")), "ping": backend.ping, "scan": lambda: list(backend.scan())}
    argument = ["k"] if operation.endswith("many") else "k"
    call = calls.get(operation, lambda: getattr(backend, operation)(argument))
    with pytest.raises((ConfigurationError, PartialFailure)) as caught:
        call()
    assert "bucket 'no-such-bucket' does not exist" in str(caught.value)


def test_whether_the_bucket_is_there_is_asked_once(backend, sent):
    for _ in range(3):
        assert backend.get("absent") is None
        assert backend.head("absent") is None
    assert sent == {READ: 3, STAT: 3, LIST: 1}


def test_without_the_permission_to_list_a_missing_object_of_a_bucket_that_is_there_is_a_miss(at):
    def answer(asked):
        return error(403, "forbidden") if urlsplit(asked.path).path.endswith("/o") else error(404, "notFound")

    backend = at(answer)
    assert backend.get("k") is None
    assert backend.get("k") is None
    assert len(backend.web.asked) == 3


@pytest.mark.parametrize(
    "item",
    [{}, {"name": "p/k", "size": "many"}, {"name": "p/k", "size": None}, {"name": "p/k", "metadata": ["x"]}, "p/k", 7],
)
def test_an_object_that_is_described_otherwise_than_google_does_is_no_answer_of_a_store(at, item):
    backend = at((200, item), (200, {"kind": "storage#objects", "items": [item]}), prefix="p")
    assert "endpoint_url" in str(failure(backend.head, "k"))
    assert "endpoint_url" in str(failure(list, backend.scan()))


# Batches

BATCHED = {"Content-Type": "multipart/mixed; boundary=batch_x"}


def batched(*statuses, body=""):
    parts = (
        f"--batch_x\r\nContent-Type: application/http\r\nContent-ID: <response-delete+{number}>\r\n\r\n"
        f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\n\r\n{body}\r\n"
        for number, status in enumerate(statuses)
    )
    return "".join(parts) + "--batch_x--\r\n"


def test_keys_that_a_batch_could_not_delete_are_named(at):
    denied = json.dumps(error(403, "objectUnderActiveHold")[1])
    answer = batched("403 Forbidden", "503 Unavailable", "404 Not Found", "204 No Content", body=denied)
    backend = at((200, answer, BATCHED), (200, {"kind": "storage#objects"}), prefix="p")
    with pytest.raises(PartialFailure) as caught:
        backend.delete_many(["a/1", "b", "c", "d"])
    failed = {key: type(error) for key, error in caught.value.failed.items()}
    assert failed == {"a/1": AccessDenied, "b": BackendUnavailable}
    assert "objectUnderActiveHold" in str(caught.value.failed["a/1"])
    assert caught.value.results == 2
    assert keys.object_name("a/1").replace("%", "%25").encode() in backend.web.asked[0].body


@pytest.mark.parametrize(
    "answer",
    [
        (200, batched("204 No Content"), BATCHED),
        (200, "Welcome", {"Content-Type": "text/html"}),
        (200, "", BATCHED),
        (200, batched("nonsense", "nonsense"), BATCHED),
    ],
)
def test_an_answer_that_does_not_fit_the_batch_deletes_nothing_in_our_eyes(at, answer):
    found = failure(at(answer).delete_many, ["a", "b"])
    assert isinstance(found, ConfigurationError)
    assert "endpoint_url" in str(found)


def test_a_batch_that_fails_as_a_whole_fails_for_each_key(at):
    with pytest.raises(PartialFailure) as caught:
        at(error(503, "backendError")).delete_many(["a", "b"])
    assert {type(error) for error in caught.value.failed.values()} == {BackendUnavailable}
    assert set(caught.value.failed) == {"a", "b"}


# Lifecycle


RULE = {"action": {"type": "Delete"}, "condition": {"daysSinceCustomTime": 0, "matchesPrefix": ["p/"]}}
THEIRS = [
    {"action": {"type": "Delete"}, "condition": {"age": 7, "matchesPrefix": ["logs/"]}},
    {"action": {"type": "SetStorageClass", "storageClass": "NEARLINE"}, "condition": {"matchesPrefix": ["p/"]}},
    {"action": {"type": "Delete"}, "condition": {"age": 7, "matchesPrefix": ["p/", "q/"]}},
    {"action": {"type": "Delete"}, "condition": {"age": 365}},
    {"action": {"type": "Delete"}, "condition": {"age": 7, "isLive": False, "matchesPrefix": ["p/"]}},
    {"action": {"type": "Delete"}, "condition": {"age": 7, "matchesSuffix": [".tmp"], "matchesPrefix": ["p/"]}},
]


@pytest.fixture
def rules(at):
    """A function that returns a backend of a bucket with these rules; `backend.web.rules` are what it has then."""

    def make_one(given, **options):
        backend = at((200, {}), **options)
        backend.web.rules = given

        def answer(asked):
            if asked.method == "PATCH":
                backend.web.rules = json.loads(asked.body)["lifecycle"]["rule"]
            return 200, ({"lifecycle": {"rule": backend.web.rules}} if backend.web.rules else {})

        backend.web.answers = [answer]
        return backend

    return make_one


def test_expired_entries_go_by_their_own_time_and_other_rules_stay(rules):
    backend = rules(THEIRS, prefix="p")
    change = backend.apply_lifecycle()
    assert change.applied
    assert backend.web.rules == [*THEIRS, RULE]
    assert not backend.apply_lifecycle()


def test_entries_that_never_expire_can_be_given_an_age(rules):
    backend = rules([], prefix="p")
    backend.apply_lifecycle(expire_after="30d")
    aged = {"action": {"type": "Delete"}, "condition": {"age": 30, "matchesPrefix": ["p/"]}}
    assert backend.web.rules == [RULE, aged]
    change = backend.apply_lifecycle(expire_after="60d")
    assert [rule["condition"].get("age") for rule in backend.web.rules] == [None, 60]
    assert (len(change.removed), len(change.added)) == (1, 1)
    backend.apply_lifecycle()
    assert backend.web.rules == [RULE]


def test_the_rules_of_a_whole_bucket_are_known_by_their_form(rules):
    backend = rules(THEIRS)
    backend.apply_lifecycle(expire_after="30d")
    ours = [{"daysSinceCustomTime": 0}, {"age": 30, "isLive": True}]
    assert backend.web.rules == [*THEIRS, *({"action": {"type": "Delete"}, "condition": each} for each in ours)]
    backend.apply_lifecycle()
    assert [rule["condition"] for rule in backend.web.rules[len(THEIRS) :]] == ours[:1]


def test_rules_that_may_be_read_and_not_written_name_the_permission(at):
    backend = at((200, {}), error(403, "forbidden"))
    assert "storage.buckets.update" in str(failure(backend.apply_lifecycle))


# A line for people who look into the bucket


def test_a_real_object_can_be_read_with_nothing_but_the_sdk(backend, raw):
    key = f"chat:model:{uuid.uuid4().hex}"
    backend.put(key, entry(key, attributes={"model": "m", "price": 0.25}))
    blob = raw.get_blob(backend.prefix + key)
    assert json.loads(blob.metadata["attributes"]) == {"model": "m", "price": 0.25}
