"""The roles of infra/gcp allow what GCSBackend asks of Cloud Storage, no more and no less."""

from __future__ import annotations

import re
from typing import ClassVar

from tests.infra.client_permissions import ClientPermissions
from tests.infra.conftest import NEEDED, Plan
from tests.infra.permissions import Need

BUCKET = NEEDED["gcp"]["bucket_name"]


class TestGCS(ClientPermissions):
    cloud = "gcp"
    contract = "tests/contract/test_gcs_fake.py"
    container = BUCKET
    members: ClassVar = {"members": ["serviceAccount:client@example-project.iam.gserviceaccount.com"]}
    outside = (
        Need("storage.objects.get", BUCKET, "other/key"),
        Need("storage.objects.create", BUCKET, "tiercache-2/key"),
        Need("storage.objects.delete", "another-bucket", "tiercache/key"),
        Need("storage.objects.list", "another-bucket", "tiercache/"),
        Need("storage.objects.update", BUCKET, "tiercache/key"),
        Need("storage.buckets.get", BUCKET, ""),
        Need("storage.buckets.update", BUCKET, ""),
    )

    def granted(self, planned: Plan) -> set[str]:
        return {permission for binding in bindings(planned) for permission in permissions(planned, binding["role"])}

    def allows(self, planned: Plan, need: Need) -> bool:
        of_bucket = need.permission == "storage.objects.list" or need.permission.startswith("storage.buckets.")
        resource = f"projects/_/buckets/{need.container}" + ("" if of_bucket else f"/objects/{need.name}")
        return any(
            binding["bucket"] == need.container
            and need.permission in permissions(planned, binding["role"])
            and all(holds(condition["expression"], resource) for condition in binding["condition"])
            for binding in bindings(planned)
        )


def bindings(planned: Plan) -> list[dict]:
    return [
        values for name, values in planned.resources.items() if name.startswith("google_storage_bucket_iam_member.")
    ]


def permissions(planned: Plan, role: str) -> set[str]:
    """The permissions of a custom role, by its name."""
    roles = [values for name, values in planned.resources.items() if name.startswith("google_project_iam_custom_role.")]
    (found,) = [values["permissions"] for values in roles if values["name"] == role]
    return set(found)


def holds(expression: str, resource: str) -> bool:
    """What a condition on the resource's name comes to."""
    found = re.fullmatch(r'resource\.name\.startsWith\("([^"]*)"\)', expression)
    assert found, f"this test cannot evaluate {expression}"
    return resource.startswith(found[1])
