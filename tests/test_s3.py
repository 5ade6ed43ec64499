"""`S3Backend`: what it sends to S3, what it makes of S3's answers, and how it behaves when there are none."""

from __future__ import annotations

import contextlib
import datetime
import http.server
import json
import logging
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
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import boto3
import pytest
from botocore.stub import Stubber
from moto import mock_aws

from tests.peers import drip, drip_body, failure, silence, timed, under_tls
from tiercache import envelope, keys
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
from tiercache.objectstore.faults import Conflict, Refused
from tiercache_s3 import S3Backend, S3StorageClass

BUCKET = "bucket"
CANARY = "canary/secret+key=0123456789"
TOKEN = "canary-session-token"
WHEN = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)
SESSION = boto3.session.Session()  # one: it reads the description of the API once


def entry(key, payload=b"payload", **fields):
    return Entry(payload, Metadata(key=key, created_at=time.time(), size=len(payload), **fields))


def client_of(backend):
    return backend.objects._client.get()


def requests_of(backend):
    """Count the requests that the backend sends from now on, by operation; `last` keeps each one's headers."""
    sent = Counter()
    sent_headers = {}

    def count(request, event_name, **_):
        operation = event_name.rpartition(".")[2]
        sent[operation] += 1
        sent_headers[operation] = {
            name.lower(): value.decode() if isinstance(value, bytes) else value
            for name, value in request.headers.items()
        }

    client_of(backend).meta.events.register_first("before-send.s3", count)
    return sent, sent_headers


@pytest.fixture
def aws():
    """A client of moto, and an empty bucket."""
    with mock_aws():
        client = SESSION.client("s3", region_name="us-east-1", aws_access_key_id="test", aws_secret_access_key="test")
        client.create_bucket(Bucket=BUCKET)
        yield client


@pytest.fixture
def make(aws):
    with contextlib.ExitStack() as stack:

        def make(**options):
            options = {"region": "us-east-1", "access_key_id": "test", "secret_access_key": "test"} | options
            return stack.enter_context(contextlib.closing(S3Backend(options.pop("bucket", BUCKET), **options)))

        yield make


@pytest.fixture
def backend(make):
    return make(timeout=60)


def connection_to(server):
    return {
        "endpoint_url": server.endpoint_url,
        "access_key_id": server.access_key,
        "secret_access_key": server.secret_key,
        "region": server.region,
    }


@pytest.fixture(scope="module")
def real_bucket(s3_server):
    """A bucket on a real server: one for all, as each takes volumes of its own there."""
    name = f"bucket-{uuid.uuid4().hex[:12]}"
    with contextlib.closing(S3Backend(name, timeout=30, **connection_to(s3_server))) as backend:
        client_of(backend).create_bucket(Bucket=name)
    return name


@pytest.fixture
def make_real(s3_server, real_bucket):
    """A function that makes backends on a real server, below a prefix of this test."""
    prefix = uuid.uuid4().hex
    with contextlib.ExitStack() as stack:

        def make_real(**options):
            options = {"bucket": real_bucket, "prefix": prefix, "timeout": 30} | connection_to(s3_server) | options
            return stack.enter_context(contextlib.closing(S3Backend(**options)))

        yield make_real


@pytest.fixture
def real(make_real):
    return make_real()


# Making one


def run_without_boto3(code):
    without = "import sys; sys.modules['boto3'] = None; sys.modules['botocore'] = None\n"
    path = os.pathsep.join(p for p in sys.path if p)
    return subprocess.run(
        [sys.executable, "-c", without + code], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path}
    )


def test_it_can_be_imported_without_boto3_and_says_what_to_install():
    done = run_without_boto3(
        "from tiercache_s3 import S3Backend, S3StorageClass\n"
        "from tiercache.errors import MissingExtra\n"
        "try:\n    S3Backend('bucket')\nexcept MissingExtra as error:\n    print(error)"
    )
    assert done.stdout.strip() == "S3Backend needs a package that is not installed: install tiercache[s3]", done.stderr


def test_the_constructor_makes_no_client_and_connects_to_nothing(monkeypatch):
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: pytest.fail("looked up a name"))
    backend = S3Backend("no-such-bucket", endpoint_url="http://store.invalid")
    assert backend.objects._client._client is None
    backend.close()


@pytest.mark.parametrize("storage_class", ["STANDARD", S3StorageClass.GLACIER_IR, "EXPRESS_ONEZONE"])
def test_classes_that_answer_at_once_are_taken(storage_class):
    assert S3Backend(BUCKET, storage_class=storage_class).storage_class == storage_class


