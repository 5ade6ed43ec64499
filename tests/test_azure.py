"""`AzureBlobBackend`: what it takes, what it sends to Azure Blob Storage, and what it makes of the blobs there."""

from __future__ import annotations

import base64
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
import traceback
import uuid
import warnings
from collections import Counter
from urllib.parse import parse_qs, quote, unquote, urlsplit

import pytest
from azure.core.credentials import AzureNamedKeyCredential, AzureSasCredential
from azure.core.exceptions import ResourceNotFoundError
from azure.storage.blob import (
    ContainerClient,
    ContainerSasPermissions,
    ContentSettings,
    StandardBlobTier,
    generate_container_sas,
)

from tests.peers import failure
from tiercache import Cache, TierChain, keys
from tiercache.config import tier_from_url
from tiercache.entry import Entry, Metadata
from tiercache.errors import CacheClosed, ConfigurationError, CorruptEntry, PartialFailure, StorageClassWarning
from tiercache.objectstore.faults import Refused
from tiercache_azure import AzureAccessTier, AzureBlobBackend
from tiercache_azure.blobs import blob_name

CANARY = "canary"
KEY = base64.b64encode(b"canary account key").decode()
URL = "https://account.blob.core.windows.net"


def entry(key, payload=b"payload", **fields):
    return Entry(payload, Metadata(key=key, created_at=time.time(), size=len(payload), **fields))


def client_of(backend):
    return backend.objects._client.get()


@pytest.fixture
def make(azure_server, azure_container):
    """A function that makes backends on Azurite, below a prefix of this test."""
    prefix = uuid.uuid4().hex
    with contextlib.ExitStack() as stack:

        def make(**options):
            if not options.keys() & {"account_url", "connection_string"}:
                options["connection_string"] = azure_server.connection_string
            options = {"container": azure_container, "prefix": prefix, "timeout": 30} | options
            return stack.enter_context(contextlib.closing(AzureBlobBackend(**options)))

        yield make


@pytest.fixture
def backend(make):
    return make()


@pytest.fixture
def raw(azure_server, azure_container):
    """The container, through the SDK."""
    with ContainerClient.from_connection_string(azure_server.connection_string, azure_container) as client:
        yield client


@pytest.fixture
def sent(monkeypatch):
    """Counts requests, of whichever backend, by method and `comp`; `headers` keeps each one's, by method."""
    from urllib3.connectionpool import HTTPConnectionPool

    counts, urlopen = Counter(), HTTPConnectionPool.urlopen
    counts.headers = {}

    def counted(self, method, url, *arguments, **options):
        comp = parse_qs(urlsplit(url).query).get("comp", [""])[0]
        counts[f"{method} {comp}".strip()] += 1
        counts.headers[method] = dict(options["headers"])
        return urlopen(self, method, url, *arguments, **options)

    monkeypatch.setattr(HTTPConnectionPool, "urlopen", counted)
    return counts


# Making one


def run_without(modules, code):
    without = f"import sys\nfor name in {modules!r}: sys.modules[name] = None\n"
    path = os.pathsep.join(p for p in sys.path if p)
    return subprocess.run(
        [sys.executable, "-c", without + code], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path}
    )


@pytest.mark.parametrize("place", [f", account_url={URL!r}", ""], ids=["an account", "no account"])
def test_it_can_be_imported_without_the_sdk_and_says_what_to_install(place):
    done = run_without(
        ["azure", "requests", "urllib3"],
        "from tiercache_azure import AzureBlobBackend, AzureAccessTier\n"
        "from tiercache.errors import MissingExtra\n"
        f"try:\n    AzureBlobBackend('container'{place})\n"
        "except MissingExtra as error:\n    print(error)",
    )
    expected = "AzureBlobBackend needs a package that is not installed: install tiercache[azure]"
    assert done.stdout.strip() == expected, done.stderr


def test_without_azure_identity_only_the_default_credential_is_missing():
    done = run_without(
        ["azure.identity"],
        "from tiercache_azure import AzureBlobBackend\n"
        "from tiercache.errors import MissingExtra\n"
        f"AzureBlobBackend('container', account_url={URL!r}, credential={KEY!r}).objects._client.get()\n"
        f"backend = AzureBlobBackend('container', account_url={URL!r})\n"
        "try:\n    backend.get('k')\nexcept MissingExtra as error:\n    print(error)",
    )
    assert "install tiercache[azure]" in done.stdout, done.stderr


