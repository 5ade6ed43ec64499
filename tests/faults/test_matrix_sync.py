"""The fault matrix, for callers that block."""

import pytest

from tests.faults.examine import examine
from tests.faults.matrix import parameters
from tests.faults.scene import Sync, run_sync


@pytest.mark.parametrize("cell", parameters("sync"))
def test_a_fault_is_in_nobodys_way(rig, cell):
    run_sync(examine(rig, cell, Sync))
