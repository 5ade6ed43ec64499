"""`AzureBlobBackend`: what the answers of Azure mean, tokens, and that no secret is told."""

from __future__ import annotations

import base64
import contextlib
import logging
import re
import socket
import threading
import time

import pytest
from azure.core.credentials import AccessToken, AzureNamedKeyCredential, AzureSasCredential
from azure.core.exceptions import ClientAuthenticationError, ServiceRequestError

from tests.peers import failure, timed
from tests.test_azure import KEY, URL, batch_answer, client_of, entry, listing, sas_of
from tests.test_azure import make as make
from tests.tls import secured as secured
from tiercache.errors import (
    AccessDenied,
    BackendTimeout,
    BackendUnavailable,
    ConfigurationError,
    EntryTooLarge,
    PartialFailure,
)
from tiercache_azure import AzureBlobBackend

REQUEST = {"x-ms-request-id": "1", "Content-Type": "application/xml"}


def error(status, code, **details):
    """An answer of the API."""
    inside = "".join(f"<{name}>{text}</{name}>" for name, text in details.items())
    body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>canary of confidential</Message>{inside}</Error>"
    return status, body, REQUEST | ({"x-ms-error-code": code} if code else {})


@pytest.fixture
def at(web):
    """A function that returns a backend whose store gives these answers; `backend.web` is that store."""
    with contextlib.ExitStack() as stack:

        def at(*answers, **options):
            store = web(*answers)
            options = {"account_url": f"{store.url}/account", "credential": KEY, "timeout": 30} | options
            backend = stack.enter_context(contextlib.closing(AzureBlobBackend("container", **options)))
            backend.web = store
            return backend

        yield at


# What the store's errors mean


@pytest.mark.parametrize(
    ("answer", "kind", "says"),
    [
        (error(404, "ContainerNotFound"), ConfigurationError, "container 'container' does not exist; create it"),
        (error(409, "ContainerBeingDeleted"), BackendUnavailable, "later"),
        (error(409, "ContainerDisabled"), BackendUnavailable, "later"),
        (error(404, "ResourceNotFound"), ConfigurationError, "credentials"),
        (error(403, "AuthorizationPermissionMismatch"), AccessDenied, "blobs/read.*SAS: r"),
        (error(403, "InsufficientAccountPermissions"), AccessDenied, "blobs/read"),
        (error(403, "AuthorizationFailure"), AccessDenied, "network rules"),
        (error(403, "AuthorizationSourceIPMismatch"), AccessDenied, "addresses"),
        (error(403, "AuthorizationProtocolMismatch"), AccessDenied, "https"),
        (error(403, "AuthorizationServiceMismatch"), AccessDenied, "ss=b"),
        (error(403, "AuthorizationResourceTypeMismatch"), AccessDenied, "srt=co"),
        (error(403, "AccountIsDisabled"), AccessDenied, "disabled"),
        (error(403, "KeyBasedAuthenticationNotPermitted"), AccessDenied, "token credential"),
        (error(401, "NoAuthenticationInformation"), AccessDenied, "AZURE_STORAGE_CONNECTION_STRING"),
        (error(401, "InvalidAuthenticationInfo"), AccessDenied, "tenant"),
        (error(403, "AuthenticationFailed"), AccessDenied, "account key.*SAS token.*clock"),
        (error(503, "ServerBusy"), BackendUnavailable, "later"),
        (error(500, "InternalError"), BackendUnavailable, "later"),
        (error(429, "TooManyRequests"), BackendUnavailable, "later"),
        (error(502, ""), BackendUnavailable, "later.*account_url"),
        (error(500, "OperationTimedOut"), BackendTimeout, ""),
        (error(400, "InvalidResourceName"), ConfigurationError, "lower-case"),
        (error(400, "InvalidUri"), ConfigurationError, "container"),
        (error(400, "AccountRequiresHttps"), ConfigurationError, "https account_url"),
        (error(400, "InvalidHeaderValue"), ConfigurationError, "--skipApiVersionCheck"),
        (error(405, ""), ConfigurationError, "account_url"),
        (error(404, ""), ConfigurationError, "account_url"),
        (error(403, ""), ConfigurationError, "account_url"),
        (error(416, "InvalidRange"), ConfigurationError, ""),
    ],
)
def test_an_error_says_what_to_do(at, answer, kind, says):
    found = failure(at(answer).get, "confidential")
    assert type(found) is kind or (kind is ConfigurationError and isinstance(found, kind))
    assert re.search(says, str(found))