def test_the_constructor_makes_no_client_and_connects_to_nothing(monkeypatch):
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: pytest.fail("looked up a name"))
    backend = AzureBlobBackend("container", account_url="https://store.invalid")
    assert backend.objects._client._client is None
    backend.close()


@pytest.mark.parametrize("access_tier", ["Hot", AzureAccessTier.COOL, "Cold"])
def test_tiers_that_answer_at_once_are_taken(access_tier):
    backend = AzureBlobBackend("container", account_url=URL, access_tier=access_tier)
    assert backend.storage_class == access_tier


@pytest.mark.parametrize(
    ("access_tier", "says"),
    [("Archive", "15 hours.*Cold"), ("Smart", "Hot"), ("P10", "Hot"), ("Warm", "Hot.*Cool.*Cold"), ("hot", "Hot")],
)
def test_a_tier_that_cannot_serve_a_cache_is_refused_with_advice(access_tier, says):
    with pytest.raises(ConfigurationError, match=rf"(?s)access_tier='{access_tier}'.*{says}"):
        AzureBlobBackend("container", account_url=URL, access_tier=access_tier)


def test_every_tier_of_the_sdk_is_known():
    assert {tier.value for tier in StandardBlobTier} <= {tier.value for tier in AzureAccessTier}


@pytest.mark.parametrize(
    "options",
    [
        {"container": ""},
        {"container": "az://container/prefix"},
        {"account_url": URL, "connection_string": f"AccountKey={KEY}"},
        {"max_concurrency": 0},
        {"max_entry_bytes": "much"},
        {"timeout": -1},
        {"prefix": "/a"},
        {"prefix": "v1."},
        {"prefix": "v1./b/"},
    ],
)
def test_bad_options_are_refused_without_repeating_secrets(options):
    with pytest.raises(ConfigurationError) as caught:
        AzureBlobBackend(**{"container": "container", "account_url": URL, "credential": KEY} | options)
    assert KEY not in str(caught.value)


def test_an_entry_that_one_request_cannot_take_is_refused_at_once():
    with pytest.raises(ConfigurationError, match="4,984 MiB"):
        AzureBlobBackend("container", account_url=URL, max_entry_bytes="5GiB")
    AzureBlobBackend("container", account_url=URL, max_entry_bytes="4984MiB").close()


# Where the container is


def place_of(backend):
    """Host and account key of the client."""
    client = client_of(backend)
    return client.primary_hostname, getattr(client.credential, "account_key", None)


@pytest.mark.parametrize(
    ("env", "place"),
    [
        ({"AZURE_STORAGE_ACCOUNT": "mine", "AZURE_STORAGE_KEY": KEY}, ("mine.blob.core.windows.net", KEY)),
        (
            {"AZURE_STORAGE_ACCOUNT_URL": "http://127.0.0.1:1/mine", "AZURE_STORAGE_KEY": KEY},
            ("127.0.0.1:1/mine", KEY),
        ),
        (
            {"AZURE_STORAGE_CONNECTION_STRING": f"AccountName=mine;AccountKey={KEY}", "AZURE_STORAGE_ACCOUNT": "no"},
            ("mine.blob.core.windows.net", KEY),
        ),
    ],
)
def test_from_env_reads_the_variables(env, place):
    backend = AzureBlobBackend.from_env(
        env
        | {
            "TIERCACHE_AZURE_CONTAINER": "container",
            "TIERCACHE_AZURE_PREFIX": "cache",
            "TIERCACHE_AZURE_ACCESS_TIER": "Cool",
        }
    )
    assert (backend.container, backend.prefix, backend.storage_class) == ("container", "cache/", "Cool")
    assert place_of(backend) == place
    backend.close()


def test_a_sas_token_of_the_environment_signs_the_requests():
    env = {
        "TIERCACHE_AZURE_CONTAINER": "container",
        "AZURE_STORAGE_ACCOUNT": "mine",
        "AZURE_STORAGE_SAS_TOKEN": "?sv=2025-01-05&sig=canary",
    }
    backend = AzureBlobBackend.from_env(env)
    assert "sig=canary" in client_of(backend).url
    backend.close()


def test_the_constructor_finds_the_account_in_the_environment_too(monkeypatch):
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT", "mine")
    monkeypatch.setenv("AZURE_STORAGE_KEY", KEY)
    backend = AzureBlobBackend("container")
    assert place_of(backend) == ("mine.blob.core.windows.net", KEY)
    backend.close()


