"""What a Google bucket says about itself that matters for a cache, and the commands that permit what a cache does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tiercache.errors import BackendError
from tiercache.findings import Finding, Permission

from .bucket import GCSBucket

_ROLES = {
    "read": "roles/storage.objectUser",
    "write": "roles/storage.objectUser",
    "delete": "roles/storage.objectUser",
    "list": "roles/storage.objectUser",
    "lifecycle": "roles/storage.admin",
}
_FIELDS = "versioning,softDeletePolicy"
_DAY = 86_400


def allow(permission: Permission, bucket: str) -> str:
    """Return the command that grants a permission."""
    return (
        f"gcloud storage buckets add-iam-policy-binding gs://{bucket} --member=serviceAccount:<account> "
        f"--role={_ROLES[permission]}"
    )


def examine(objects: GCSBucket, bucket: str, *, deadline: float | None) -> list[Finding]:
    """Return what is to know of the bucket; nothing where the credentials do not show it, as a client's should not."""
    try:
        about = objects.about(_FIELDS, deadline=deadline)
    except BackendError:
        return []
    return list(judged(about, bucket))


def judged(about: Mapping[str, Any], bucket: str) -> Iterator[Finding]:
    """Yield what to know of a bucket that is described so."""
    try:
        days = int(about.get("softDeletePolicy", {}).get("retentionDurationSeconds", 0)) / _DAY
    except ValueError:
        days = 0.0
    if days:
        yield Finding(
            level="warning",
            about="soft delete",
            text=f"the bucket keeps what is deleted or replaced for {days:.0f} days, and bills it",
            fix=f"gcloud storage buckets update gs://{bucket} --clear-soft-delete",
        )
    if about.get("versioning", {}).get("enabled"):
        yield Finding(
            level="warning",
            about="versions",
            text="the bucket keeps versions: every entry that is replaced, deleted or expired stays, and is billed",
            fix=f"gcloud storage buckets update gs://{bucket} --no-versioning",
        )