@pytest.mark.parametrize(
    ("detail", "says"),
    [
        ("Request date header too old: 'Fri, 02 Jan 2026 03:04:05 GMT'", "clock"),
        ("Signature not valid in the specified time frame: Start [canary] - Expiry [canary]", "SAS token has expired"),
        ("Signature did not match. String to sign used was canary", "SAS token is not signed"),
        ("The MAC signature found in the HTTP request 'canary' is not the same as any computed one", "account key"),
        ("Lifetime validation failed. The token is expired.", "token has expired"),
        ("Issuer validation failed. Issuer did not match.", "AZURE_TENANT_ID"),
    ],
)
def test_what_azure_says_of_failed_authentication_is_understood(at, detail, says):
    answer = error(403, "AuthenticationFailed", AuthenticationErrorDetail=detail)
    found = failure(at(answer).get, "confidential")
    assert isinstance(found, AccessDenied)
    assert says in str(found)


@pytest.mark.parametrize(
    ("code", "status", "kind", "says"),
    [
        ("RequestBodyTooLarge", 413, EntryTooLarge, "max_entry_bytes"),
        ("BlobAccessTierNotSupportedForAccountType", 400, ConfigurationError, "access_tier.*None"),
        ("InvalidBlobTier", 400, ConfigurationError, "access_tier"),
        ("UnauthorizedBlobOverwrite", 403, AccessDenied, "blobs/write.*SAS: w"),
        ("MetadataTooLarge", 400, ConfigurationError, ""),
        ("BlobImmutableDueToPolicy", 409, AccessDenied, "immutability"),
        ("BlobImmutableDueToLegalHold", 409, AccessDenied, "legal hold"),
        ("LeaseIdMissing", 412, AccessDenied, "lease"),
    ],
)
def test_an_error_of_a_write_says_what_to_do(at, code, status, kind, says):
    found = failure(at(error(status, code)).put, "confidential", entry("confidential"))
    assert type(found) is kind
    assert re.search(says, str(found))


def test_a_tier_that_the_account_does_not_take_is_told_by_its_header(at):
    answer = error(400, "InvalidHeaderValue", HeaderName="x-ms-access-tier", HeaderValue="Cold")
    assert "access_tier" in str(failure(at(answer).put, "k", entry("k")))


@pytest.mark.parametrize(
    ("operation", "action"),
    [
        ("put", "blobs/write"),
        ("head", "blobs/read"),
        ("delete", "blobs/read"),
        ("ping", "SAS: l"),
        ("remove_many", "blobs/delete"),
        ("remove", "blobs/delete"),
    ],
)
def test_a_denied_action_is_named(at, operation, action):
    backend = at(error(403, "AuthorizationPermissionMismatch"))
    call = {
        "put": lambda: backend.put("confidential", entry("confidential")),
        "ping": backend.ping,
        "remove": lambda: backend.objects.remove("confidential", deadline=None),
        "remove_many": lambda: backend.objects.remove_many({"confidential": None}, deadline=None),
    }.get(operation, lambda: getattr(backend, operation)("confidential"))
    found = failure(call)
    assert isinstance(found, AccessDenied)
    assert action in str(found)


@pytest.mark.parametrize("kind", ["get", "put", "ping", "delete_many"])
@pytest.mark.parametrize("status", [200, 201, 202, 404, 400])
def test_an_endpoint_that_is_no_object_store_is_pointed_out(web, kind, status):
    store = web((status, "<html><p>Welcome<br></html>", {"Content-Type": "text/html"}))
    backend = AzureBlobBackend("container", account_url=f"{store.url}/a", credential=KEY, timeout=30)
    calls = {"put": lambda: backend.put("k", entry("k")), "ping": backend.ping}
    found = failure(calls.get(kind, lambda: getattr(backend, kind)(["k"] if kind == "delete_many" else "k")))
    assert isinstance(found, ConfigurationError)
    assert "account_url" in str(found)
    backend.close()


