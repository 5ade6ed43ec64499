"""The Hypothesis profile of these tests: the same examples in every run; TIERCACHE_TEST_SCALE multiplies them."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.properties.scale import SCALE

settings.register_profile(
    "tiercache",
    derandomize=True,
    database=None,
    deadline=None,  # the machines of CI are slow at times
    max_examples=100 * SCALE,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("tiercache")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give more time to what does more."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.timeout(120 * SCALE))
