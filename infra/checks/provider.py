"""Stands in for a Terraform provider: knows the schemas of the real one, and plans without asking a cloud.

Terraform itself thus checks the modules offline: names and types of attributes, references, validations, and what
each expression comes to. What only the cloud knows, such as an ARN, is made up (`COMPUTED`) or left unknown.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import msgpack

HERE = Path(__file__).parent
UNKNOWN = msgpack.ExtType(0, b"\0")
NESTING = {"single": 1, "list": 2, "set": 3, "map": 4}
SUBSCRIPTION = "/subscriptions/00000000-0000-0000-0000-000000000000"
ACCOUNT = f"{SUBSCRIPTION}/resourceGroups/{{resource_group_name}}/providers/Microsoft.Storage/storageAccounts/{{name}}"
COMPUTED = {
    "aws_s3_bucket": {"id": "{bucket}", "arn": "arn:aws:s3:::{bucket}", "bucket_region": "eu-central-1"},
    "aws_iam_policy": {"arn": "arn:aws:iam::000000000000:policy/{name}"},
    "google_project_iam_custom_role": {"name": "projects/example-project/roles/{role_id}"},
    "azurerm_storage_account": {"id": ACCOUNT, "primary_blob_endpoint": "https://{name}.blob.core.windows.net/"},
    "azurerm_storage_container": {"id": "{storage_account_id}/blobServices/default/containers/{name}"},
    "azurerm_role_definition": {
        "role_definition_resource_id": f"{SUBSCRIPTION}/providers/Microsoft.Authorization/roleDefinitions/example"
    },
}

os.environ.setdefault("GRPC_VERBOSITY", "NONE")
pb, services = grpc.protos_and_services("tfplugin5.proto")


def block(known: dict[str, Any]) -> Any:
    """Return a block of a schema file as a message."""
    attributes = [
        pb.Schema.Attribute(name=name, type=json.dumps(kind).encode(), **dict.fromkeys(mode.split(), True))
        for name, (kind, mode) in known["attributes"].items()
    ]
    blocks = [
        pb.Schema.NestedBlock(
            type_name=name,
            block=block(nested["block"]),
            nesting=NESTING[nested["nesting"]],
            min_items=nested["min"],
            max_items=nested["max"],
        )
        for name, nested in known.get("blocks", {}).items()
    ]
    return pb.Schema.Block(attributes=attributes, block_types=blocks)


class Provider(services.ProviderServicer):  # type: ignore[misc, name-defined]
    """One provider, by its schema file."""

    def __init__(self, known: dict[str, Any]) -> None:
        self.known = known

    def GetSchema(self, request: Any, context: Any) -> Any:
        """Return all that a configuration may say."""
        resources = {kind: pb.Schema(block=block(known)) for kind, known in self.known["resources"].items()}
        return pb.Schemas(provider=pb.Schema(block=block(self.known["settings"])), resource_schemas=resources)

    def PrepareProviderConfig(self, request: Any, context: Any) -> Any:
        """Return the settings as they are."""
        return request

    def ValidateResourceTypeConfig(self, request: Any, context: Any) -> Any:
        """Accept what fits the schema, which Terraform has checked."""
        return pb.Diagnostics()

    def Configure(self, request: Any, context: Any) -> Any:
        """Connect to nothing."""
        return pb.Diagnostics()

    def Stop(self, request: Any, context: Any) -> Any:
        """Go on: a plan takes no time."""
        return pb.Empty()

    def PlanResourceChange(self, request: Any, context: Any) -> Any:
        """Return the configuration with what the cloud would add to it."""
        kind = request.type_name
        state = msgpack.unpackb(request.proposed_new_state.msgpack, ext_hook=msgpack.ExtType, strict_map_key=False)
        computed = COMPUTED.get(kind, {})
        for name, (_, mode) in self.known["resources"][kind]["attributes"].items():
            if "computed" in mode and state[name] is None:
                state[name] = computed[name].format(**state) if name in computed else UNKNOWN
        # As the real ones do, or Terraform would hold nested blocks to rules that theirs break, too.
        return pb.PlannedChange(planned_state=pb.DynamicValue(msgpack=msgpack.packb(state)), legacy_type_system=True)


@contextmanager
def serving() -> Iterator[str]:
    """Serve all providers to Terraform, and yield what to set TF_REATTACH_PROVIDERS to."""
    servers, attached = [], {}
    for path in sorted((HERE / "schemas").glob("*.json")):
        known = json.loads(path.read_text())
        server = grpc.server(ThreadPoolExecutor(4))
        services.add_ProviderServicer_to_server(Provider(known), server)
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        servers.append(server)
        attached[known["source"]] = {
            "Protocol": "grpc",
            "ProtocolVersion": 5,
            "Pid": os.getpid(),
            "Test": True,
            "Addr": {"Network": "tcp", "String": f"127.0.0.1:{port}"},
        }
    try:
        yield json.dumps(attached)
    finally:
        for server in servers:
            server.stop(None).wait()