def test_a_listing_that_is_no_xml_is_pointed_out(at):
    found = failure(at((200, "<EnumerationResults", REQUEST)).ping)
    assert isinstance(found, ConfigurationError)
    assert "account_url" in str(found)


def test_names_that_a_bulk_delete_could_not_delete_are_named(at):
    def status(name):
        return {"b": "403 Forbidden", "c": "503 Busy", "d": "404 Gone", "e": "412 Changed"}.get(
            name[-1], "202 Accepted"
        )

    codes = {
        "403": "AuthorizationPermissionMismatch",
        "503": "ServerBusy",
        "404": "BlobNotFound",
        "412": "LeaseIdMissing",
    }

    def answer(asked):
        found, body, headers = batch_answer(asked, status)
        for number, code in codes.items():
            body = re.sub(rf"(HTTP/1.1 {number} [^\r]*)\r\n", rf"\1\r\nx-ms-error-code: {code}\r\n", body)
        return found, body, headers

    with pytest.raises(PartialFailure) as caught:
        at(answer).delete_many(["a", "b", "c", "d", "e"])
    failed = {key: type(error) for key, error in caught.value.failed.items()}
    assert failed == {"b": AccessDenied, "c": BackendUnavailable, "e": AccessDenied}
    assert caught.value.results == 2


@pytest.mark.parametrize("code", ["BlobBeingRehydrated", "BlobArchived"])
def test_a_blob_that_cannot_be_deleted_is_not_said_to_be_gone(at, code):
    """It can be read again when it is rehydrated."""
    head = (200, b"", REQUEST | {"x-ms-access-tier": "Archive", "ETag": "1"})
    backend = at(lambda asked: head if asked.method == "HEAD" else error(409, code))
    for call in (lambda: backend.put("k", entry("k")), lambda: backend.delete("k")):
        assert isinstance(failure(call), BackendUnavailable)

    def answer(asked):
        status, body, headers = batch_answer(asked, lambda name: "409 Conflict")
        return status, body.replace("409 Conflict\r\n", f"409 Conflict\r\nx-ms-error-code: {code}\r\n"), headers

    with pytest.raises(PartialFailure) as caught:
        at(answer).delete_many(["k"])
    assert isinstance(caught.value.failed["k"], BackendUnavailable)


@pytest.mark.parametrize(
    "odd",
    [
        lambda asked: (202, "", {"Content-Type": "multipart/mixed; boundary=B", "x-ms-request-id": "1"}),
        lambda asked: (202, "", REQUEST),
        lambda asked: (202, "welcome", REQUEST | {"Content-Type": "text/html"}),
        lambda asked: (202, "welcome", REQUEST | {"Content-Type": "multipart/mixed"}),
        lambda asked: (202, "--B--", REQUEST | {"Content-Type": "multipart/mixed; boundary=B"}),
        lambda asked: (202, batch_answer(asked)[1].replace("HTTP/1.1 202", "HTTP/1.1 2x2"), batch_answer(asked)[2]),
        lambda asked: (202, batch_answer(asked)[1].partition("--B\r\n")[2].partition("--B")[0], batch_answer(asked)[2]),
    ],
    ids=["no part", "no body", "a page", "no boundary", "only an end", "no status", "fewer parts"],
)
def test_an_answer_that_is_no_batch_is_pointed_out(at, odd):
    with pytest.raises((ConfigurationError, PartialFailure)) as caught:
        at(odd).delete_many(["a", "b", "c"])
    assert isinstance(caught.value, ConfigurationError)
    assert "account_url" in str(caught.value)