def test_a_key_of_the_environment_is_not_sent_to_an_account_that_was_named(monkeypatch):
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT", "mine")
    monkeypatch.setenv("AZURE_STORAGE_KEY", KEY)
    backend = AzureBlobBackend("container", account_url=URL)
    assert place_of(backend) == ("account.blob.core.windows.net", None)
    backend.close()


def test_without_an_account_the_error_names_the_variables():
    for make in (AzureBlobBackend, lambda name: AzureBlobBackend.from_env({"TIERCACHE_AZURE_CONTAINER": name})):
        with pytest.raises(ConfigurationError, match=r"AZURE_STORAGE_CONNECTION_STRING.*AZURE_STORAGE_ACCOUNT"):
            make("container")


def test_from_env_without_a_container_names_the_variable():
    with pytest.raises(ConfigurationError, match="TIERCACHE_AZURE_CONTAINER"):
        AzureBlobBackend.from_env({"TIERCACHE_AZURE_CONTAINER": "", "AZURE_STORAGE_ACCOUNT": "mine"})


def test_options_of_from_env_come_before_the_variables():
    env = {"TIERCACHE_AZURE_CONTAINER": "theirs", "AZURE_STORAGE_CONNECTION_STRING": f"AccountName=a;AccountKey={KEY}"}
    backend = AzureBlobBackend.from_env(env, container="mine", account_url=URL, credential=KEY)
    assert backend.container == "mine"
    assert place_of(backend) == ("account.blob.core.windows.net", KEY)
    backend.close()


def test_a_url_names_container_prefix_and_options():
    tier = tier_from_url(f"az://container/tiercache/a%20b/?account_url={URL}&access_tier=Cool&timeout=5")
    backend = tier.backend
    assert (backend.container, backend.prefix, backend.storage_class) == ("container", "tiercache/a b/", "Cool")
    assert backend.timeout == 5
    assert place_of(backend)[0] == "account.blob.core.windows.net"
    backend.close()


def test_a_url_without_an_account_takes_the_environments(monkeypatch):
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", f"AccountName=mine;AccountKey={KEY}")
    chain = TierChain.from_urls("memory://", "az://container")
    assert place_of(chain.tiers[1].backend) == ("mine.blob.core.windows.net", KEY)
    chain.close()


@pytest.mark.parametrize(
    "url",
    [
        f"az://account:{CANARY}@container/",
        f"az://container:{CANARY}/",
        f"az://container/?connection_string=AccountName%3Da%3BAccountKey%3D{CANARY}",
        f"az://container/?account_url={URL}&credential={CANARY}",
        f"az://container/?account_url={quote(f'{URL}?sv=1&sig={CANARY}', safe='')}",
        f"az://container/?account_url=https%3A%2F%2Fa%3A{CANARY}%40account.blob.core.windows.net",
    ],
)
def test_credentials_in_a_url_are_refused_with_advice(url):
    with pytest.raises(ConfigurationError, match="AZURE_STORAGE_SAS_TOKEN") as caught:
        tier_from_url(url)
    assert CANARY not in "".join(traceback.format_exception(caught.value, chain=True))


# The client


def test_the_sdk_neither_retries_nor_waits_longer_than_the_tier(web):
    store = web((503, "<Error><Code>ServerBusy</Code></Error>", {"x-ms-error-code": "ServerBusy"}))
    backend = AzureBlobBackend("container", account_url=f"{store.url}/account", credential=KEY, timeout=30)
    failure(backend.get, "k")
    failure(backend.put, "k", entry("k"))
    assert len(store.asked) == 2
    assert re.search(r"tiercache/\d", store.asked[0].headers["User-Agent"])
    backend.timeout = 0.7
    backend.objects._client._client = None
    assert client_of(backend)._config.transport.connection_config.read_timeout == 0.7
    backend.close()


def test_a_redirect_is_not_followed(web):
    elsewhere = web((200, b"stolen", {"x-ms-request-id": "1"}))
    store = web((302, b"", {"Location": f"{elsewhere.url}/account/container/k", "x-ms-request-id": "1"}))
    backend = AzureBlobBackend("container", account_url=f"{store.url}/account", credential=KEY, timeout=30)
    assert isinstance(failure(backend.get, "k"), ConfigurationError)
    assert not elsewhere.asked
    backend.close()


