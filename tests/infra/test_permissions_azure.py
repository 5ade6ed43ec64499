"""The role of infra/azure allows what AzureBlobBackend asks of Blob Storage, no more and no less."""

from __future__ import annotations

from typing import ClassVar

from tests.infra.client_permissions import ClientPermissions
from tests.infra.conftest import NEEDED, Plan
from tests.infra.permissions import CONTAINERS, Need

CONTAINER = NEEDED["azure"]["container_name"]


class TestAzure(ClientPermissions):
    cloud = "azure"
    contract = "tests/contract/test_azure_azurite.py"
    container = CONTAINER
    members: ClassVar = {"principal_ids": ["00000000-0000-0000-0000-000000000001"]}
    # Azure's roles end at the container: what is below another prefix in it is not outside.
    outside = (
        Need(CONTAINERS + "blobs/read", "another", "tiercache/key"),
        Need(CONTAINERS + "blobs/write", f"{CONTAINER}-2", "tiercache/key"),
        Need(CONTAINERS + "blobs/delete", "another", "tiercache/key"),
        Need(CONTAINERS + "blobs/tags/write", CONTAINER, "tiercache/key"),
        Need(CONTAINERS + "write", CONTAINER, ""),
        Need(CONTAINERS + "delete", CONTAINER, ""),
        Need(CONTAINERS + "read", CONTAINER, ""),
    )

    def granted(self, planned: Plan) -> set[str]:
        role = planned.resources["azurerm_role_definition.client"]
        return {action for given in role["permissions"] for action in [*given["actions"], *given["data_actions"]]}

    def allows(self, planned: Plan, need: Need) -> bool:
        account = planned.resources["azurerm_storage_account.cache"]["id"]
        resource = f"{account}/blobServices/default/containers/{need.container}/blobs/{need.name}"
        (assignment,) = [
            values for name, values in planned.resources.items() if name.startswith("azurerm_role_assignment.client")
        ]
        return need.permission in self.granted(planned) and resource.startswith(assignment["scope"] + "/")