@pytest.mark.parametrize(
    ("storage_class", "advice"),
    [
        ("GLACIER", "minutes to hours.*GLACIER_IR"),
        ("DEEP_ARCHIVE", "12 to 48 hours.*GLACIER_IR"),
        ("OUTPOSTS", "choose STANDARD"),
        ("SNOW", "choose STANDARD"),
        ("FSX_OPENZFS", "choose STANDARD"),
        ("FSX_ONTAP", "choose STANDARD"),
    ],
)
def test_classes_that_cannot_serve_a_cache_are_refused_with_advice(storage_class, advice):
    with pytest.raises(ConfigurationError, match=advice):
        S3Backend(BUCKET, storage_class=storage_class)


def test_an_unknown_class_is_refused_with_those_that_can_be_used():
    with pytest.raises(ConfigurationError) as caught:
        S3Backend(BUCKET, storage_class="COLD")
    message = str(caught.value)
    assert all(name in message for name in ("STANDARD", "ONEZONE_IA", "EXPRESS_ONEZONE", "GLACIER_IR"))
    assert "DEEP_ARCHIVE" not in message


def test_every_class_of_the_sdk_is_known(backend):
    shape = client_of(backend).meta.service_model.shape_for("StorageClass")
    assert set(shape.enum) <= {member.value for member in S3StorageClass}


@pytest.mark.parametrize(
    "options",
    [
        {"bucket": ""},
        {"bucket": "s3://bucket/prefix"},
        {"access_key_id": "key", "secret_access_key": None},
        {"access_key_id": None, "secret_access_key": CANARY},
        {"access_key_id": None, "secret_access_key": None, "session_token": TOKEN},
        {"sse": "AES"},
        {"kms_key_id": "key"},
        {"kms_key_id": "key", "sse": "AES256"},
        {"checksums": "always"},
        {"max_concurrency": 0},
        {"max_entry_bytes": "much"},
        {"timeout": -1},
        {"prefix": "/a"},
    ],
)
def test_bad_options_are_refused_without_repeating_secrets(options):
    with pytest.raises(ConfigurationError) as caught:
        S3Backend(**{"bucket": BUCKET} | options)
    assert "canary" not in str(caught.value)


def test_from_env_reads_the_variables():
    env = {
        "TIERCACHE_S3_BUCKET": "mine",
        "TIERCACHE_S3_PREFIX": "cache",
        "AWS_DEFAULT_REGION": "eu-west-1",
        "AWS_ENDPOINT_URL": "http://store.invalid",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": CANARY,
        "AWS_SESSION_TOKEN": "",
    }
    backend = S3Backend.from_env(env)
    client = client_of(backend)
    assert (backend.bucket, backend.prefix) == ("mine", "cache/")
    assert (client.meta.region_name, client.meta.endpoint_url) == ("eu-west-1", "http://store.invalid")
    assert client._request_signer._credentials.secret_key == CANARY
    backend.close()


def test_from_env_without_a_bucket_names_the_variable():
    with pytest.raises(ConfigurationError, match="TIERCACHE_S3_BUCKET"):
        S3Backend.from_env({"TIERCACHE_S3_BUCKET": ""})


def test_options_of_from_env_come_before_the_variables():
    assert S3Backend.from_env({"TIERCACHE_S3_BUCKET": "theirs"}, bucket="mine").bucket == "mine"


def test_a_url_names_bucket_and_prefix():
    arguments = S3Backend.url_arguments(urlsplit("s3://my-bucket/tiercache/a%20b"))
    assert arguments == {"bucket": "my-bucket", "prefix": "tiercache/a b"}
    with pytest.raises(ConfigurationError) as caught:
        S3Backend.url_arguments(urlsplit("s3://key:canary@my-bucket/"))
    assert "canary" not in str(caught.value)


# The client


def test_the_sdk_neither_retries_nor_waits_longer_than_the_tier(make):
    backend = make()
    backend.timeout = 0.7
    config = client_of(backend).meta.config
    assert (config.connect_timeout, config.read_timeout) == (0.7, 0.7)
    assert config.retries == {"total_max_attempts": 1, "mode": "standard"}


def test_the_sdk_has_a_connection_for_each_thread_and_says_who_asks(make):
    config = client_of(make(max_concurrency=40)).meta.config
    assert config.max_pool_connections >= 2 * 40
    assert config.tcp_keepalive
    assert re.search(r"tiercache/\d", config.user_agent_extra)


@pytest.mark.parametrize(
    ("options", "checksums", "style"),
    [
        ({}, "when_supported", "auto"),
        ({"endpoint_url": "http://store.invalid"}, "when_required", "path"),
        ({"endpoint_url": "http://s.invalid", "checksums": "when_supported", "path_style": False}, None, "auto"),
    ],
)
def test_other_endpoints_than_amazons_get_paths_and_only_the_checksums_that_must_be(make, options, checksums, style):
    config = client_of(make(**options)).meta.config
    assert config.request_checksum_calculation == (checksums or "when_supported")
    assert config.s3["addressing_style"] == style


