"""The credentials of `S3Backend`: found and renewed beside the requests, and within their deadlines."""

from __future__ import annotations

import contextlib
import datetime
import sys
import threading
import time

import pytest
from botocore.credentials import Credentials, RefreshableCredentials

from tests.peers import timed
from tiercache.errors import AccessDenied, BackendTimeout
from tiercache.objectstore.sockets import until
from tiercache_s3 import S3Backend
from tiercache_s3.credentials import be_patient
from tiercache_s3.errors import NoCredentials

LONG = 30.0


@pytest.fixture
def found_by(tmp_path, monkeypatch, free_port):
    """A function that returns a backend whose credentials this program finds."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    with contextlib.ExitStack() as stack:

        def found_by(program, **options):
            (tmp_path / "config").write_text(f"[default]\nregion = us-east-1\ncredential_process = {program}\n")
            options = {"endpoint_url": f"http://127.0.0.1:{free_port}"} | options
            return stack.enter_context(contextlib.closing(S3Backend("bucket", **options)))

        yield found_by


def test_a_search_for_credentials_that_hangs_costs_each_request_its_own_deadline(found_by):
    backend = found_by(f"{sys.executable} -c 'import time; time.sleep(10)'", timeout=1)
    waits = threading.Thread(target=timed, args=(backend.get, "k"))
    waits.start()
    found, seconds = timed(backend.get, "k", deadline=time.monotonic() + 0.3)
    assert isinstance(found, BackendTimeout)
    assert seconds < 5
    start = time.monotonic()
    backend.close()
    waits.join(LONG)
    assert time.monotonic() - start < 5


@pytest.mark.parametrize("program", [f"{sys.executable} -c pass", "/no/such/program"], ids=["says nothing", "missing"])
def test_a_program_that_finds_no_credentials_is_an_error_that_says_what_to_do(found_by, program):
    found, _ = timed(found_by(program, timeout=30).get, "k")
    assert isinstance(found, AccessDenied)
    assert "AWS_ACCESS_KEY_ID" in str(found)


class Source:
    """Gives out credentials for an hour from now on, and may be held or fail."""

    def __init__(self):
        self.now = datetime.datetime.now(datetime.UTC)
        self.given, self.errors = 0, []
        self.may_answer = threading.Event()
        self.may_answer.set()

    def ask(self):
        assert self.may_answer.wait(LONG)
        if self.errors:
            raise self.errors.pop()
        self.given += 1
        until = self.now + datetime.timedelta(hours=1)
        return {
            "access_key": f"key{self.given}",
            "secret_key": "s",
            "token": "t",
            "expiry_time": until.isoformat(),
        }

    def credentials(self):
        found = RefreshableCredentials.create_from_metadata(self.ask(), self.ask, "test")
        found._time_fetcher = lambda: self.now
        be_patient(found)
        return found


@pytest.fixture
def source():
    source = Source()
    yield source
    source.may_answer.set()


def key_of(credentials, seconds=LONG):
    with until(time.monotonic() + seconds):
        return credentials.get_frozen_credentials().access_key


def test_credentials_that_run_out_soon_are_renewed_and_used_meanwhile(source):
    credentials = source.credentials()
    assert key_of(credentials) == "key1"
    source.may_answer.clear()
    source.now += datetime.timedelta(minutes=55)
    assert key_of(credentials, 0.3) == "key1"
    source.may_answer.set()
    stop = time.monotonic() + LONG
    while key_of(credentials) == "key1" and time.monotonic() < stop:
        time.sleep(0.001)
    assert (key_of(credentials), source.given) == ("key2", 2)


def test_credentials_that_have_run_out_are_renewed_first(source):
    credentials = source.credentials()
    assert key_of(credentials) == "key1"
    source.now += datetime.timedelta(hours=2)
    assert key_of(credentials) == "key2"


def test_nobody_waits_longer_than_it_may_for_credentials_that_have_run_out(source):
    credentials = source.credentials()
    assert key_of(credentials) == "key1"
    source.now += datetime.timedelta(hours=2)
    source.may_answer.clear()
    start = time.monotonic()
    with pytest.raises(BackendTimeout):
        key_of(credentials, 0.3)
    assert time.monotonic() - start < 5


def test_an_answer_without_credentials_is_an_error_once_the_old_ones_have_run_out(source):
    credentials = source.credentials()
    assert key_of(credentials) == "key1"
    source.now += datetime.timedelta(hours=2)
    source.errors = [ValueError("no JSON")]
    with pytest.raises(NoCredentials):
        key_of(credentials)
    assert key_of(credentials) == "key2"


def test_credentials_that_stay_as_they_are_are_left_alone():
    credentials = Credentials("key", "secret")
    be_patient(credentials)
    assert "get_frozen_credentials" not in vars(credentials)
