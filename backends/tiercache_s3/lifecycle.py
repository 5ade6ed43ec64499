"""S3's lifecycle rules: whole days after an object's writing, by prefix."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

from tiercache.objectstore.faults import Absent
from tiercache.objectstore.lifecycle import LifecycleRules, Rule, needs_days

_BESIDE = "TransitionDefaultMinimumObjectSize"  # how rules of others treat small objects: gone unless it is sent back
Calling = Callable[[str, float | None], AbstractContextManager[Any]]


class S3Lifecycle(LifecycleRules):
    """The rules of one bucket; ours carry the id `tiercache:` and the prefix.

    Args:
        bucket: its name.
        calling: lends the client (`SdkStore.calling`).
    """

    def __init__(self, bucket: str, calling: Calling) -> None:
        self._bucket = bucket
        self._calling = calling
        self._beside: dict[str, Any] = {}

    def read(self, *, deadline: float | None) -> list[Rule]:
        """GetBucketLifecycleConfiguration."""
        try:
            with self._calling("GetBucketLifecycleConfiguration", deadline) as client:
                answer = client.get_bucket_lifecycle_configuration(Bucket=self._bucket)
        except Absent:  # the bucket has none
            answer = {}
        self._beside = {_BESIDE: answer[_BESIDE]} if _BESIDE in answer else {}
        return [dict(rule) for rule in answer.get("Rules", ())]

    def write(self, rules: Sequence[Rule], *, deadline: float | None) -> None:
        """PutBucketLifecycleConfiguration."""
        with self._calling("PutBucketLifecycleConfiguration", deadline) as client:
            client.put_bucket_lifecycle_configuration(
                Bucket=self._bucket, LifecycleConfiguration={"Rules": list(rules)}, **self._beside
            )

    def wanted(self, prefix: str, expire_after_days: int | None) -> list[Rule]:
        """Expire below the prefix after so many days, and forget uploads that were never finished after one."""
        return [
            {
                "ID": _id(prefix),
                "Filter": {"Prefix": prefix},
                "Status": "Enabled",
                "Expiration": {"Days": needs_days("S3", expire_after_days)},
                "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1},
            }
        ]

    def owns(self, rule: Rule, prefix: str) -> bool:
        """Whether it has our id for this prefix."""
        return rule.get("ID") == _id(prefix)


def _id(prefix: str) -> str:
    return f"tiercache:{prefix}"
