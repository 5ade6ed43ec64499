"""Packed object stores from URLs: whose each option is, and what is refused, without a connection."""

from __future__ import annotations

import functools
import inspect
import socket
import subprocess
import sys
import traceback

import pytest

from tests.test_objectstore import DictStore
from tiercache import TierChain
from tiercache.config import tier_from_url
from tiercache.errors import ConfigurationError, MissingExtra
from tiercache.objectstore import ObjectStoreBackend
from tiercache.packed import PackedBackend
from tiercache_azure import AzureBlobBackend
from tiercache_gcs import GCSBackend
from tiercache_s3 import S3Backend

SECRET = "hunter2"


@pytest.fixture(autouse=True)
def _no_connections(monkeypatch):
    def refuse(*_):
        raise AssertionError("a constructor must not connect")

    for name in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, name, refuse)


@pytest.fixture
def given(monkeypatch):
    """What the constructors of the packed backend and of S3 were given."""
    found = {}

    def record(backend_class, into):
        original = backend_class.__init__

        @functools.wraps(original)
        def init(self, *args, **kwargs):
            into.update(inspect.signature(original).bind(self, *args, **kwargs).arguments)
            original(self, *args, **kwargs)

        monkeypatch.setattr(backend_class, "__init__", init)

    for backend_class in (PackedBackend, S3Backend):
        record(backend_class, found.setdefault(backend_class, {}))
    return found


def refusal(url):
    with pytest.raises(ConfigurationError) as caught:
        TierChain.from_urls(url)
    return caught.value


@pytest.mark.parametrize(
    ("url", "inner"),
    [
        ("s3+packed://bucket/a/prefix/", S3Backend),
        ("gs+packed://bucket/a/prefix/", GCSBackend),
        ("az+packed://bucket/a/prefix/?account_url=https://a.blob.core.windows.net", AzureBlobBackend),
    ],
)
def test_each_object_store_can_be_packed(url, inner):
    tier = tier_from_url(url)
    assert type(tier.backend) is PackedBackend
    assert type(tier.backend.inner) is inner
    assert tier.backend.inner.prefix == "a/prefix/"
    assert tier.label == url.partition(":")[0]


def test_every_option_goes_to_whom_it_belongs(given):
    tier = tier_from_url(
        "s3+packed://bucket/?segment_bytes=4MiB&flush_after=90s&refresh=30&durable=true&max_entries=5000"
        "&region=eu-central-1&path_style=true&promote=never&name=cheap"
    )
    packed = {name: value for name, value in given[PackedBackend].items() if name not in ("self", "inner")}
    assert packed == {
        "segment_bytes": "4MiB",
        "flush_after": "90s",
        "refresh": "30",
        "durable": True,
        "max_entries": 5000,
    }
    inner = {name: value for name, value in given[S3Backend].items() if name != "self"}
    assert inner == {"bucket": "bucket", "prefix": "", "region": "eu-central-1", "path_style": True}
    assert (tier.promote, tier.label) == ("never", "cheap")


def test_an_option_that_several_have_is_given_to_each():
    tier = tier_from_url("s3+packed://bucket/?timeout=5&max_concurrency=4&max_entry_bytes=1MiB&when_full=drop")
    assert (tier.timeout, tier.backend.timeout, tier.backend.inner.timeout) == (5, 5, 5)
    assert tier.backend.inner.concurrency == 4
    assert (tier.max_entry_bytes, tier.backend.inner.max_entry_bytes) == (2**20, 2**20)
    assert tier.when_full == "drop"


def test_a_store_of_another_package_can_be_packed_without_doing_anything(monkeypatch):
    class Elsewhere(ObjectStoreBackend):
        scheme = "elsewhere"

        def __init__(self, place: str, *, level: int = 1) -> None:
            super().__init__(DictStore())
            self.place, self.level = place, level

        @classmethod
        def url_arguments(cls, url):
            assert url.scheme == "elsewhere"
            return {"place": url.netloc}

    class Point:
        name = "elsewhere"

        def load(self):
            return Elsewhere

    monkeypatch.setattr("tiercache.config.discovery.entry_points", lambda group: [Point()])
    backend = tier_from_url("elsewhere+packed://here?level=3&segment_bytes=1MiB").backend
    assert (type(backend), type(backend.inner)) == (PackedBackend, Elsewhere)
    assert (backend.inner.place, backend.inner.level) == ("here", 3)