def test_a_part_that_azure_refuses_for_an_unknown_reason_does_not_end_the_batch(at):
    def answer(asked):
        status, body, headers = batch_answer(
            asked, lambda name: "409 Conflict" if name.endswith("b") else "202 Accepted"
        )
        return status, body.replace("409 Conflict\r\n", "409 Conflict\r\nx-ms-error-code: PendingCopy\r\n"), headers

    with pytest.raises(PartialFailure) as caught:
        at(answer).delete_many(["a", "b", "c"])
    assert (list(caught.value.failed), caught.value.results) == (["b"], 2)


def test_a_batch_that_is_refused_as_a_whole_is_an_error(at):
    def answer(asked):
        part = "HTTP/1.1 400 Bad\r\nx-ms-error-code: ExceedsMaxBatchRequestCount\r\n\r\n"
        body = f"--B\r\nContent-Type: application/http\r\n\r\n{part}\r\n--B--\r\n"
        return 202, body, {"Content-Type": "multipart/mixed; boundary=B", "x-ms-request-id": "1"}

    with pytest.raises(ConfigurationError, match="BlobBatch"):
        at(answer).objects.remove_many({"a": None, "b": None}, deadline=None)


def test_an_answer_that_is_cut_off_is_unavailable(serve):
    def cut(peer, stop):
        peer.recv(65536)
        head = b"HTTP/1.1 206 OK\r\nContent-Length: 100\r\nContent-Range: bytes 0-99/100\r\nx-ms-request-id: 1\r\n"
        peer.sendall(head + b"\r\nTIER")

    backend = AzureBlobBackend("c", account_url=f"http://127.0.0.1:{serve(cut)}/a", credential=KEY, timeout=30)
    error, seconds = timed(backend.get, "k")
    assert isinstance(error, BackendUnavailable)
    assert seconds < 20
    backend.close()


# Credentials that are wrong


OTHER_KEY = base64.b64encode(b"canary another key").decode()


def test_a_wrong_key_is_refused_by_azurite(make, azure_server):
    backend = make(account_url=azure_server.account_url, credential=OTHER_KEY)
    for call in (backend.get, backend.head, backend.delete):
        assert isinstance(failure(call, "confidential"), AccessDenied)
    assert isinstance(failure(backend.ping), AccessDenied)
    assert isinstance(failure(backend.objects.remove_many, {"confidential": None}, deadline=None), AccessDenied)


def test_a_key_that_is_none_is_told_before_any_request(make, azure_server):
    backend = make(account_url=azure_server.account_url, credential="canary: no base64")
    found = failure(backend.get, "confidential")
    assert isinstance(found, AccessDenied)
    assert "account key" in str(found)


def test_a_sas_token_that_has_expired_is_refused_by_azurite(make, azure_server, azure_container):
    backend = make(account_url=azure_server.account_url, credential=sas_of(azure_server, azure_container, seconds=-60))
    found = failure(backend.get, "confidential")
    assert isinstance(found, AccessDenied)
    assert "sig=" not in str(found)


def test_a_sas_token_without_a_permission_is_told_which(make, azure_server, azure_container):
    backend = make(account_url=azure_server.account_url, credential=sas_of(azure_server, azure_container, "r"))
    assert backend.get("k") is None
    assert "(in a SAS: l)" in str(failure(backend.ping))
    assert "(in a SAS: w)" in str(failure(backend.put, "k", entry("k")))


@pytest.mark.parametrize("credential", [5, object(), {"account_name": "a", "account_key": "canary"}])
def test_a_credential_that_is_none_is_a_configuration_error(credential):
    backend = AzureBlobBackend("container", account_url=URL, credential=credential)
    assert isinstance(failure(backend.get, "k"), ConfigurationError)
    backend.close()


def test_an_asynchronous_token_credential_is_a_configuration_error():
    class Asynchronous:
        async def get_token(self, *scopes):
            return AccessToken("canary", 0)

    backend = AzureBlobBackend("container", account_url=URL, credential=Asynchronous())
    assert isinstance(failure(backend.get, "k"), ConfigurationError)
    backend.close()


