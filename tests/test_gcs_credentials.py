"""The credentials of `GCSBackend`: found, renewed and refused, beside the requests and within their deadlines."""

from __future__ import annotations

import contextlib
import json
import logging
import threading
import time
from datetime import timedelta
from urllib.parse import parse_qs

import google.auth.credentials
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from google.auth import _helpers
from google.auth.compute_engine import _metadata
from google.auth.credentials import AnonymousCredentials
from google.oauth2.credentials import Credentials

from tests.peers import failure, silence, timed
from tests.test_gcs import OBJECT, entry, error
from tiercache.errors import AccessDenied, BackendTimeout, BackendUnavailable, ConfigurationError
from tiercache_gcs import GCSBackend

CANARY = "canary-secret-0123456789"
SKEWED = {
    "error": "invalid_grant",
    "error_description": "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe."
    " Check your iat and exp values in the JWT claim.",
}
REVOKED = {"error": "invalid_grant", "error_description": f"Invalid JWT Signature. {CANARY}"}


@pytest.fixture(scope="module")
def private_key():
    key = rsa.generate_private_key(65537, 2048)
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


@pytest.fixture
def key_of(private_key):
    """A function that returns the key of a service account whose tokens a URL gives out."""
    return lambda url: {
        "type": "service_account",
        "project_id": "project",
        "private_key_id": CANARY,
        "private_key": private_key,
        "client_email": "canary@project.iam.gserviceaccount.com",
        "token_uri": f"{url}/token",
    }


def tokens(*names, seconds=3600):
    """Answers that give out these tokens."""
    return [(200, {"access_token": name, "expires_in": seconds, "token_type": "Bearer"}) for name in names]


def taking(*names):
    """A store that takes these tokens, and holds nothing but the bucket."""

    def answer(asked):
        if asked.headers.get("Authorization") not in [f"Bearer {name}" for name in names]:
            return error(401, "authError")
        return error(404, "notFound") if "/o/" in asked.path else (200, {"kind": "storage#objects", "generation": "1"})

    return answer


@pytest.fixture
def make(web, key_of):
    """A function that makes a backend whose store and whose tokens' source answer so."""
    with contextlib.ExitStack() as stack:

        def make(store, source, **options):
            store, source = web(*store), web(*source)
            options = {"credentials_json": key_of(source.url), "timeout": 30} | options
            backend = stack.enter_context(contextlib.closing(GCSBackend("bucket", endpoint_url=store.url, **options)))
            backend.store, backend.source = store, source
            return backend

        yield make