def test_one_client_is_made_however_many_threads_come_first(make, monkeypatch):
    import tiercache_s3.client as module

    made, build = [], module.build
    monkeypatch.setattr(module, "build", lambda *arguments: made.append(1) or build(*arguments))
    backend, start = make(), threading.Barrier(8)

    def first():
        start.wait(30)
        client_of(backend)

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


def test_a_forked_child_makes_its_own_client_and_the_parents_goes_on(real):
    real.put("k", entry("k"))
    before = client_of(real)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # later Pythons warn of forking beside threads
        child = os.fork()
    if child == 0:
        signal.alarm(60)
        code = 1
        with contextlib.suppress(BaseException):
            got = real.get_many(["k", "absent"])
            code = 0 if got["k"].payload == b"payload" and client_of(real) is not before else 2
        os._exit(code)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert client_of(real) is before
    assert real.get("k").payload == b"payload"


# Requests


def test_each_operation_sends_what_it_must(backend):
    sent, _ = requests_of(backend)
    backend.put("k", entry("k"))
    backend.get("k")
    backend.head("k")
    backend.get("absent")
    assert sent == {"PutObject": 1, "GetObject": 2, "HeadObject": 1}
    sent.clear()
    backend.delete("k")
    assert sent == {"HeadObject": 1, "DeleteObject": 1}
    sent.clear()
    backend.ping()
    assert sent == {"ListObjectsV2": 1}


def test_batches_send_a_get_for_each_key_and_a_delete_for_each_thousand(backend):
    backend.put("k7", entry("k7"))
    sent, _ = requests_of(backend)
    found = backend.get_many([f"k{number}" for number in range(100)])
    assert list(found) == ["k7"]
    assert sent == {"GetObject": 100}
    sent.clear()
    assert backend.delete_many([f"k{number}" for number in range(1500)]) == 1500
    assert sent == {"DeleteObjects": 2}


def test_more_than_a_page_is_listed_whole(backend, aws):
    for number in range(1001):
        aws.put_object(Bucket=BUCKET, Key=f"k{number:04}", Body=b"x")
    sent, _ = requests_of(backend)
    assert len(list(backend.scan("k"))) == 1001
    assert sent == {"ListObjectsV2": 2}
    sent.clear()
    assert backend.clear("k") == 1001
    assert sent == {"ListObjectsV2": 2, "DeleteObjects": 2}


def test_an_object_has_the_class_the_type_and_the_metadata_of_its_entry(make, aws):
    backend = make(prefix="cache", storage_class="ONEZONE_IA", typical_entry_bytes="1MiB")
    backend.put("a/b", entry("a/b", tags=("doc:7",), attributes={"model": "m"}))
    raw = aws.head_object(Bucket=BUCKET, Key="cache/a%2Fb")
    assert raw["StorageClass"] == "ONEZONE_IA"
    assert raw["ContentType"] == "application/vnd.tiercache.entry"
    assert raw["Metadata"]["tags"] == '["doc:7"]'
    assert raw["Metadata"]["attributes"] == '{"model":"m"}'
    for found in (backend.get("a/b").metadata, backend.head("a/b"), dict(backend.scan())["a/b"]):
        assert (found.storage_class, found.etag) == ("ONEZONE_IA", raw["ETag"])


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, {}),
        ({"sse": "AES256"}, {"x-amz-server-side-encryption": "AES256"}),
        (
            {"sse": "aws:kms", "kms_key_id": "my-key"},
            {"x-amz-server-side-encryption": "aws:kms", "x-amz-server-side-encryption-aws-kms-key-id": "my-key"},
        ),
    ],
)
def test_encryption_is_asked_for_with_each_write(make, options, expected):
    backend = make(**options)
    _, headers = requests_of(backend)
    backend.put("k", entry("k"))
    sent = {name: text for name, text in headers["PutObject"].items() if "encryption" in name}
    assert sent == expected


def test_a_write_does_not_ask_whether_it_may(backend):
    _, headers = requests_of(backend)
    backend.put("k", entry("k"))
    assert "expect" not in headers["PutObject"]


def test_the_largest_mirror_is_taken_by_a_real_server_and_read_back(real):
    tags = tuple(f"a  tag of two spaces, {number}" for number in range(51))
    real.put("k", entry("k", tags=tags, codec="ndarray;<f4;384", attributes={"größe": "naïve"}))
    raw = client_of(real).head_object(Bucket=real.bucket, Key=real.prefix + "k")["Metadata"]
    assert sum(len(name) + len(text) for name, text in raw.items()) > 1500
    head = real.head("k")
    assert (head.tags, head.attributes, head.codec) == (tags, {"größe": "naïve"}, "ndarray;<f4;384")