def test_a_proxy_of_the_environment_is_used(web, monkeypatch):
    proxy = web((404, b"", {"x-ms-error-code": "BlobNotFound", "x-ms-request-id": "1"}))
    monkeypatch.setenv("http_proxy", proxy.url)
    monkeypatch.setenv("no_proxy", "")
    backend = AzureBlobBackend(
        "container", account_url="http://account.blob.core.windows.net", credential=KEY, timeout=30
    )
    assert backend.get("k") is None
    assert proxy.asked[0].path == "http://account.blob.core.windows.net/container/k"
    backend.close()


def test_credentials_of_a_netrc_file_are_not_sent(web, monkeypatch, tmp_path):
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login canary password canary\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    store = web((404, b"", {"x-ms-error-code": "BlobNotFound", "x-ms-request-id": "1"}))
    backend = AzureBlobBackend("container", account_url=f"{store.url}/account", credential=KEY, timeout=30)
    assert backend.get("k") is None
    assert store.asked[0].headers["Authorization"].startswith("SharedKey account:")
    backend.close()


def test_one_client_is_made_however_many_threads_come_first(monkeypatch):
    import tiercache_azure.client as module

    made, build = [], module.build
    monkeypatch.setattr(module, "build", lambda *arguments: made.append(1) or build(*arguments))
    backend, start = AzureBlobBackend("container", account_url=URL, credential=KEY), threading.Barrier(8)

    def first():
        start.wait(30)
        client_of(backend)

    threads = [threading.Thread(target=first) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert made == [1]
    backend.close()


def test_close_may_be_called_before_use_and_again_and_ends_the_backend(make):
    backend = make()
    backend.close()
    backend.close()
    with pytest.raises(CacheClosed):
        backend.get("k")


def test_a_forked_child_makes_its_own_client_and_the_parents_goes_on(backend):
    backend.put("k", entry("k"))
    before = client_of(backend)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # later Pythons warn of forking beside threads
        child = os.fork()
    if child == 0:
        signal.alarm(60)
        code = 1
        with contextlib.suppress(BaseException):
            got = backend.get_many(["k", "absent"])
            code = 0 if got["k"].payload == b"payload" and client_of(backend) is not before else 2
        os._exit(code)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert client_of(backend) is before
    assert backend.get("k").payload == b"payload"


# Ways to sign in


def sas_of(server, container, permission="rwdlc", seconds=3600):
    from datetime import UTC, datetime, timedelta

    return generate_container_sas(
        server.account_name,
        container,
        account_key=server.account_key,
        permission=ContainerSasPermissions.from_string(permission),
        expiry=datetime.now(UTC) + timedelta(seconds=seconds),
    )


@pytest.mark.parametrize("way", ["key", "named key", "sas", "sas object", "sas in the url"])
def test_each_way_to_sign_in_reads_writes_lists_and_deletes(make, azure_server, azure_container, way):
    sas = sas_of(azure_server, azure_container)
    credential = {
        "key": azure_server.account_key,
        "named key": AzureNamedKeyCredential(azure_server.account_name, azure_server.account_key),
        "sas": sas,
        "sas object": AzureSasCredential(sas),
        "sas in the url": None,
    }[way]
    url = f"{azure_server.account_url}?{sas}" if credential is None else azure_server.account_url
    backend = make(account_url=url, credential=credential)
    backend.put("k", entry("k"))
    assert backend.get("k").payload == b"payload"
    assert backend.head("k").size == 7
    assert [key for key, _ in backend.scan()] == ["k"]
    assert backend.delete_many(["k", "absent"]) == 2
    assert backend.get("k") is None


def test_an_emulator_under_another_name_than_localhost_deletes_in_bulk(make, azure_server, monkeypatch):
    """Docker's name of a container, say: the SDK takes such a path for a container of a real account."""
    real = socket.getaddrinfo
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda host, *rest: real("127.0.0.1" if host == "azurite" else host, *rest)
    )
    elsewhere = azure_server.connection_string.replace("//127.0.0.1", "//azurite")
    backend = make(connection_string=elsewhere)
    backend.put("k", entry("k"))
    assert backend.delete_many(["k"]) == 1
    assert backend.get("k") is None


# Requests


def test_each_operation_sends_what_it_must(backend, sent):
    backend.put("k", entry("k"))
    backend.get("k")
    backend.head("k")
    backend.get("absent")
    assert sent == {"PUT": 1, "GET": 2, "HEAD": 1}
    sent.clear()
    backend.delete("k")
    assert sent == {"HEAD": 1, "DELETE": 1}
    sent.clear()
    backend.ping()
    assert sent == {"GET list": 1}