@pytest.mark.parametrize(
    "options",
    [
        {"connection_string": "canary"},
        {"connection_string": "AccountKey=canary"},
        {"account_url": "http://account.blob.core.windows.net", "credential": "token"},
        {"account_url": "https://custom.invalid", "credential": KEY},
        {"account_url": ""},
    ],
)
def test_settings_that_the_sdk_refuses_are_a_configuration_error(options):
    if options.get("credential") == "token":
        options = options | {"credential": Tokens()}
    backend = AzureBlobBackend("container", **options)
    found = failure(backend.get, "confidential")
    assert isinstance(found, ConfigurationError)
    assert "connection_string, account_url" in str(found)
    backend.close()


# Tokens


class Tokens:
    """A token credential; `gate` holds it, `reached` says that it was asked, `life` is that of its tokens."""

    def __init__(self, life=3600.0, error=None):
        self.life, self.error = life, error
        self.gate, self.reached = threading.Event(), threading.Event()
        self.gate.set()
        self.asked = []

    def get_token(self, *scopes, **options):
        self.asked.append((scopes, options))
        self.reached.set()
        assert self.gate.wait(30)
        if self.error is not None:
            raise self.error
        return AccessToken(f"canary-token-{len(self.asked)}", int(time.time() + self.life))


@pytest.fixture
def at_tls(web, secured, monkeypatch):
    """`at`, but for a store behind TLS, which tokens need."""
    with contextlib.ExitStack() as stack:

        def at_tls(credential, *answers, **options):
            store = web(*answers)
            options = {"timeout": 30, "account_url": f"{secured(store)}/account"} | options
            backend = AzureBlobBackend("container", credential=credential, **options)
            stack.enter_context(contextlib.closing(backend))
            backend.web = store
            return backend

        yield at_tls


ABSENT = (404, "", REQUEST | {"x-ms-error-code": "BlobNotFound"})


def test_a_token_is_asked_for_once_and_sent_with_each_request(at_tls):
    tokens = Tokens()
    backend = at_tls(tokens, ABSENT)
    assert backend.get("k") is None
    assert backend.get_many(["a", "b"]) == {}
    assert [scopes for scopes, _ in tokens.asked] == [("https://storage.azure.com/.default",)]
    assert {asked.headers["Authorization"] for asked in backend.web.asked} == {"Bearer canary-token-1"}


def test_a_token_about_to_end_is_renewed_beside_the_requests(at_tls):
    tokens = Tokens(life=200)
    backend = at_tls(tokens, ABSENT)
    backend.get("k")
    tokens.gate.clear()  # whoever waited for the second one would wait for ever
    backend.get("k")
    assert backend.web.asked[-1].headers["Authorization"] == "Bearer canary-token-1"
    tokens.gate.set()


def test_a_token_that_has_ended_is_waited_for(at_tls):
    tokens = Tokens(life=-1)
    backend = at_tls(tokens, ABSENT)
    backend.get("k")
    backend.get("k")
    assert backend.web.asked[-1].headers["Authorization"] == f"Bearer canary-token-{len(tokens.asked)}"
    assert len(tokens.asked) >= 2


@pytest.mark.parametrize("operation", ["get", "delete_many"])
def test_a_token_that_does_not_come_costs_the_timeout_and_is_found_later(at_tls, operation):
    tokens = Tokens()
    tokens.gate.clear()
    backend = at_tls(tokens, lambda asked: batch_answer(asked) if asked.method == "POST" else ABSENT, timeout=0.5)
    call = {"get": lambda: backend.get("k"), "delete_many": lambda: backend.delete_many(["k"])}[operation]
    error, seconds = timed(call)
    if isinstance(error, PartialFailure):
        [error] = error.failed.values()
    assert isinstance(error, BackendTimeout)
    assert seconds < 5
    backend.timeout = 30
    tokens.gate.set()
    call()
    assert len(tokens.asked) == 1


def test_sixteen_threads_share_one_search_for_a_token(at_tls):
    tokens = Tokens()
    tokens.gate.clear()
    backend = at_tls(tokens, ABSENT)
    threads = [threading.Thread(target=backend.get, args=("k",)) for _ in range(16)]
    for thread in threads:
        thread.start()
    tokens.gate.set()
    for thread in threads:
        thread.join(60)
    assert len(backend.web.asked) == 16
    assert len(tokens.asked) == 1


