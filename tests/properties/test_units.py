"""Sizes and durations as people write them; what is none is a ConfigurationError that says what to write."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiercache.errors import ConfigurationError
from tiercache.units import parse_duration, parse_size

SIZES: list[tuple[Any, int]] = [
    (1, 1),
    (10**30, 10**30),
    ("1", 1),
    ("64K", 64 * 1024),
    ("64k", 64 * 1024),
    ("1kB", 1000),
    ("1KiB", 1024),
    ("1GB", 10**9),
    ("256MiB", 256 * 2**20),
    ("256 MiB", 256 * 2**20),
    (" 256mib ", 256 * 2**20),
    ("1.5GiB", 3 * 2**29),
    ("2TB", 2 * 10**12),
    ("10B", 10),
    ("0.5K", 512),
    ("0010", 10),
    ("9007199254740993", 2**53 + 1),
    ("1.7GB", 1_700_000_000),
    ("999999999999TiB", 999999999999 * 2**40),
]


@pytest.mark.parametrize(("size", "expected"), SIZES, ids=repr)
def test_a_size_is_a_whole_number_of_bytes(size: Any, expected: int):
    parsed = parse_size(size)
    assert (type(parsed), parsed) == (int, expected)


DURATIONS: list[tuple[Any, float]] = [
    (1, 1.0),
    (0.25, 0.25),
    ("90", 90.0),
    ("90s", 90.0),
    ("15m", 900.0),
    ("15 min", 900.0),
    ("12h", 43_200.0),
    ("30d", 2_592_000.0),
    (" 2w ", 1_209_600.0),
    ("250ms", 0.25),
    ("1.5h", 5_400.0),
    ("999999999d", 999_999_999 * 86_400.0),
    (timedelta(minutes=1, microseconds=1), 60.000001),
    (timedelta.max, timedelta.max.total_seconds()),
    (10**300, 1e300),
    (5e-324, 5e-324),
    (np.float64(2.5), 2.5),
]


@pytest.mark.parametrize(("duration", "expected"), DURATIONS, ids=repr)
def test_a_duration_is_a_number_of_seconds(duration: Any, expected: float):
    parsed = parse_duration(duration)
    assert (type(parsed), parsed) == (float, expected)


NO_SIZES: list[tuple[Any, str]] = [
    ("", "is not a size; write"),
    ("12 bananas", "is not a size; write"),
    ("-5", "is not a size; write"),
    ("-5MiB", "is not a size; write"),
    ("+5", "is not a size; write"),
    ("MiB", "is not a size; write"),
    ("1e9", "is not a size; write"),
    ("1_000", "is not a size; write"),
    ("1,000", "is not a size; write"),
    ("0x10", "is not a size; write"),
    ("1 2", "is not a size; write"),
    ("5 PiB", "is not a size; write"),
    ("5d", "is not a size; write"),
    ("inf", "is not a size; write"),
    ("nan", "is not a size; write"),
    ("٣MiB", "is not a size; write"),
    ("1\N{KELVIN SIGN}", "is not a size; write"),
    ("9" * 5000, "is not a size; write"),
    ("1." + "0" * 5000, "is not a size; write"),
    ("0", "positive number of bytes"),
    ("0MiB", "positive number of bytes"),
    ("0.4B", "positive number of bytes"),
    (0, "positive number of bytes"),
    (-1, "positive number of bytes"),
    (-(10**5000), "positive number of bytes"),
    (1.5, "not float"),
    (math.nan, "not float"),
    (math.inf, "not float"),
    (True, "not bool"),
    (False, "not bool"),
    (None, "not NoneType"),
    (b"1MiB", "not bytes"),
    ([1], "not list"),
    (timedelta(1), "not timedelta"),
]
NO_DURATIONS: list[tuple[Any, str]] = [
    ("", "is not a duration; write"),
    ("12 bananas", "is not a duration; write"),
    ("1e400 d", "is not a duration; write"),
    ("-5s", "is not a duration; write"),
    ("s", "is not a duration; write"),
    ("5M", "is not a duration; write"),  # months or minutes?
    ("5y", "is not a duration; write"),
    ("1h30m", "is not a duration; write"),
    ("1:30", "is not a duration; write"),
    ("1,5h", "is not a duration; write"),
    ("inf", "is not a duration; write"),
    ("nan", "is not a duration; write"),
    ("never", "is not a duration; write"),
    ("٣s", "is not a duration; write"),
    ("9" * 5000 + "d", "is not a duration; write"),
    ("0", "positive, finite"),
    ("0.0s", "positive, finite"),
    (0, "positive, finite"),
    (0.0, "positive, finite"),
    (-0.0, "positive, finite"),
    (-1, "positive, finite"),
    (math.nan, "positive, finite"),
    (math.inf, "positive, finite"),
    (-math.inf, "positive, finite"),
    (10**400, "positive, finite"),
    (-(10**5000), "positive, finite"),
    (timedelta(0), "positive, finite"),
    (timedelta(-1), "positive, finite"),
    (timedelta.min, "positive, finite"),
    (True, "not bool"),
    (None, "not NoneType"),
    (b"5s", "not bytes"),
    ([5], "not list"),
    (1j, "not complex"),
]


def _shown(case: Any) -> str:
    return "a huge int" if isinstance(case, int) and abs(case) > 10**20 else repr(case)[:40]


@pytest.mark.parametrize(("size", "why"), NO_SIZES, ids=_shown)
def test_what_is_no_size_is_refused_by_its_option_s_name(size: Any, why: str):
    with pytest.raises(ConfigurationError, match=f"^max_bytes.*{why}") as caught:
        parse_size(size, "max_bytes")
    assert len(str(caught.value)) < 250


@pytest.mark.parametrize(("duration", "why"), NO_DURATIONS, ids=_shown)
def test_what_is_no_duration_is_refused_by_its_option_s_name(duration: Any, why: str):
    with pytest.raises(ConfigurationError, match=f"^ttl.*{why}") as caught:
        parse_duration(duration, "ttl")
    assert len(str(caught.value)) < 250


@given(st.integers(1, 2**80), st.sampled_from(["", "B", "K", "KiB", "kB", "MiB", "MB", "GiB", "GB", "TiB", "TB"]))
def test_a_size_is_exact(number: int, unit: str):
    factor = {"": 1, "B": 1, "K": 1024}.get(unit) or (1024 if "i" in unit else 1000) ** (
        "KMGT".index(unit[0].upper()) + 1
    )
    assert parse_size(f"{number}{unit}") == number * factor


@given(st.text(max_size=30) | st.integers() | st.floats() | st.timedeltas() | st.none() | st.booleans())
def test_anything_is_a_positive_size_and_duration_or_refused(value: Any):
    for parse in (parse_size, parse_duration):
        try:
            parsed = parse(value)
        except ConfigurationError:
            continue
        assert parsed > 0
        assert math.isfinite(parsed)