def test_a_large_entry_is_one_request_too(backend, sent):
    payload = os.urandom(9 * 2**20)  # more than a block, and than a part of a download
    backend.put("k", entry("k", payload))
    assert backend.get("k").payload == payload
    assert sent == {"PUT": 1, "GET": 1}


def test_a_hit_leaves_its_connection_to_the_next(backend):
    from urllib3.connectionpool import HTTPConnectionPool

    backend.put("k", entry("k"))
    made, before = [], HTTPConnectionPool._new_conn
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(HTTPConnectionPool, "_new_conn", lambda pool: made.append(1) or before(pool))
        for _ in range(3):
            backend.get("k")
            backend.get("absent")
    assert not made


def test_batches_send_a_get_for_each_key_and_a_delete_for_each_256(backend, sent):
    backend.put("k7", entry("k7"))
    sent.clear()
    found = backend.get_many([f"k{number}" for number in range(100)])
    assert list(found) == ["k7"]
    assert sent == {"GET": 100}
    sent.clear()
    assert backend.delete_many([f"k{number}" for number in range(300)]) == 300
    assert sent == {"POST batch": 2}


def listing(names, marker=""):
    """A page of a listing."""
    blobs = "".join(
        f"<Blob><Name>{name}</Name><Properties><Last-Modified>Fri, 02 Jan 2026 03:04:05 GMT</Last-Modified><Etag>0x1"
        "</Etag><Content-Length>7</Content-Length><Content-Type>x</Content-Type><BlobType>BlockBlob</BlobType>"
        "<AccessTier>Hot</AccessTier></Properties></Blob>"
        for name in names
    )
    page = f"<EnumerationResults><Blobs>{blobs}</Blobs><NextMarker>{marker}</NextMarker></EnumerationResults>"
    return 200, page, {"Content-Type": "application/xml", "x-ms-request-id": "1"}


def batch_answer(asked, status=lambda name: "202 Accepted"):
    """The answer to a batch: a part for each name."""
    names = [unquote(path.decode()) for path in re.findall(rb"DELETE ([^ ?]+)", asked.body)]
    parts = "".join(
        f"--B\r\nContent-Type: application/http\r\nContent-ID: {number}\r\n\r\nHTTP/1.1 {status(name)}\r\n"
        "x-ms-request-id: 1\r\n\r\n\r\n"
        for number, name in enumerate(names)
    )
    headers = {"Content-Type": "multipart/mixed; boundary=B", "x-ms-request-id": "1"}
    return 202, f"{parts}--B--\r\n", headers


def test_a_sweep_lists_and_deletes_in_bulk_and_looks_at_nothing(backend, sent):
    now = time.time()
    for number in range(3):
        backend.put(f"k{number}", entry(f"k{number}", expires_at=now + 0.5 - number))
    sent.clear()
    backend.clock = lambda: now
    report = backend.sweep()
    assert (report.examined, report.deleted) == (3, 2)
    assert sent == {"GET list": 1, "POST batch": 1}


@pytest.mark.slow
def test_ten_thousand_objects_are_cleared_in_batches_of_256(web):
    deleted = []

    def answer(asked):
        if asked.method == "POST":
            names = re.findall(rb"DELETE (\S+) HTTP", asked.body)
            deleted.extend(names)
            assert len(names) <= 256
            return batch_answer(asked)
        start = int(parse_qs(urlsplit(asked.path).query).get("marker", ["0"])[0])
        assert parse_qs(urlsplit(asked.path).query)["maxresults"] == ["1000"]
        end = start + 1000
        return listing([f"p/k{number:05}" for number in range(start, end)], end if end < 10_000 else "")

    store = web(answer)
    backend = AzureBlobBackend("container", prefix="p", account_url=f"{store.url}/a", credential=KEY, timeout=60)
    assert backend.clear() == 10_000
    assert len(set(deleted)) == 10_000
    assert Counter(asked.method for asked in store.asked) == {"GET": 10, "POST": 40}
    backend.close()