def at_once(backend, count=8):
    """Let threads get the same key at the same time; return what they got."""
    start, got = threading.Barrier(count), []

    def get():
        start.wait(30)
        got.append(backend.get("k"))

    threads = [threading.Thread(target=get) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return got


# Tokens


def test_a_token_is_fetched_once_for_all_requests(make):
    backend = make([taking("one")], tokens("one"))
    assert [backend.get("k"), backend.get("k"), backend.head("k")] == [None] * 3
    assert len(backend.source.asked) == 1
    assert "devstorage" in assertion_of(backend.source.asked[0])


def assertion_of(asked):
    """What a service account swears."""
    import base64

    claims = parse_qs(asked.body.decode())["assertion"][0].split(".")[1]
    return base64.urlsafe_b64decode(claims + "==").decode()


def test_however_many_threads_need_a_token_it_is_fetched_once(make):
    backend = make([taking("one")], tokens("one"))
    assert at_once(backend) == [None] * 8
    assert len(backend.source.asked) == 1


def test_a_token_that_the_store_refuses_is_renewed_once_and_the_request_succeeds(make):
    backend = make([taking("two")], tokens("one", "two"))
    assert backend.put("k", entry("k")) is True
    assert backend.get("k") is None
    assert len(backend.source.asked) == 2


def test_threads_whose_token_was_refused_renew_it_once_between_them(make):
    backend = make([taking("one")], tokens("one", "two"))
    assert backend.get("k") is None
    backend.store.answers = [taking("two")]
    assert at_once(backend) == [None] * 8
    assert len(backend.source.asked) == 2


def test_a_token_that_is_refused_again_is_an_error_that_says_what_to_do(make):
    backend = make([error(401, "authError")], tokens("one", "two"))
    found = failure(backend.get, "confidential")
    assert isinstance(found, AccessDenied)
    assert "expired or revoked" in str(found)
    assert (len(backend.store.asked), len(backend.source.asked)) == (2, 2)


class Given(Credentials):
    """A user's credentials: a token that runs out in so many seconds, and is renewed when it may."""

    def __init__(self, token, left=None):
        super().__init__(token)
        self.expiry = None if left is None else _helpers.utcnow() + timedelta(seconds=left)
        self.may_renew, self.renewed = threading.Event(), threading.Event()

    def refresh(self, request):
        assert self.may_renew.wait(30)
        self.token, self.expiry = "new", None
        self.renewed.set()


def test_credentials_of_the_user_are_taken_as_they_are(web):
    store = web(taking("mine"))
    with contextlib.closing(GCSBackend("bucket", endpoint_url=store.url, credentials=Given("mine"))) as backend:
        assert backend.get("k") is None


def test_credentials_without_a_token_are_taken_as_they_are(web):
    store = web((404, {"error": {"code": 404}}), (200, {"kind": "storage#objects"}))
    with contextlib.closing(
        GCSBackend("bucket", endpoint_url=store.url, credentials=AnonymousCredentials(), timeout=30)
    ) as backend:
        assert backend.get("k") is None
    assert store.asked[0].headers["Authorization"] is None


def test_a_token_that_runs_out_soon_is_renewed_and_used_meanwhile(web):
    given, store = Given("old", left=120), web(taking("old", "new"))
    with contextlib.closing(GCSBackend("bucket", endpoint_url=store.url, credentials=given, timeout=30)) as backend:
        assert backend.get("k") is None
        given.may_renew.set()
        assert given.renewed.wait(30)
        assert backend.get("k") is None
    sent = [asked.headers["Authorization"] for asked in store.asked]
    assert (sent[0], sent[-1]) == ("Bearer old", "Bearer new")


def test_a_token_that_has_run_out_is_renewed_first(web):
    store = web(taking("new"))
    credentials = Given("old", left=-1)
    credentials.may_renew.set()
    with contextlib.closing(GCSBackend("bucket", endpoint_url=store.url, credentials=credentials)) as backend:
        assert backend.get("k") is None
    assert {asked.headers["Authorization"] for asked in store.asked} == {"Bearer new"}


# Whoever gives the tokens


def test_a_clock_that_is_wrong_is_named(make):
    found = failure(make([taking()], [(400, SKEWED)]).get, "confidential")
    assert isinstance(found, AccessDenied)
    assert "clock" in str(found)


def test_a_key_that_was_revoked_is_named(make):
    found = failure(make([taking()], [(400, REVOKED)]).get, "confidential")
    assert isinstance(found, AccessDenied)
    assert "invalid_grant" in str(found)
    assert "renew" in str(found)


def test_after_a_refusal_the_next_request_asks_again(make):
    backend = make([taking("one")], [(400, REVOKED), *tokens("one")])
    failure(backend.get, "k")
    assert backend.get("k") is None


@pytest.mark.parametrize("status", [500, 503, 429])
def test_a_source_of_tokens_that_cannot_serve_is_asked_once(make, status):
    backend = make([taking()], [(status, {"error": "canary"})])
    found = failure(backend.get, "k")
    assert isinstance(found, BackendUnavailable)
    assert f"HTTP {status}" in str(found)
    assert len(backend.source.asked) == 1


def test_a_source_of_tokens_that_is_down_is_unavailable_at_once(make, key_of, free_port):
    backend = make([taking()], [taking()], credentials_json=key_of(f"http://127.0.0.1:{free_port}"))
    found, seconds = timed(backend.get, "k")
    assert isinstance(found, BackendUnavailable)
    assert seconds < 20


def test_a_source_of_tokens_that_is_silent_costs_the_timeout(make, key_of, serve):
    backend = make([taking()], [taking()], timeout=0.5, credentials_json=key_of(f"http://127.0.0.1:{serve(silence)}"))
    for call in (backend.get, backend.head):
        found, seconds = timed(call, "k")
        assert isinstance(found, BackendTimeout)
        assert "credentials" in str(found)
        assert seconds < 5


def test_a_token_that_came_too_late_for_one_request_serves_the_next(make):
    answer_now = threading.Event()

    def late(asked):
        answer_now.wait(30)
        return tokens("one")[0]

    backend = make([taking("one")], [late])
    found = failure(backend.get, "k", deadline=time.monotonic() + 0.2)
    assert isinstance(found, BackendTimeout)
    answer_now.set()
    assert backend.get("k") is None
    assert len(backend.source.asked) == 1


def test_a_refusal_that_came_too_late_for_one_request_is_told_to_the_next(make):
    answer_now, answered = threading.Event(), threading.Event()

    def late(asked):
        answer_now.wait(30)
        answered.set()
        return 400, REVOKED

    backend = make([taking()], [late])
    assert isinstance(failure(backend.get, "k", deadline=time.monotonic() + 0.2), BackendTimeout)
    answer_now.set()
    assert answered.wait(30)
    assert isinstance(failure(backend.get, "k"), AccessDenied)
    assert len(backend.source.asked) == 1


# Where they are found


def file_of(path, fields):
    path.write_text(json.dumps(fields))
    return path


def test_a_file_is_read_when_it_is_needed_and_again_when_it_was_refused(make, key_of, tmp_path, web):
    path = tmp_path / "key.json"
    backend = make([taking("two")], [(400, REVOKED)], credentials_json=None, credentials_file=path)
    assert isinstance(failure(backend.get, "k"), ConfigurationError)  # it is not there yet
    file_of(path, key_of(backend.source.url))
    assert isinstance(failure(backend.get, "k"), AccessDenied)
    file_of(path, key_of(web(*tokens("two")).url))
    assert backend.get("k") is None


NO_CREDENTIALS = [
    "",
    CANARY,
    f'["{CANARY}"]',
    f'{{"type": "{CANARY}"}}',
    f'{{"type": "service_account", "a": "{CANARY}"}}',
]


@pytest.mark.parametrize("content", NO_CREDENTIALS)
def test_a_file_that_holds_no_credentials_is_named_and_not_quoted(make, tmp_path, content):
    path = tmp_path / "canary.json"
    path.write_text(content)
    found = failure(make([taking()], [taking()], credentials_json=None, credentials_file=path).get, "k")
    assert isinstance(found, ConfigurationError)
    assert "credentials_file" in str(found)


def test_the_environments_file_is_found_without_being_named(make, key_of, tmp_path, monkeypatch, web):
    path = file_of(tmp_path / "key.json", key_of(web(*tokens("one")).url))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(path))
    backend = make([taking("one")], [taking()], credentials_json=None, anonymous=False)
    assert backend.get("k") is None


