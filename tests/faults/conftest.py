"""The stores of the matrix, and the pieces that its two faces share."""

import pytest

from tests.faults.rigs import rigs
from tests.servers.support import lack
from tiercache.testing.servers import ServerUnavailable


@pytest.fixture(scope="module")
def stores():
    """All stores, each started when it is first asked for."""
    with rigs() as made:
        yield made


@pytest.fixture
def rig(stores, cell, record_property):
    """The cell's store."""
    record_property("cell", [cell.fault.id, cell.kind, cell.operation, cell.face])
    rig = stores[cell.kind]
    try:
        getattr(rig, "server", None)
    except ServerUnavailable as reason:
        lack(str(reason))
    return rig
