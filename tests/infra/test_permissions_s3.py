"""The IAM policy of infra/aws allows what S3Backend asks of S3, no more and no less."""

from __future__ import annotations

import fnmatch
import json

from tests.infra.client_permissions import ClientPermissions
from tests.infra.conftest import NEEDED, Plan
from tests.infra.permissions import Need

BUCKET = NEEDED["aws"]["bucket_name"]


class TestS3(ClientPermissions):
    cloud = "aws"
    contract = "tests/contract/test_s3_seaweedfs.py"
    container = BUCKET
    outside = (
        Need("s3:GetObject", BUCKET, "other/key"),
        Need("s3:PutObject", BUCKET, "tiercache-2/key"),
        Need("s3:DeleteObject", "another-bucket", "tiercache/key"),
        Need("s3:ListBucket", BUCKET, ""),
        Need("s3:ListBucket", BUCKET, "tiercache"),
        Need("s3:ListBucket", "another-bucket", "tiercache/"),
        Need("s3:PutLifecycleConfiguration", BUCKET, ""),
        Need("s3:GetObjectVersion", BUCKET, "tiercache/key"),
    )

    def granted(self, planned: Plan) -> set[str]:
        return {action for statement in statements(planned) for action in statement["Action"]}

    def allows(self, planned: Plan, need: Need) -> bool:
        of_bucket = need.permission in ("s3:ListBucket", "s3:PutLifecycleConfiguration")
        arn = f"arn:aws:s3:::{need.container}" + ("" if of_bucket else f"/{need.name}")
        return any(
            statement["Effect"] == "Allow"
            and need.permission in statement["Action"]
            and fnmatch.fnmatchcase(arn, statement["Resource"])
            and fnmatch.fnmatchcase(need.name, prefix_of(statement))
            for statement in statements(planned)
        )


def statements(planned: Plan) -> list[dict]:
    return json.loads(planned.resources["aws_iam_policy.client"]["policy"])["Statement"]


def prefix_of(statement: dict) -> str:
    """The pattern that the prefix of a listing must match."""
    return statement.get("Condition", {"StringLike": {"s3:prefix": "*"}})["StringLike"]["s3:prefix"]