@pytest.mark.parametrize("content", NO_CREDENTIALS)
def test_an_environments_file_that_holds_none_is_named_and_not_quoted(make, tmp_path, monkeypatch, content):
    path = tmp_path / "canary.json"
    path.write_text(content)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(path))
    found = failure(make([taking()], [taking()], credentials_json=None, anonymous=False).get, "k")
    assert isinstance(found, (ConfigurationError, AccessDenied))
    assert "GOOGLE_APPLICATION_CREDENTIALS" in str(found)


def test_without_credentials_the_error_says_how_to_give_them(make):
    backend = make([taking()], [taking()], credentials_json=None, anonymous=False)
    found = failure(backend.get, "confidential")
    assert isinstance(found, AccessDenied)
    assert "GOOGLE_APPLICATION_CREDENTIALS" in str(found)


def test_credentials_that_appear_later_are_found(make, key_of, tmp_path, monkeypatch, web):
    backend = make([taking("one")], [taking()], credentials_json=None, anonymous=False)
    failure(backend.get, "k")
    path = file_of(tmp_path / "key.json", key_of(web(*tokens("one")).url))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(path))
    assert backend.get("k") is None


@pytest.fixture
def metadata_server(monkeypatch):
    """A function that lets google-auth look for a metadata server on this port."""

    def metadata_server(port):
        monkeypatch.setattr(_metadata, "_NO_GCE_CHECK", False)
        monkeypatch.setattr(_metadata, "_GCE_METADATA_HOST", f"127.0.0.1:{port}")
        monkeypatch.setenv("GCE_METADATA_IP", f"127.0.0.1:{port}")

    return metadata_server


