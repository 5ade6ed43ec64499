"""The contract, held by `PackedBackend` over fake-gcs-server."""

import pytest

from tests.contract import test_gcs_fake
from tests.contract.packed import PackedHooks, TwoProcessesHooks
from tests.contract.test_gcs_fake import raw_bucket
from tiercache.testing import BackendContract

__all__ = ["raw_bucket"]  # a fixture


class OnFakeServer:
    inner = test_gcs_fake.TestGCSOnFakeServer.backend
    raw_names = test_gcs_fake.TestGCSOnFakeServer.raw_names
    raw_body = test_gcs_fake.TestGCSOnFakeServer.raw_body
    raw_put_object = test_gcs_fake.TestGCSOnFakeServer.raw_put_object


class TestPackedGCSOnFakeServer(OnFakeServer, PackedHooks, BackendContract):
    """Read from segments."""


@pytest.mark.slow
class TestPackedElsewhereOnFakeServer(OnFakeServer, TwoProcessesHooks, BackendContract):
    """Read by another process."""