def test_a_bulk_delete_carries_the_checksum_that_every_store_knows(real):
    real.put("k", entry("k"))
    _, headers = requests_of(real)
    assert real.delete_many(["k", "absent"]) == 2
    assert "content-md5" in headers["DeleteObjects"]
    assert not [name for name in headers["DeleteObjects"] if "crc" in name]
    assert real.get("k") is None


def test_the_storage_class_stands_on_the_object_of_a_real_server(make_real):
    backend = make_real(storage_class="STANDARD_IA", typical_entry_bytes="1MiB")
    backend.put("k", entry("k"))
    raw = client_of(backend).head_object(Bucket=backend.bucket, Key=backend.prefix + "k")
    assert raw["StorageClass"] == "STANDARD_IA"
    assert backend.get("k").metadata.storage_class == "STANDARD_IA"


def test_a_listing_without_times_is_a_listing(make):
    backend = make(prefix="cache")
    with Stubber(client_of(backend)) as stub:
        stub.add_response("list_objects_v2", {"Contents": [{"Key": "cache/k", "Size": 1}]})
        assert [(key, found.created_at) for key, found in backend.scan()] == [("k", 0.0)]


def test_a_directory_bucket_is_listed_by_whole_directories(make):
    name = "bucket--use1-az4--x-s3"
    backend = make(bucket=name, prefix="cache", storage_class="EXPRESS_ONEZONE")
    with Stubber(client_of(backend)) as stub:
        contents = [{"Key": f"cache/{key}", "Size": 1, "LastModified": WHEN} for key in ("doc1", "other")]
        stub.add_response("list_objects_v2", {"Contents": contents}, {"Bucket": name, "Prefix": "cache/"})
        assert [key for key, _ in backend.scan("doc")] == ["doc1"]


def test_a_directory_bucket_begins_no_listing_after_a_name(make):
    name = "bucket--use1-az4--x-s3"
    backend = make(bucket=name, storage_class="EXPRESS_ONEZONE")
    assert backend.objects.lists_from is False
    with Stubber(client_of(backend)) as stub:
        contents = [{"Key": f"cache/{key}", "Size": 1, "LastModified": WHEN} for key in ("c", "a", "b")]
        stub.add_response("list_objects_v2", {"Contents": contents}, {"Bucket": name, "Prefix": "cache/"})
        page, _ = backend.objects.list_page("cache/", None, after="cache/a", deadline=None)
    assert [info.name for info in page] == ["cache/c", "cache/b"]


# What stands in the bucket


def test_an_object_copied_to_another_keys_name_is_a_miss(backend, aws):
    backend.put("one", entry("one"))
    aws.copy_object(Bucket=BUCKET, Key="two", CopySource={"Bucket": BUCKET, "Key": "one"})
    for read in (backend.get, backend.head):
        with pytest.raises(CorruptEntry):
            read("two")
    with pytest.raises(PartialFailure) as caught:
        backend.get_many(["one", "two"])
    assert list(caught.value.results) == ["one"]


def test_of_a_body_that_is_longer_than_its_length_says_no_more_is_read_than_an_entry_may_have(serve):
    sent = []

    def endless(peer, stop):
        peer.recv(65536)
        peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n")
        while not stop.is_set():
            peer.sendall(b"100000\r\n" + bytes(2**20) + b"\r\n")
            sent.append(2**20)

    with contextlib.closing(to(serve(endless), timeout=30, max_entry_bytes="1MiB")) as backend:
        assert isinstance(failure(backend.get, "k"), CorruptEntry)
    assert sum(sent) < 64 * 2**20


@pytest.mark.parametrize("storage_class", ["GLACIER", "DEEP_ARCHIVE"])
def test_an_archived_object_is_a_miss(backend, aws, storage_class):
    backend.put("k", entry("k"))
    raw = aws.get_object(Bucket=BUCKET, Key="k")
    body, metadata = raw["Body"].read(), raw["Metadata"]
    aws.put_object(Bucket=BUCKET, Key="k", Body=body, Metadata=metadata, StorageClass=storage_class)
    assert backend.get("k") is None
    assert backend.head("k") is None
    assert backend.get_many(["k"]) == {}
    assert list(backend.scan()) == []


def test_an_archived_object_is_replaced_by_the_next_write_if_absent(backend, aws):
    aws.put_object(Bucket=BUCKET, Key="k", Body=b"old", StorageClass="GLACIER")
    assert backend.put("k", entry("k"), if_absent=True) is True
    assert backend.get("k").payload == b"payload"


@pytest.mark.parametrize("body", [b"", b"TIER", b"{}", b"x" * 5000])
def test_a_foreign_object_is_corrupt_and_leaks_nothing(backend, aws, body):
    aws.put_object(Bucket=BUCKET, Key="confidential", Body=body, Metadata={"mine": "yes"})
    for read in (backend.get, backend.head):
        with pytest.raises(CorruptEntry) as caught:
            read("confidential")
        assert "confidential" not in str(caught.value)
    assert backend.delete("confidential") is False
    assert backend.get("confidential") is None