@pytest.mark.parametrize(
    ("raised", "kind"),
    [
        (ClientAuthenticationError("canary: AADSTS7000215"), AccessDenied),
        (ServiceRequestError("canary"), BackendUnavailable),
    ],
)
def test_a_credential_that_fails_is_an_error_that_says_what_to_do(at_tls, raised, kind):
    backend = at_tls(Tokens(error=raised), ABSENT)
    found = failure(backend.get, "confidential")
    assert type(found) is kind
    assert "credential" in str(found) or kind is BackendUnavailable
    assert not backend.web.asked


def test_a_token_that_azure_refuses_is_not_used_again(at_tls):
    refused = error(401, "AuthenticationFailed", AuthenticationErrorDetail="Lifetime validation failed. Token expired.")
    tokens = Tokens()
    backend = at_tls(tokens, refused, ABSENT)
    assert isinstance(failure(backend.get, "k"), AccessDenied)
    assert backend.get("k") is None
    assert backend.web.asked[-1].headers["Authorization"] == "Bearer canary-token-2"


@pytest.mark.parametrize(
    "options",
    [
        {"connection_string": f"AccountName=account;AccountKey={KEY};BlobEndpoint={{url}}/account"},
        {"account_url": "{url}/account?sv=2025-01-05&sig=canary"},
        {"account_url": "{url}/account", "credential": KEY},
    ],
    ids=["connection string", "SAS token in the URL", "key"],
)
def test_credentials_that_cannot_have_changed_are_refused_by_the_same_client(web, options):
    store = web(error(403, "AuthenticationFailed"))
    backend = AzureBlobBackend(
        "container", timeout=30, **{name: text.format(url=store.url) for name, text in options.items()}
    )
    client = client_of(backend)
    assert isinstance(failure(backend.get, "confidential"), AccessDenied)
    assert client_of(backend) is client
    backend.close()


def test_without_an_identity_the_default_credential_says_what_to_do(monkeypatch, free_port):
    backend = AzureBlobBackend("container", account_url=f"https://127.0.0.1:{free_port}/account", timeout=30)
    found = failure(backend.get, "confidential")
    assert isinstance(found, AccessDenied)
    assert "managed identity" in str(found)
    backend.close()


def test_a_search_that_found_no_identity_is_not_made_for_every_request(monkeypatch, free_port):
    import azure.identity

    searches = []

    class Nobody:
        def get_token(self, *scopes, **options):
            searches.append(scopes)
            raise ClientAuthenticationError("nobody")

        def close(self):
            pass

    monkeypatch.setattr(azure.identity, "DefaultAzureCredential", Nobody)
    backend = AzureBlobBackend("container", account_url=f"https://127.0.0.1:{free_port}", timeout=30)
    for _ in range(5):
        assert isinstance(failure(backend.get, "k"), AccessDenied)
    backend.close()
    assert len(searches) == 1


def test_a_store_of_another_kind_that_denies_is_pointed_out(s3_server):
    backend = AzureBlobBackend("container", account_url=f"{s3_server.endpoint_url}/account", credential=KEY, timeout=30)
    found = failure(backend.get, "k")
    backend.close()
    assert isinstance(found, ConfigurationError)
    assert "account_url" in str(found)


def test_the_default_credential_is_closed_with_the_backend_and_a_given_one_is_not(monkeypatch):
    import azure.identity

    closed = []

    class Closing(Tokens):
        def close(self):
            closed.append(self)

    monkeypatch.setattr(azure.identity, "DefaultAzureCredential", Closing)
    given = Closing()
    for options in ({"credential": given}, {}):
        backend = AzureBlobBackend("container", account_url=URL, **options)
        client_of(backend)
        backend.close()
    assert len(closed) == 1
    assert given not in closed


