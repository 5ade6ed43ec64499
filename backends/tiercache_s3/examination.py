"""What an S3 bucket says about itself that matters for a cache, and the statements that permit what a cache does."""

from __future__ import annotations

import json
from typing import Any

from tiercache.errors import BackendError
from tiercache.findings import Finding, Permission

from .bucket import S3Bucket

_ACTIONS = {"read": "s3:GetObject", "write": "s3:PutObject", "delete": "s3:DeleteObject"}
_OF_THE_BUCKET = {"list": ["s3:ListBucket"], "lifecycle": ["s3:GetLifecycleConfiguration"]}


def allow(permission: Permission, bucket: str, prefix: str) -> str:
    """Return the statement of an IAM policy that grants a permission below a prefix."""
    arn = f"arn:aws:s3:::{bucket}"
    statement: dict[str, Any] = {"Effect": "Allow"}
    if permission in _ACTIONS:
        statement |= {"Action": [_ACTIONS[permission]], "Resource": f"{arn}/{prefix}*"}
    else:
        statement |= {"Action": _OF_THE_BUCKET[permission], "Resource": arn}
    if permission == "list" and prefix:
        statement["Condition"] = {"StringLike": {"s3:prefix": f"{prefix}*"}}
    return json.dumps(statement)


def examine(objects: S3Bucket, bucket: str, *, deadline: float | None) -> list[Finding]:
    """Return what is to know of the bucket; nothing where the credentials do not show it, as a client's should not."""
    try:
        versioning = objects.versioning(deadline=deadline)
    except BackendError:
        return []
    if versioning != "Enabled":
        return []
    return [
        Finding(
            level="warning",
            about="versions",
            text="the bucket keeps versions: every entry that is replaced, deleted or expired stays, and is billed",
            fix=f"aws s3api put-bucket-versioning --bucket {bucket} --versioning-configuration Status=Suspended, and a "
            "lifecycle rule with NoncurrentVersionExpiration for those that are there",
        )
    ]