def test_a_huge_foreign_object_is_refused_by_its_length_and_the_connection_stays_usable(make_real):
    backend = make_real(max_entry_bytes="64KiB")
    client_of(backend).put_object(Bucket=backend.bucket, Key=backend.prefix + "k", Body=bytes(8 * 2**20))
    with pytest.raises(CorruptEntry, match="8,388,608 bytes"):
        backend.get("k")
    backend.put("other", entry("other"))
    assert backend.get("other").payload == b"payload"


# S3's errors


@pytest.fixture
def answering(make):
    """A function that returns a backend whose next answers are these errors."""
    with contextlib.ExitStack() as stack:

        def answering(*answers, **options):
            backend = make(**options)
            stub = stack.enter_context(Stubber(client_of(backend)))
            for operation, code, status in answers:
                stub.add_client_error(operation, code, "canary message about confidential", http_status_code=status)
            return backend

        yield answering


@pytest.mark.parametrize(
    ("code", "status", "error", "says"),
    [
        ("NoSuchBucket", 404, ConfigurationError, "bucket 'bucket' does not exist; create it"),
        ("AccessDenied", 403, AccessDenied, "s3:GetObject.*s3:ListBucket"),
        ("InvalidAccessKeyId", 403, AccessDenied, "credentials"),
        ("SignatureDoesNotMatch", 403, AccessDenied, "secret access key"),
        ("ExpiredToken", 400, AccessDenied, "renew"),
        ("RequestTimeTooSkewed", 403, AccessDenied, "clock"),
        ("SlowDown", 503, BackendUnavailable, "later"),
        ("InternalError", 500, BackendUnavailable, "later"),
        ("TooManyRequests", 429, BackendUnavailable, "later"),
        ("502", 502, BackendUnavailable, "later"),
        ("RequestTimeout", 400, BackendTimeout, ""),
        ("PermanentRedirect", 301, ConfigurationError, "another region"),
        ("InvalidRequest", 400, ConfigurationError, "checksums"),
        ("NotImplemented", 501, BackendUnavailable, "later"),
        ("MethodNotAllowed", 405, ConfigurationError, "endpoint_url"),
        ("404", 404, ConfigurationError, "endpoint_url"),
    ],
)
def test_an_error_says_what_to_do(answering, code, status, error, says):
    found = failure(answering(("get_object", code, status)).get, "confidential")
    assert type(found) is error
    assert re.search(says, str(found))


@pytest.mark.parametrize(
    ("operation", "action"),
    [("put_object", "s3:PutObject"), ("head_object", "s3:GetObject"), ("delete_objects", "s3:DeleteObject")],
)
def test_a_denied_action_is_named(answering, operation, action):
    backend = answering((operation, "AccessDenied", 403))
    call = {
        "put_object": lambda: backend.put("k", entry("k")),
        "head_object": lambda: backend.head("k"),
        "delete_objects": lambda: backend.objects.remove_many({"k": None}, deadline=None),
    }[operation]
    assert action in str(failure(call))


def test_a_listing_that_is_denied_names_its_action(answering):
    assert "s3:ListBucket" in str(failure(answering(("list_objects_v2", "AccessDenied", 403)).ping))


def test_the_right_region_is_named_when_the_answer_tells_it(make):
    for answer in (
        {
            "service_error_code": "PermanentRedirect",
            "response_meta": {"HTTPHeaders": {"x-amz-bucket-region": "eu-x-1"}},
        },
        {"service_error_code": "AuthorizationHeaderMalformed", "service_message": "wrong; expecting 'eu-x-1'"},
        {"service_error_code": "AuthorizationHeaderMalformed", "expected_params": None},
    ):
        backend = make()
        with Stubber(client_of(backend)) as stub:
            named = "expected_params" not in answer
            answer.pop("expected_params", None)
            stub.add_client_error("get_object", http_status_code=301 if "response_meta" in answer else 400, **answer)
            found = failure(backend.get, "k")
        assert isinstance(found, ConfigurationError)
        assert ("region='eu-x-1'" in str(found)) is named


@pytest.mark.parametrize("status", [301, 400, 403, 500])
def test_no_text_of_a_server_is_repeated_in_place_of_a_code_or_a_region(make, status):
    backend, text = make(), "canary\nconfidential"
    with Stubber(client_of(backend)) as stub:
        headers = {"HTTPHeaders": {"x-amz-bucket-region": text}}
        stub.add_client_error("get_object", text, text, http_status_code=status, response_meta=headers)
        failure(backend.get, "confidential")


def test_a_larger_object_than_s3_takes_is_too_large(answering):
    assert isinstance(failure(answering(("put_object", "EntityTooLarge", 400)).put, "k", entry("k")), EntryTooLarge)


