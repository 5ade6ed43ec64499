"""The contract, held by `PackedBackend` over S3 against a real server."""

from typing import ClassVar

import pytest

from tests.contract import test_s3_seaweedfs
from tests.contract.packed import PackedHooks, TwoProcessesHooks
from tests.contract.s3 import S3Hooks
from tests.contract.test_s3_seaweedfs import client
from tiercache.testing import BackendContract

__all__ = ["client"]  # a fixture


class OnSeaweedFS:
    inner = test_s3_seaweedfs.TestS3OnSeaweedFS.backend
    raw_names, raw_body, raw_put_object = S3Hooks.raw_names, S3Hooks.raw_body, S3Hooks.raw_put_object


class TestPackedOnSeaweedFS(OnSeaweedFS, PackedHooks, BackendContract):
    """Read from segments."""


@pytest.mark.slow
class TestBufferedOnSeaweedFS(OnSeaweedFS, PackedHooks, BackendContract):
    """Read from what waits."""

    options: ClassVar = {}


@pytest.mark.slow
class TestPackedElsewhereOnSeaweedFS(OnSeaweedFS, TwoProcessesHooks, BackendContract):
    """Read by another process."""
