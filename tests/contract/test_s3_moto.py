"""The contract, held by `S3Backend` against moto in this process: quick, and without a server."""

import uuid
from contextlib import contextmanager

import boto3
import pytest
from moto import mock_aws

from tests.contract.s3 import S3Hooks
from tiercache.testing import ObjectStoreContract
from tiercache_s3 import S3Backend

SECRET = "canary-of-the-secret-key"
CLOSES_BUFFERS = pytest.mark.skip(
    "moto closes an object's buffer while another thread uses it; SeaweedFS runs this case"
)


@pytest.fixture(scope="module")
def aws():
    with mock_aws():
        yield boto3.client("s3", region_name="us-east-1", aws_access_key_id="test", aws_secret_access_key=SECRET)


class TestS3OnMoto(S3Hooks, ObjectStoreContract):
    secrets = (SECRET,)
    supports_archive = True
    supports_protection = True
    supports_conditional_delete = False  # moto ignores the etags of a bulk delete
    conditions_are_atomic = False  # moto checks If-Match and writes in two steps; SeaweedFS runs these cases
    operations_per_thread = 20

    @pytest.fixture
    def backend(self, aws, clock):
        self.client, self.clock, self.bucket = aws, clock, f"bucket-{uuid.uuid4().hex}"
        aws.create_bucket(Bucket=self.bucket)
        # A minute, not two seconds: moto answers in this process, and the machine may be busy.
        backend = S3Backend(
            self.bucket,
            prefix="tiercache/",
            region="us-east-1",
            access_key_id="test",
            secret_access_key=SECRET,
            timeout=60,
            clock=clock,
        )
        yield backend
        backend.close()

    def now(self):
        return self.clock.now

    def advance(self, seconds):
        self.clock.advance(seconds)

    @contextmanager
    def sent(self, backend):
        methods = []

        def note(request, **_):
            methods.append(request.method)

        events = backend.objects._client.get().meta.events
        events.register_first("before-send.s3", note)  # moto answers before anything is sent
        yield methods
        events.unregister("before-send.s3", note)

    @CLOSES_BUFFERS
    def test_threads_read_whole_values_of_their_key(self, backend):
        pass

    @CLOSES_BUFFERS
    def test_writers_without_a_condition_leave_one_whole_value(self, backend):
        pass

    @pytest.mark.slow
    def test_a_full_scan_of_many_entries_knows_each(self, backend):
        super().test_a_full_scan_of_many_entries_knows_each(backend)

    @pytest.mark.slow
    async def test_ascan_yields_many_entries_once_each_and_aclear_removes_them(self, backend):
        await super().test_ascan_yields_many_entries_once_each_and_aclear_removes_them(backend)
