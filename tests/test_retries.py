"""What a throttled store is sent: requests are counted at a web server that answers 503 and 429."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from urllib.parse import urlsplit

import pytest

from tests.far import STORES, cache_on
from tiercache.errors import BackendUnavailable
from tiercache.health.breaker import Breaker
from tiercache.health.retries import BACKOFF, backoff
from tiercache.objectstore.faults import retry_after

OBJECT_STORES = ["s3", "gcs", "azure"]
ABSENT = {
    "s3": (404, "<Error><Code>NoSuchKey</Code></Error>", {"Content-Type": "application/xml"}),
    "gcs": (404, {"error": {"code": 404, "errors": [{"reason": "notFound"}]}}),
    "azure": (404, "", {"x-ms-error-code": "BlobNotFound", "x-ms-request-id": "1"}),
}


def busy(status: int = 503, **headers: str):
    return status, "", {name.replace("_", "-"): text for name, text in headers.items()}


@pytest.fixture(params=OBJECT_STORES)
def name(request) -> str:
    return request.param


def at(web, name: str):
    return STORES[name](urlsplit(web.url).port)


@pytest.fixture(params=["blocking", "awaited"])
def get(request):
    if request.param == "blocking":
        return lambda tier: tier.get("k").perform()
    return lambda tier: asyncio.run(tier.get("k").aperform())


@pytest.mark.parametrize("status", [503, 429])
def test_a_read_that_is_throttled_once_is_sent_twice(web, name, get, status):
    store = web(busy(status), ABSENT[name])
    tier = cache_on(at(store, name), timeout=30).chain.tiers[1]
    tier.backend.objects._seen = True  # the bucket is there
    assert get(tier) is None
    assert len(store.asked) == 2
    assert tier.counters.retries == 1


def test_a_read_that_is_throttled_twice_is_given_up(web, name, get):
    store = web(busy())
    tier = cache_on(at(store, name), timeout=30).chain.tiers[1]
    with pytest.raises(BackendUnavailable):
        get(tier)
    assert len(store.asked) == 2


def test_a_store_that_asks_for_more_time_than_there_is_is_left_alone(web, name, get):
    store = web(busy(Retry_After="20"))
    tier = cache_on(at(store, name), timeout=30).chain.tiers[1]
    with pytest.raises(BackendUnavailable) as caught:
        get(tier)
    assert caught.value.retry_after == 20.0
    assert len(store.asked) == 1


def test_a_dead_store_is_sent_a_few_requests_and_then_nothing(web, name):
    store = web(busy())
    cache = cache_on(at(store, name), timeout=30)
    for number in range(50):
        assert cache.get_or_set(f"{number}", lambda: 42) == 42
    asked = len(store.asked)
    assert 5 <= asked <= 6, "five failures open the breaker, retries among them"
    assert cache.stats().tiers["remote"].refused >= 90


def test_a_breaker_that_opens_waits_as_long_as_the_store_asks_for(web, name):
    store = web(busy(429, Retry_After="25"))
    tier = cache_on(at(store, name), timeout=1).chain.tiers[1]
    for _ in range(5):
        with pytest.raises(BackendUnavailable):
            tier.get("k").perform()
    with pytest.raises(BackendUnavailable, match=r"asked again in 2[45]\.\d s"):
        tier.get("k").perform()


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0", 0.0), ("7", 7.0), (" 7 ", 7.0), ("-1", None), ("soon", None), ("", None), ("1.5", None), ("٣", None)],
)
def test_retry_after_in_seconds(text, seconds):
    assert retry_after({"retry-after": text}) == seconds


def test_retry_after_as_a_date():
    then = datetime.now(UTC) + timedelta(seconds=60)
    assert retry_after({"Retry-After": format_datetime(then, usegmt=True)}) == pytest.approx(60, abs=20)
    assert retry_after({"Retry-After": "Mon, 01 Jan 2001 00:00:00 GMT"}) == 0.0


def test_an_answer_without_it_asks_for_nothing():
    assert retry_after({"Content-Length": "0"}) is None


@pytest.mark.parametrize(
    ("asked", "left", "jitter", "wait"),
    [
        (0.0, 2.0, 0.0, 0.0),
        (0.0, 2.0, 1.0, BACKOFF),
        (0.0, 0.04, 1.0, 0.02),
        (0.5, 2.0, 1.0, 0.5 + BACKOFF),
        (1.0, 2.0, 1.0, 1.0),
        (1.1, 2.0, 0.0, None),
        (0.0, -0.1, 0.0, None),
        (2.0, None, 0.0, 2.0),
        (2.1, None, 0.0, None),
    ],
)
def test_the_wait_is_drawn_from_what_is_asked_for_to_a_little_more_within_half_the_time_left(asked, left, jitter, wait):
    assert backoff(asked, left, lambda: jitter) == (None if wait is None else pytest.approx(wait))


def test_a_breaker_that_was_switched_off_allows_no_retry():
    assert not Breaker(None).allows_retry(write=False)