def test_a_class_that_the_bucket_does_not_take_is_explained(answering):
    backend = answering(("put_object", "InvalidStorageClass", 400))
    assert "directory buckets take EXPRESS_ONEZONE" in str(failure(backend.put, "k", entry("k")))


def test_a_conflict_of_conditional_writes_is_tried_once_more(make):
    backend = make()
    with Stubber(client_of(backend)) as stub:
        stub.add_client_error("put_object", "ConditionalRequestConflict", http_status_code=409)
        stub.add_response("put_object", {})
        assert backend.put("k", entry("k"), if_absent=True) is True
        stub.assert_no_pending_responses()


def test_a_second_conflict_is_a_lost_race(make):
    backend = make()
    with Stubber(client_of(backend)) as stub:
        for _ in range(2):
            stub.add_client_error("put_object", "ConditionalRequestConflict", http_status_code=409)
        assert backend.put("k", entry("k"), if_match='"etag"') is False


def test_of_writers_that_conflict_one_wins_and_nobody_fails():
    """No server here answers 409, as S3 does while another conditional write is under way: this one does."""
    writing, conflicts, objects = threading.Lock(), threading.Semaphore(0), {}

    class Conflicting(http.server.BaseHTTPRequestHandler):
        def do_PUT(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if not writing.acquire(blocking=False):
                conflicts.release()
                return self.answer(409, "ConditionalRequestConflict")
            try:
                if objects:
                    return self.answer(412, "PreconditionFailed")
                for _ in range(15):  # the others come while this one writes
                    assert conflicts.acquire(timeout=60)
                objects["body"], objects["headers"] = body, self.headers
            finally:
                writing.release()
            return self.answer(200)

        def do_HEAD(self):
            return self.answer(200 if objects else 404)

        def answer(self, status, code=""):
            body = f"<Error><Code>{code}</Code></Error>".encode() if code else b""
            self.send_response(status)
            self.send_header("ETag", '"one"')
            self.send_header("Content-Length", str(len(body)))
            for name, text in objects.get("headers", {}).items():
                if name.lower().startswith("x-amz-meta-"):
                    self.send_header(name, text)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    class Server(http.server.ThreadingHTTPServer):
        request_queue_size = 64  # five callers may wait otherwise, the others are turned away

    with Server(("127.0.0.1", 0), Conflicting) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        backend, start = to(server.server_port, timeout=60), threading.Barrier(16)
        backend.objects._seen = True  # the bucket is known to be there

        def race(number):
            start.wait(60)
            return backend.put("k", entry("k", b"%d" % number), if_absent=True)

        with ThreadPoolExecutor(16) as pool:
            wrote = list(pool.map(race, range(16)))
        server.shutdown()
    backend.close()
    assert wrote.count(True) == 1
    assert envelope.decode(objects["body"], "k").payload == b"%d" % wrote.index(True)


def test_a_bulk_delete_names_the_versions_and_those_that_changed_are_told_apart(make):
    backend = make()
    versions = {"same": '"1"', "changed": '"2"', "raced": '"3"', "gone": '"4"', "any": None}
    named = [{"Key": name, "ETag": etag} if etag else {"Key": name} for name, etag in versions.items()]
    errors = [
        {"Key": "changed", "Code": "PreconditionFailed"},
        {"Key": "raced", "Code": "ConditionalRequestConflict"},
        {"Key": "gone", "Code": "NoSuchKey"},
    ]
    with Stubber(client_of(backend)) as stub:
        expected = {"Bucket": BUCKET, "Delete": {"Objects": named, "Quiet": True}}
        stub.add_response("delete_objects", {"Errors": errors}, expected)
        failed = backend.objects.remove_many(versions, deadline=None)
    assert {name: type(error) for name, error in failed.items()} == {"changed": Refused, "raced": Conflict}


def test_a_conditional_write_over_an_object_that_is_gone_writes_nothing(answering):
    assert answering(("put_object", "NoSuchKey", 404)).put("k", entry("k"), if_match='"etag"') is False


def test_keys_that_a_bulk_delete_could_not_delete_are_named(make):
    backend = make(prefix="p")
    with Stubber(client_of(backend)) as stub:
        errors = [
            {"Key": "p/" + keys.object_name("a/1"), "Code": "AccessDenied", "Message": "denied"},
            {"Key": "p/b", "Code": "InternalError", "Message": "try again"},
            {"Key": "p/c", "Code": "NoSuchKey", "Message": "gone"},
        ]
        stub.add_response("delete_objects", {"Errors": errors})
        with pytest.raises(PartialFailure) as caught:
            backend.delete_many(["a/1", "b", "c", "d"])
    failed = {key: type(error) for key, error in caught.value.failed.items()}
    assert failed == {"a/1": AccessDenied, "b": BackendUnavailable}
    assert caught.value.results == 2


@pytest.mark.parametrize("named", [{}, {"Key": "elsewhere"}])
def test_an_error_of_a_bulk_delete_that_names_none_of_its_keys_is_an_error_of_all(make, named):
    backend = make()
    with Stubber(client_of(backend)) as stub:
        stub.add_response("delete_objects", {"Errors": [{"Code": "InternalError", **named}]})
        with pytest.raises(PartialFailure) as caught:
            backend.delete_many(["a", "b"])
    assert {key: type(error) for key, error in caught.value.failed.items()} == dict.fromkeys("ab", BackendUnavailable)


@pytest.mark.parametrize("operation", ["get", "head", "put", "delete", "get_many", "delete_many", "scan", "ping"])
def test_a_missing_bucket_is_a_configuration_error_in_every_operation(make_real, operation):
    backend = make_real(bucket="no-such-bucket")
    calls = {
        "put": lambda: backend.put("k", entry("k")),
        "ping": backend.ping,
        "scan": lambda: list(backend.scan()),
    }
    argument = ["k"] if operation.endswith("many") else "k"
    call = calls.get(operation, lambda: getattr(backend, operation)(argument))
    with pytest.raises(ConfigurationError, match="bucket 'no-such-bucket' does not exist"):
        call()


# Credentials


@pytest.mark.parametrize("wrong", [{}, {"access_key_id": "unknown"}], ids=["secret", "both"])
def test_wrong_credentials_are_refused_by_a_real_server(make_real, wrong):
    backend = make_real(secret_access_key=CANARY, **wrong)
    for call in (backend.get, backend.head, backend.delete):
        assert isinstance(failure(call, "confidential"), AccessDenied)


def test_without_credentials_the_error_says_how_to_give_them(monkeypatch, tmp_path):
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    backend = S3Backend(BUCKET, region="us-east-1")
    error = failure(backend.get, "confidential")
    assert isinstance(error, AccessDenied)
    assert "AWS_ACCESS_KEY_ID" in str(error)
    with mock_aws():  # sets the variables: the next request finds them
        boto3.client("s3", region_name="us-east-1").create_bucket(Bucket=BUCKET)
        assert backend.get("confidential") is None
    backend.close()


def test_credentials_from_the_environment_are_read_again_when_they_were_refused(aws, monkeypatch):
    backend = S3Backend(BUCKET, region="us-east-1")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "old")
    first = client_of(backend)
    with Stubber(first) as stub:
        stub.add_client_error("get_object", "ExpiredToken", http_status_code=400)
        failure(backend.get, "k")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "new")
    assert backend.get("k") is None
    assert client_of(backend) is not first
    assert client_of(backend)._request_signer._credentials.secret_key == "new"
    backend.close()