def test_the_account_of_a_machine_is_found(make, metadata_server, web):
    flavor = {"Metadata-Flavor": "Google"}

    def metadata(asked):
        if "/token" in asked.path:
            return (*tokens("one")[0], flavor)
        if "/service-accounts" in asked.path:
            return 200, {"email": "a@b.iam.gserviceaccount.com", "scopes": []}, flavor
        return 200, "project", flavor | {"Content-Type": "text/plain"}

    metadata_server(web(metadata).url.rpartition(":")[2])
    backend = make([taking("one")], [taking()], credentials_json=None, anonymous=False)
    assert backend.get("k") is None


def test_a_silent_metadata_server_costs_the_timeout(make, metadata_server, serve):
    metadata_server(serve(silence))
    backend = make([taking()], [taking()], credentials_json=None, anonymous=False, timeout=0.5)
    found, seconds = timed(backend.get, "k")
    assert isinstance(found, BackendTimeout)
    assert "credentials" in str(found)
    assert seconds < 5


def test_where_there_is_no_metadata_server_that_is_found_out_at_once(make, metadata_server, free_port):
    metadata_server(free_port)
    backend = make([taking()], [taking()], credentials_json=None, anonymous=False)
    found, seconds = timed(backend.get, "k")
    assert isinstance(found, AccessDenied)
    assert "GOOGLE_APPLICATION_CREDENTIALS" in str(found)
    assert seconds < 20


def test_without_credentials_where_some_are_needed_the_error_says_so(web):
    store = web(error(401, "required"))
    with contextlib.closing(GCSBackend("bucket", endpoint_url=store.url)) as backend:
        found = failure(backend.get, "confidential")
    assert isinstance(found, AccessDenied)
    assert "GOOGLE_APPLICATION_CREDENTIALS" in str(found)
    assert len(store.asked) == 1


# Secrets


def test_no_secret_is_in_a_repr_a_log_or_an_error(make, key_of, caplog, free_port):
    caplog.set_level(logging.DEBUG, "tiercache")
    url = f"http://user:{CANARY}@127.0.0.1:{free_port}"
    answers = [(400, REVOKED)], tokens(CANARY), [(400, SKEWED)]
    seen = []
    for source in answers:
        backend = make([error(401, "authError")], source)
        for shown in (backend, backend.objects, backend.objects._client, backend.objects._client._build):
            seen.append(repr(shown))
        for call in (backend.get, backend.head, backend.delete, backend.clear):
            seen.append(str(failure(call, "confidential")))
        seen.append(repr(backend.objects._client.get()))
    backend = GCSBackend("bucket", endpoint_url=url, credentials_json=json.dumps(key_of(url)), timeout=30)
    seen += [repr(backend.objects._client._build), str(failure(backend.get, "confidential"))]
    backend.close()
    text = " ".join([*seen, caplog.text])
    assert "canary" not in text
    assert "PRIVATE KEY" not in text


def test_a_token_is_sent_to_the_store_and_nowhere_else(make, web):
    elsewhere = web((200, OBJECT))
    backend = make([(302, "", {"Location": f"{elsewhere.url}/o/k"})], tokens("one"))
    found = failure(backend.get, "k")
    assert isinstance(found, ConfigurationError)
    assert "endpoint_url" in str(found)
    assert elsewhere.asked == []


def test_the_users_netrc_is_not_asked(make, tmp_path, monkeypatch):
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login canary password canary")
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    backend = make([taking("one")], tokens("one"))
    assert backend.get("k") is None
    with contextlib.closing(GCSBackend("bucket", endpoint_url=backend.store.url)) as anonymous:
        failure(anonymous.get, "k")
    assert "Authorization" not in backend.store.asked[-1].headers


def test_the_sdks_own_credentials_are_what_ours_stand_for(make):
    backend = make([taking("one")], tokens("one"))
    assert isinstance(backend.objects._client.get().session.credentials, google.auth.credentials.Credentials)
