"""What an S3 bucket says about itself that matters for a cache, and the statements that permit what a cache does."""

from __future__ import annotations

import json
from typing import Any

from tiercache.errors import BackendError
from tiercache.findings import Finding, Permission
from tiercache.objectstore.lifecycle import Rule

from .bucket import S3Bucket
from .classes import ARCHIVED

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


def examine(objects: S3Bucket, bucket: str, prefix: str, *, deadline: float | None) -> list[Finding]:
    """Return what is to know of the bucket; nothing where the credentials do not show it, as a client's should not."""
    found: list[Finding] = []
    try:
        if objects.versioning(deadline=deadline) == "Enabled":
            found.append(_keeps_versions(bucket))
    except BackendError:  # denied, most often; what else fails has been found by the trials
        found = []
    try:
        rules = objects.lifecycle.read(deadline=deadline) if objects.lifecycle is not None else []
    except BackendError:
        return found
    return found + [_archives(rule, name) for rule in rules for name in _archived_by(rule, prefix)]


def _keeps_versions(bucket: str) -> Finding:
    return Finding(
        level="warning",
        about="versions",
        text="the bucket keeps versions: every entry that is replaced, deleted or expired stays, and is billed",
        fix=f"aws s3api put-bucket-versioning --bucket {bucket} --versioning-configuration Status=Suspended, and a "
        "lifecycle rule with NoncurrentVersionExpiration for those that are there",
    )


def _archives(rule: Rule, storage_class: str) -> Finding:
    return Finding(
        level="warning",
        about="lifecycle",
        text=f"the lifecycle rule {rule.get('ID', 'without a name')!r} moves entries to {storage_class}: they are "
        "misses from then on, and are paid for",
        fix="confine that rule to other prefixes, or have it move to GLACIER_IR, which answers at once",
    )


def _archived_by(rule: Rule, prefix: str) -> list[str]:
    """The archive classes that a rule moves objects below the prefix to."""
    scope = rule.get("Filter", {})
    theirs = scope.get("Prefix", scope.get("And", {}).get("Prefix", rule.get("Prefix", "")))
    if rule.get("Status") != "Enabled" or not (prefix.startswith(theirs) or theirs.startswith(prefix)):
        return []
    moves = [move.get("StorageClass", "") for move in rule.get("Transitions", ())]
    return [name for name in moves if name in ARCHIVED]