def test_a_blob_has_the_tier_the_type_and_the_metadata_of_its_entry(make, raw):
    backend = make(access_tier="Cool")
    with pytest.warns(StorageClassWarning, match="Cool"):
        backend.put("a/b", entry("a/b", tags=("doc:7",), attributes={"model": "m"}))
    found = raw.get_blob_client(backend.prefix + "a%2Fb").get_blob_properties()
    assert found.blob_tier == "Cool"
    assert found.content_settings.content_type == "application/vnd.tiercache.entry"
    assert found.metadata["tiercache_version"] == "1"
    assert found.metadata["tags"] == '["doc:7"]'
    for told in (backend.head("a/b"), dict(backend.scan())["a/b"]):
        assert (told.storage_class, told.etag) == ("Cool", found.etag)
    assert backend.get("a/b").metadata.etag == found.etag


@pytest.mark.parametrize("access_tier", [None, "none"])
def test_without_a_tier_the_account_decides(make, raw, sent, access_tier):
    backend = make(access_tier=access_tier)
    backend.put("k", entry("k"))
    assert "x-ms-access-tier" not in sent.headers["PUT"]
    assert raw.get_blob_client(backend.prefix + "k").get_blob_properties().blob_tier_inferred


def test_an_entry_may_ask_for_a_tier_of_its_own(make, raw):
    backend = make()
    with pytest.warns(StorageClassWarning, match="Cold"):
        backend.put("k", Entry(b"payload", entry("k").metadata, storage_class="Cold"))
    assert raw.get_blob_client(backend.prefix + "k").get_blob_properties().blob_tier == "Cold"


def test_touch_keeps_the_tier_of_a_blob_whose_answers_do_not_tell_it(make, raw):
    backend = make(typical_entry_bytes="1MiB")
    with Cache(TierChain(backend, strict=True)) as cache:
        cache.set("k", b"x", storage_class="Cold")
        assert cache.touch("k", "200d")
        blob = raw.get_blob_client(backend.prefix + "default:k").get_blob_properties()
        assert blob.blob_tier == "Cold"


def test_a_tier_that_an_answer_tells_is_the_entrys(web, make):
    body = make()  # any envelope will do
    body.put("k", entry("k"))
    stored = body.objects.read(body.prefix + "k", limit=10_000, deadline=None)[1]
    headers = {"Content-Range": f"bytes 0-{len(stored) - 1}/{len(stored)}", "ETag": '"1"', "x-ms-request-id": "1"}
    store = web((206, stored, headers | {"x-ms-access-tier": "Cold"}))
    backend = AzureBlobBackend("container", account_url=f"{store.url}/a", credential=KEY, timeout=30)
    assert backend.get("k").metadata.storage_class == "Cold"
    backend.close()


@pytest.mark.parametrize(
    "key", ["a/b", "50%", "%2F", "ü", "日本", "a b", "a~b", "?#;&=+", "dot.", "..", "x" * 1000, "/".join("ab" * 90)]
)
def test_a_name_is_encoded_once_whatever_it_holds(backend, raw, key):
    backend.put(key, entry(key))
    assert backend.get(key).payload == b"payload"
    [name] = raw.list_blob_names(name_starts_with=backend.prefix)
    assert name == blob_name(backend.prefix + keys.object_name(key))
    assert [found for found, _ in backend.scan()] == [key]
    assert backend.delete_many([key]) == 1
    assert not list(raw.list_blob_names(name_starts_with=backend.prefix))


def test_a_name_never_ends_with_a_dot_which_azure_drops(backend, raw):
    names = ["dot", "dot.", "dot..", ".", ".."]
    for key in names:
        backend.put(key, entry(key, key.encode()))
    assert not any(name.endswith(".") for name in raw.list_blob_names(name_starts_with=backend.prefix))
    assert {key: backend.get(key).payload.decode() for key in names} == dict(zip(names, names, strict=True))
    assert sorted(key for key, _ in backend.scan("dot.")) == ["dot.", "dot.."]
    assert backend.delete("dot.")
    assert backend.put("dot.", entry("dot."), if_absent=True)
    assert backend.clear("dot.") == 2
    assert sorted(key for key, _ in backend.scan()) == [".", "..", "dot"]


def test_the_longest_name_below_the_longest_prefix_keeps_the_limits_of_azure(make, raw):
    backend = make(prefix="p" * 113)
    key = "k" * 900
    backend.put(key, entry(key))
    name = backend.prefix + keys.object_name(key)
    assert len(name) <= 1024
    assert name.count("/") < 254
    assert not any(part.endswith(".") for part in name.split("/"))
    assert name in raw.list_blob_names(name_starts_with=backend.prefix)
    backend.clear()


# What stands in the container


