"""The contract, held by `PackedBackend` over S3 as moto has it: quick, and without a server."""

from typing import ClassVar

from tests.contract import test_s3_moto
from tests.contract.packed import PackedHooks
from tests.contract.s3 import S3Hooks
from tests.contract.test_s3_moto import SECRET, aws
from tiercache.testing import BackendContract

__all__ = ["aws"]  # a fixture


class OnMoto:
    secrets = (SECRET,)
    operations_per_thread = 20
    inner = test_s3_moto.TestS3OnMoto.backend
    now, advance = test_s3_moto.TestS3OnMoto.now, test_s3_moto.TestS3OnMoto.advance
    raw_names, raw_body, raw_put_object = S3Hooks.raw_names, S3Hooks.raw_body, S3Hooks.raw_put_object


class TestPackedOnMoto(OnMoto, PackedHooks, BackendContract):
    """Read from segments."""


class TestBufferedOnMoto(OnMoto, PackedHooks, BackendContract):
    """Read from what waits."""

    options: ClassVar = {}
