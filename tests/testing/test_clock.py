"""A fake clock moves when it is told to, and only forwards."""

from datetime import timedelta

import pytest

from tiercache import Cache, MemoryBackend
from tiercache.errors import ConfigurationError
from tiercache.testing import FakeClock


@pytest.mark.parametrize(
    ("duration", "seconds"), [(2, 2), (0.5, 0.5), ("5m", 300), ("30d", 2_592_000), (timedelta(hours=1), 3600)]
)
def test_a_clock_advances_by_a_duration_in_any_form(duration, seconds):
    clock = FakeClock(start=1000)
    assert clock.advance(duration) == clock() == 1000 + seconds


def test_a_clock_stands_still_by_itself():
    clock = FakeClock()
    assert clock() == clock() == 1_700_000_000.0


@pytest.mark.parametrize("duration", [-1, 0, "yesterday", None])
def test_a_clock_refuses_what_is_no_time_to_come(duration):
    clock = FakeClock(5)
    with pytest.raises(ConfigurationError):
        clock.advance(duration)
    assert clock() == 5


def test_a_value_expires_when_the_clock_says_so():
    clock = FakeClock()
    with Cache(MemoryBackend(clock=clock), clock=clock, ttl="1h") as cache:
        cache.set("key", "value")
        clock.advance("59m")
        assert cache.get("key") == "value"
        clock.advance("1m")
        assert cache.get("key") is None