def test_an_unknown_profile_is_a_configuration_error():
    backend = S3Backend(BUCKET, profile="no-such-profile")
    assert isinstance(failure(backend.get, "k"), ConfigurationError)
    backend.close()


@pytest.mark.parametrize(
    "options", [{"endpoint_url": "not a url"}, {"bucket": "no spaces in names"}, {"region": "no spaces"}]
)
def test_settings_that_the_sdk_refuses_are_a_configuration_error(make, options):
    assert isinstance(failure(make(**options).get, "confidential"), ConfigurationError)


def test_no_secret_is_in_a_repr_a_log_or_an_error(caplog, free_port):
    caplog.set_level(logging.DEBUG, "tiercache")
    backend = S3Backend(
        BUCKET,
        endpoint_url=f"http://user:{CANARY}@127.0.0.1:{free_port}",
        access_key_id="canary-id",
        secret_access_key=CANARY,
        session_token=TOKEN,
    )
    seen = [
        repr(backend),
        repr(backend.objects),
        repr(backend.objects._client),
        repr(backend.objects._client._build),
    ]
    for call in (backend.get, backend.head, backend.delete, backend.clear):
        seen.append(str(failure(call, "confidential")))
    assert "canary" not in " ".join([*seen, caplog.text])
    backend.close()


# Peers that do not answer


def to(port, scheme="http", **options):
    return S3Backend(
        BUCKET,
        endpoint_url=f"{scheme}://127.0.0.1:{port}",
        access_key_id="key",
        secret_access_key="secret",
        region="us-east-1",
        **{"timeout": 0.5} | options,
    )


def test_a_dead_endpoint_is_unavailable_at_once(free_port):
    backend = to(free_port, timeout=30)
    error, seconds = timed(backend.get, "confidential")
    assert isinstance(error, BackendUnavailable)
    assert seconds < 20
    backend.close()