@pytest.mark.parametrize("scheme", ["memory", "disk", "redis"])
def test_what_is_no_object_store_is_not_packed(scheme):
    message = str(refusal(f"{scheme}+packed://"))
    assert f"{scheme}+packed://" in message
    assert "s3+packed://bucket/prefix/" in message


def test_an_unknown_store_is_refused_with_the_known_ones():
    message = str(refusal("tape+packed://reel"))
    assert "tape://" in message
    assert "s3+packed://" in message


def test_an_unknown_option_is_refused_with_those_of_both():
    message = str(refusal("s3+packed://bucket/?segment_size=5"))
    assert "segment_size" in message
    assert all(name in message for name in ("segment_bytes", "flush_after", "region", "storage_class"))


@pytest.mark.parametrize("option", ["inner=x", "clock=1", "self=1", "bucket=other", "prefix=other"])
def test_what_text_cannot_say_or_the_path_says_is_no_option(option):
    assert "has no option" in str(refusal(f"s3+packed://bucket/prefix/?{option}")) or "self" in option


@pytest.mark.parametrize(
    ("option", "name"),
    [
        ("segment_bytes=much", "segment_bytes"),
        ("flush_after=soon", "flush_after"),
        ("durable=maybe", "durable"),
        ("when_full=explode", "when_full"),
        ("max_entries=many", "max_entries"),
        ("storage_class=CHEAP", "storage_class"),
        ("promote=sometimes", "promote"),
        ("refresh=1&refresh=2", "refresh"),
    ],
)
def test_a_value_that_is_none_is_refused_and_the_option_is_named(option, name):
    assert name in str(refusal(f"s3+packed://bucket/?{option}"))


@pytest.mark.parametrize(
    ("option", "advice"),
    [("durable=yes", "true or false"), ("durable", "true or false"), ("max_entries=4M", "a whole number")],
)
def test_a_value_that_is_none_is_refused_with_those_that_there_are(option, advice):
    assert advice in str(refusal(f"s3+packed://bucket/?{option}"))


@pytest.mark.parametrize(
    "url",
    [
        f"s3+packed://key:{SECRET}@bucket/",
        f"s3+packed://key?{SECRET}@bucket/",
        f"s3+packed://bucket/?access_key_id=a&secret_access_key={SECRET}",
        f"s3+packed://bucket/?access_key_id=a&secret_access_key={SECRET}&unknown=1",
        f"s3+packed://bucket/?access_key_id=a&secret_access_key={SECRET}&segment_bytes=much",
        f"gs+packed://bucket/?credentials_json={SECRET}",
        f"az+packed://container/?connection_string={SECRET}",
        f"redis+packed://:{SECRET}@host/0",
        f"tape+packed://user:{SECRET}@reel",
    ],
)
def test_no_error_tells_a_secret_of_the_url(url):
    error = refusal(url)
    assert SECRET not in "".join(traceback.format_exception(error, chain=True))


@pytest.mark.parametrize(("scheme", "extra"), [("s3", "s3"), ("gs", "gcs"), ("az", "azure")])
def test_a_package_that_is_not_there_is_named_as_without_packing(monkeypatch, scheme, extra):
    monkeypatch.setattr("tiercache.config.discovery.entry_points", lambda group: ())
    with pytest.raises(MissingExtra, match=rf"install tiercache\[{extra}\]"):
        tier_from_url(f"{scheme}+packed://bucket/")


def test_a_missing_sdk_names_the_extra_to_install():
    script = (
        "import sys; sys.modules['boto3'] = None\n"
        "from tiercache import TierChain\n"
        "from tiercache.errors import MissingExtra\n"
        "try: TierChain.from_urls('s3+packed://bucket/')\n"
        "except MissingExtra as error: print(error.extra, error)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.startswith("s3 ")