@pytest.mark.parametrize("ending", ["close", "a refused token"])
def test_a_request_under_way_ends_by_itself_when_its_client_is_closed(at_tls, ending):
    tokens = Tokens(life=-1)
    backend = at_tls(tokens, ABSENT)
    backend.get("k")
    tokens.gate.clear()
    tokens.reached.clear()
    results = []
    thread = threading.Thread(target=lambda: results.append(backend.get("k")))
    thread.start()
    assert tokens.reached.wait(30)
    client = client_of(backend)
    if ending == "close":
        backend.close()
    else:
        backend.objects._client.forget(client)
    tokens.gate.set()
    thread.join(60)
    assert results == [None]


def test_a_bulk_delete_signs_its_parts_with_the_token(at_tls):
    tokens = Tokens()
    backend = at_tls(tokens, batch_answer)
    assert backend.delete_many([f"k{number}" for number in range(256)]) == 256
    [batch] = backend.web.asked
    assert batch.body.count(b"Bearer canary-token-1") == 256
    assert len(tokens.asked) == 1


# Secrets


@pytest.mark.parametrize("level", [logging.DEBUG, logging.INFO])
@pytest.mark.parametrize("way", ["key", "named key", "sas", "sas object", "sas in the url", "connection string"])
def test_no_secret_is_in_a_repr_a_log_or_an_error(caplog, free_port, way, level):
    caplog.set_level(level)
    url = f"http://127.0.0.1:{free_port}/account"
    sas = "sv=2025-01-05&sig=canary"
    options = {
        "key": {"account_url": url, "credential": KEY},
        "named key": {"account_url": url, "credential": AzureNamedKeyCredential("account", KEY)},
        "sas": {"account_url": url, "credential": sas},
        "sas object": {"account_url": url, "credential": AzureSasCredential(sas)},
        "sas in the url": {"account_url": f"{url}?{sas}"},
        "connection string": {"connection_string": f"BlobEndpoint={url};AccountName=account;AccountKey={KEY}"},
    }[way]
    backend = AzureBlobBackend("container", **options)
    seen = [repr(part) for part in (backend, backend.objects, backend.objects._client, backend.objects._client._build)]
    seen.append(repr(backend.objects._client._build.__closure__[0].cell_contents))
    for call in (backend.get, backend.head, backend.delete, backend.clear):
        seen.append(str(failure(call, "confidential")))
    if level == logging.INFO:  # at DEBUG urllib3 tells what it sends, which is the user's to ask for
        seen.append(caplog.text)
    seen += [record.getMessage() for record in caplog.records if record.name.startswith("tiercache")]
    assert KEY not in " ".join(seen)
    assert "sig=canary" not in " ".join(seen)
    backend.close()


def test_a_request_is_not_told_to_a_log_at_info(at, caplog):
    caplog.set_level(logging.INFO)
    assert at(error(404, "BlobNotFound")).get("confidential") is None
    assert caplog.records == []


def test_no_token_is_in_an_error(at_tls):
    backend = at_tls(Tokens(), error(403, "AuthorizationPermissionMismatch"))
    for call in (backend.get, backend.head, backend.delete, backend.clear):
        failure(call, "confidential")  # which looks for the word


def test_the_sdk_signs_with_what_was_given():
    backend = AzureBlobBackend("container", account_url=URL, credential=KEY)
    assert client_of(backend).credential.account_key == KEY
    backend.close()


@pytest.mark.parametrize(
    ("url", "name"),
    [
        (URL, "account"),
        ("account.blob.core.windows.net", "account"),
        (f"{URL}/container", "account"),
        ("http://azurite:10000/other", "other"),
        ("azurite.example/other", "other"),
    ],
)
def test_a_key_is_that_of_the_account_in_the_url(url, name):
    backend = AzureBlobBackend("container", account_url=url, credential=KEY)
    assert client_of(backend).credential.account_name == name
    backend.close()


def test_a_listing_of_another_release_of_the_api_is_read(at):
    assert [key for key, _ in at(listing(["k"])).scan()] == ["k"]


def test_a_host_that_does_not_exist_is_unavailable(monkeypatch):
    def unknown(*_):
        raise socket.gaierror("unknown")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    backend = AzureBlobBackend("container", account_url=URL, credential=KEY, timeout=30)
    assert isinstance(failure(backend.get, "confidential"), BackendUnavailable)
    backend.close()