@pytest.mark.parametrize(
    ("operation", "talk"),
    [
        *((operation, talk) for operation in ("get", "ping") for talk in (silence, drip, drip_body)),
        *((operation, talk) for operation in ("put", "delete") for talk in (silence, drip)),
    ],
)
def test_a_peer_that_is_too_slow_costs_the_timeout_however_it_is_slow(serve, operation, talk):
    backend = to(serve(talk))
    call = {"put": lambda: backend.put("k", entry("k")), "ping": backend.ping}.get(
        operation, lambda: getattr(backend, operation)("k")
    )
    error, seconds = timed(call)
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
    client_of(backend)
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


def test_a_host_with_many_dead_addresses_costs_one_timeout(monkeypatch):
    address = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 1))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: [address] * 20)

    def hang(self, address):
        threading.Event().wait(self.gettimeout())
        raise TimeoutError

    import tiercache.objectstore.sockets as module

    monkeypatch.setattr(module.DeadlineSocket, "connect", hang, raising=False)
    error, seconds = timed(to(1).get, "k")
    assert isinstance(error, BackendTimeout)
    assert seconds < 5


def test_an_answer_that_is_cut_off_is_unavailable(serve):
    def cut(peer, stop):
        peer.recv(65536)
        peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\nETag: x\r\n\r\nTIER")

    backend = to(serve(cut), timeout=30)
    assert isinstance(failure(backend.get, "k"), BackendUnavailable)
    backend.close()


@pytest.mark.parametrize(
    ("status", "error"), [(200, BackendUnavailable), (404, ConfigurationError), (400, ConfigurationError)]
)
def test_an_endpoint_that_is_no_object_store_is_pointed_out(status, error):
    class WebPage(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(status)
            self.end_headers()
            self.wfile.write(b"<html><p>Welcome<br></html>")

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), WebPage) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        backend = to(server.server_port, timeout=30)
        found = failure(backend.ping)
        server.shutdown()
    assert isinstance(found, error)
    assert "endpoint_url" in str(found)
    backend.close()


def test_an_error_is_not_tried_again_and_no_region_is_followed():
    asked = []

    class Redirecting(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            body = b"<Error><Code>SlowDown</Code></Error>"
            status = 503
            if "moved" in self.path:
                status, body = 301, b"<Error><Code>PermanentRedirect</Code></Error>"
            self.send_response(status)
            self.send_header("x-amz-bucket-region", "eu-x-1")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_HEAD = do_GET

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Redirecting) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        backend = to(server.server_port, timeout=30)
        assert isinstance(failure(backend.get, "busy"), BackendUnavailable)
        assert "eu-x-1" in str(failure(backend.get, "moved"))
        server.shutdown()
    assert len(asked) == 2
    backend.close()


# TLS


def test_a_silent_tls_peer_costs_the_timeout(serve):
    backend = to(serve(silence), "https")
    error, seconds = timed(backend.get, "k")
    assert isinstance(error, BackendTimeout)
    assert seconds < 5
    backend.close()


@pytest.mark.parametrize("talk", [silence, drip, drip_body])
def test_a_slow_peer_costs_the_timeout_under_tls_too(serve, certificate, talk, monkeypatch):
    monkeypatch.setenv("AWS_CA_BUNDLE", str(certificate))
    backend = to(serve(under_tls(certificate, talk)), "https")
    error, seconds = timed(backend.get, "k")
    assert isinstance(error, BackendTimeout)
    assert seconds < 5
    backend.close()


def test_an_untrusted_certificate_is_unavailable(serve, certificate):
    backend = to(serve(under_tls(certificate, silence)), "https", timeout=30)
    assert isinstance(failure(backend.get, "confidential"), BackendUnavailable)
    backend.close()


def test_large_entries_pass_through_tls(serve, certificate, monkeypatch):
    stored = {}

    def store(peer, stop):
        stream = peer.makefile("rb")
        while line := stream.readline():
            headers = {}
            while (header := stream.readline().strip()) != b"":
                name, _, text = header.partition(b": ")
                headers[name.lower()] = text
            if line.startswith(b"PUT"):
                stored["body"] = stream.read(int(headers[b"content-length"]))
                peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            else:
                size = len(stored["body"])
                peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + stored["body"])

    monkeypatch.setenv("AWS_CA_BUNDLE", str(certificate))
    backend = to(serve(under_tls(certificate, store)), "https", timeout=30)
    payload = os.urandom(3 * 2**20)
    backend.put("k", entry("k", payload))
    assert backend.get("k").payload == payload
    backend.close()


# A line for people who look into the bucket


def test_a_real_object_can_be_read_with_nothing_but_the_sdk(real):
    key = f"chat:model:{uuid.uuid4().hex}"
    real.put(key, entry(key, attributes={"model": "m", "price": 0.25}))
    raw = client_of(real).head_object(Bucket=real.bucket, Key=real.prefix + key)
    assert json.loads(raw["Metadata"]["attributes"]) == {"model": "m", "price": 0.25}
