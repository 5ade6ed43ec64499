"""The fault matrix, for callers that await."""

import pytest

from tests.faults.examine import examine
from tests.faults.matrix import parameters
from tests.faults.scene import Async


@pytest.mark.parametrize("cell", parameters("async"))
async def test_a_fault_is_in_nobodys_way(rig, cell):
    await examine(rig, cell, Async)