def test_a_condition_of_another_version_writes_nothing(backend):
    backend.put("k", entry("k", b"one"))
    version = backend.head("k").etag
    assert backend.put("k", entry("k", b"two"), if_match=version) is True
    assert backend.put("k", entry("k", b"three"), if_match=version) is False
    assert backend.put("k", entry("k", b"four"), if_absent=True) is False
    assert backend.put("absent", entry("absent"), if_match=version) is False
    assert backend.get("k").payload == b"two"


def test_a_bulk_delete_takes_a_version_for_each_name(backend):
    backend.put("k", entry("k", b"one"))
    listed = dict(backend.scan())["k"].etag
    assert listed == backend.get("k").metadata.etag == backend.head("k").etag
    backend.put("k", entry("k", b"two"))
    name = backend.prefix + "k"
    assert [type(error) for error in backend.objects.remove_many({name: listed}, deadline=None).values()] == [Refused]
    assert backend.objects.remove_many({name: backend.head("k").etag}, deadline=None) == {}
    assert backend.get("k") is None


def archive(raw, backend, key):
    raw.set_standard_blob_tier_blobs(StandardBlobTier.ARCHIVE, backend.prefix + keys.object_name(key))


def test_an_archived_blob_is_a_miss(backend, raw):
    backend.put("k", entry("k"))
    archive(raw, backend, "k")
    assert backend.get("k") is None
    assert backend.head("k") is None
    assert backend.get_many(["k"]) == {}
    assert list(backend.scan()) == []


@pytest.mark.parametrize("status", ["rehydrate-pending-to-hot", None])
def test_a_blob_that_is_being_rehydrated_is_archived_until_it_is_done(web, status):
    headers = {"x-ms-access-tier": "Archive", "x-ms-request-id": "1", "ETag": "1", "x-ms-meta-a_b": "c"}
    store = web((200, b"x", headers | ({"x-ms-archive-status": status} if status else {})))
    backend = AzureBlobBackend("container", account_url=f"{store.url}/a", credential=KEY, timeout=30)
    info = backend.objects.stat("k", deadline=None)
    assert info.archived
    assert (info.storage_class, info.etag, dict(info.user_metadata)) == ("Archive", '"1"', {"a-b": "c"})
    backend.close()


@pytest.mark.parametrize("options", [{}, {"if_absent": True}])
def test_an_archived_blob_is_replaced_by_the_next_write(backend, raw, options):
    backend.put("k", entry("k", b"old"))
    archive(raw, backend, "k")
    assert backend.put("k", entry("k", b"new"), **options) is True
    assert backend.get("k").payload == b"new"


def test_an_archived_blob_of_another_version_is_left(backend, raw):
    backend.put("k", entry("k", b"old"))
    version = backend.head("k").etag
    backend.put("k", entry("k", b"newer"))
    archive(raw, backend, "k")
    assert backend.put("k", entry("k", b"new"), if_match=version) is False
    assert raw.get_blob_client(backend.prefix + "k").get_blob_properties().size > 0


def test_an_append_blob_is_read_as_foreign_and_deleted(backend, raw):
    raw.get_blob_client(backend.prefix + "k").create_append_blob()
    with pytest.raises(CorruptEntry):
        backend.get("k")
    assert backend.delete("k") is False
    assert backend.get("k") is None


def test_a_blob_of_another_type_in_the_way_is_deleted_and_written(web):
    """Azurite overwrites them; Azure says 409."""
    done = {"x-ms-request-id": "1", "ETag": "1"}
    refused = (409, "<Error><Code>InvalidBlobType</Code></Error>", done | {"x-ms-error-code": "InvalidBlobType"})
    store = web(refused, (202, b"", done), (201, b"", done))
    backend = AzureBlobBackend("container", account_url=f"{store.url}/a", credential=KEY, timeout=30)
    assert backend.put("k", entry("k")) is True
    assert [asked.method for asked in store.asked] == ["PUT", "DELETE", "PUT"]
    backend.close()


@pytest.mark.parametrize("body", [b"", b"TIER", b"{}", b"x" * 5000])
def test_a_foreign_blob_is_corrupt_and_leaks_nothing(backend, raw, body):
    raw.upload_blob(backend.prefix + "confidential", body, metadata={"mine": "yes"})
    for read in (backend.get, backend.head):
        with pytest.raises(CorruptEntry) as caught:
            read("confidential")
        assert "confidential" not in str(caught.value)
    assert backend.delete("confidential") is False
    assert backend.get("confidential") is None


def test_an_encoded_body_is_read_as_it_is_stored(backend, raw):
    """A foreign blob that would unpack to gigabytes is only its own size."""
    import gzip

    bomb = gzip.compress(bytes(2**26))
    raw.upload_blob(backend.prefix + "k", bomb, content_settings=ContentSettings(content_encoding="gzip"))
    info, body = backend.objects.read(backend.prefix + "k", limit=2**20, deadline=None)
    assert body == bomb
    assert info.size == len(bomb)


def test_a_huge_foreign_blob_is_refused_by_its_length_and_the_next_read_succeeds(make, raw):
    backend = make(max_entry_bytes="64KiB")
    raw.upload_blob(backend.prefix + "k", bytes(8 * 2**20))
    with pytest.raises(CorruptEntry, match="8,388,608 bytes"):
        backend.get("k")
    backend.put("other", entry("other"))
    assert backend.get("other").payload == b"payload"


def test_a_leased_blob_stays_and_the_error_says_why(backend, raw):
    for key in ("a", "b"):
        backend.put(key, entry(key))
    lease = raw.get_blob_client(backend.prefix + "a").acquire_lease()
    with pytest.raises(PartialFailure) as caught:
        backend.delete_many(["a", "b"])
    assert "lease" in str(caught.value.failed["a"])
    assert caught.value.results == 1
    lease.release()


def test_a_blob_with_a_snapshot_stays_and_the_error_says_why(backend, raw):
    backend.put("k", entry("k"))
    snapshot = raw.get_blob_client(backend.prefix + "k").create_snapshot()
    assert "snapshots" in str(failure(backend.delete, "k"))
    raw.get_blob_client(backend.prefix + "k", snapshot["snapshot"]).delete_blob()
    assert backend.delete("k") is True


# A container that is not there


@pytest.mark.parametrize("operation", ["get", "head", "put", "delete", "get_many", "delete_many", "scan", "ping"])
def test_a_missing_container_is_a_configuration_error_in_every_operation(make, operation):
    error = failure(call_of(make(container="no-such-container"), operation))
    if isinstance(error, PartialFailure):
        [error] = error.failed.values()
    assert isinstance(error, ConfigurationError)
    assert "container 'no-such-container' does not exist; create it" in str(error)


@pytest.mark.parametrize("operation", ["get", "head", "put", "delete", "get_many", "delete_many", "scan", "ping"])
def test_a_missing_container_is_made_when_that_was_asked_for(make, azure_server, sent, operation):
    backend = make(container=f"made-{uuid.uuid4().hex[:12]}", create_container=True)
    call_of(backend, operation)()
    assert sent["PUT"] >= 1
    with ContainerClient.from_connection_string(azure_server.connection_string, backend.container) as raw:
        assert raw.exists()
    sent.clear()
    backend.get("absent")
    assert sent == {"GET": 1}


def test_a_container_that_another_process_makes_at_the_same_time_is_as_good(web):
    made = {"x-ms-request-id": "1", "x-ms-error-code": "ContainerAlreadyExists"}
    gone = {"x-ms-request-id": "1", "x-ms-error-code": "ContainerNotFound"}
    store = web((404, b"", gone), (409, b"", made), (404, b"", gone | {"x-ms-error-code": "BlobNotFound"}))
    backend = AzureBlobBackend(
        "container", account_url=f"{store.url}/a", credential=KEY, timeout=30, create_container=True
    )
    assert backend.get("k") is None
    assert len(store.asked) == 3
    backend.close()


def call_of(backend, operation):
    calls = {
        "put": lambda: backend.put("k", entry("k")),
        "ping": backend.ping,
        "scan": lambda: list(backend.scan()),
    }
    argument = ["k"] if operation.endswith("many") else "k"
    return calls.get(operation, lambda: getattr(backend, operation)(argument))


# A line for people who look into the container


def test_a_real_blob_can_be_read_with_nothing_but_the_sdk(backend, raw):
    key = f"chat:model:{uuid.uuid4().hex}"
    backend.put(key, entry(key, attributes={"model": "m", "price": 0.25}))
    found = raw.get_blob_client(backend.prefix + key).get_blob_properties()
    assert json.loads(found.metadata["attributes"]) == {"model": "m", "price": 0.25}
    backend.delete(key)
    with pytest.raises(ResourceNotFoundError):
        raw.get_blob_client(backend.prefix + key).get_blob_properties()
