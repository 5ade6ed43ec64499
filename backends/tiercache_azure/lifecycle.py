"""Azure's lifecycle rules: days after a blob's last change, by prefix.

They belong to the storage account and are kept by Azure Resource Manager, not by Blob Storage: account keys and SAS
tokens do not reach them, only tokens of an identity that may change the account.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import Any
from urllib.parse import quote

from azure.core import PipelineClient
from azure.core.credentials import TokenCredential
from azure.core.pipeline.policies import BearerTokenCredentialPolicy, UserAgentPolicy
from azure.core.pipeline.transport import RequestsTransport
from azure.core.rest import HttpRequest
from azure.storage.blob import ContainerClient

from tiercache.errors import ConfigurationError
from tiercache.objectstore.client import user_agent
from tiercache.objectstore.faults import Absent, Faults
from tiercache.objectstore.lifecycle import LifecycleRules, Rule, needs_days
from tiercache.objectstore.session import DirectSession, read_environment_once
from tiercache.objectstore.sockets import until

from .credential import PatientCredential, token_credential
from .errors import ACCOUNT_WORDS, by_code, translate

_POLICY = (
    "/subscriptions/{}/resourceGroups/{}/providers/Microsoft.Storage/storageAccounts/{}/managementPolicies/default"
)
_API = "2023-05-01"


class AzureLifecycle(LifecycleRules):
    """The rules of one storage account; ours are named `tiercache` and a digest of container and prefix.

    Args:
        container: the rules are wanted for.
        account: the storage account's name.
        subscription_id: of the account.
        resource_group: of the account.
        credential: of somebody who may change the account.
        management_url: of Azure Resource Manager; another one in sovereign clouds.
    """

    def __init__(
        self,
        container: str,
        *,
        account: str,
        subscription_id: str,
        resource_group: str,
        credential: TokenCredential,
        management_url: str,
    ) -> None:
        session = DirectSession(1)
        read_environment_once(session, management_url)
        policies = [
            UserAgentPolicy(user_agent()),
            BearerTokenCredentialPolicy(credential, f"{management_url}/.default"),
        ]
        self._client: PipelineClient[Any, Any] = PipelineClient(
            management_url, policies=policies, transport=RequestsTransport(session=session)
        )
        path = _POLICY.format(*(quote(part, safe="") for part in (subscription_id, resource_group, account)))
        self._url = f"{management_url}{path}?api-version={_API}"
        self._container = container
        self._faults = Faults(ACCOUNT_WORDS, account)

    def read(self, *, deadline: float | None) -> list[Rule]:
        """Get the management policy; an account without one has no rules."""
        try:
            answer = self._send("GetManagementPolicy", HttpRequest("GET", self._url), deadline)
        except Absent:
            return []
        try:
            return [dict(rule) for rule in answer.json()["properties"]["policy"]["rules"]]
        except (ValueError, KeyError, TypeError):
            raise self._faults.not_a_store("no policy") from None

    def write(self, rules: Sequence[Rule], *, deadline: float | None) -> None:
        """Put the management policy; one without rules is deleted, as it may not be empty."""
        if rules:
            policy = {"properties": {"policy": {"rules": list(rules)}}}
            self._send("PutManagementPolicy", HttpRequest("PUT", self._url, json=policy), deadline)
        else:
            self._send("DeleteManagementPolicy", HttpRequest("DELETE", self._url), deadline)

    def wanted(self, prefix: str, expire_after_days: int | None) -> list[Rule]:
        """Delete what was not changed for more than so many days."""
        days = needs_days("Azure", expire_after_days)
        return [
            {
                "enabled": True,
                "name": self._name(prefix),
                "type": "Lifecycle",
                "definition": {
                    "actions": {"baseBlob": {"delete": {"daysAfterModificationGreaterThan": days}}},
                    "filters": {"blobTypes": ["blockBlob"], "prefixMatch": [f"{self._container}/{prefix}"]},
                },
            }
        ]

    def owns(self, rule: Rule, prefix: str) -> bool:
        """Whether it has our name for this container and prefix."""
        return rule.get("name") == self._name(prefix)

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def _name(self, prefix: str) -> str:
        """Letters and digits, as names of rules may hold nothing else; the Terraform module makes the same one."""
        return f"tiercache{sha256(f'{self._container}/{prefix}'.encode()).hexdigest()[:16]}"

    def _send(self, operation: str, request: HttpRequest, deadline: float | None) -> Any:
        try:
            with until(deadline):
                answer = self._client.send_request(request)
        except Exception as error:
            mapped = translate(error, operation, self._faults, deadline)
            if mapped is None:
                raise
            raise mapped from None
        if answer.status_code >= 300:
            raise by_code(_code(answer), answer.status_code, operation, self._faults)
        return answer


def rules_of(
    client: ContainerClient,
    *,
    subscription_id: str | None,
    resource_group: str | None,
    credential: Any,
    management_url: str,
) -> AzureLifecycle:
    """Return the rules of the account that a client reaches.

    Raises:
        ConfigurationError: where the account is, or who may change it, is not said.
    """
    if not subscription_id or not resource_group:
        raise ConfigurationError(
            "Azure's lifecycle rules belong to the storage account: give subscription_id and resource_group"
        )
    credential = client.credential if credential is None else token_credential(credential)
    if not isinstance(credential, PatientCredential):
        raise ConfigurationError(
            "Azure's lifecycle rules are not reached with account keys and SAS tokens: give credential, such as"
            " azure.identity.DefaultAzureCredential()"
        )
    return AzureLifecycle(
        client.container_name,
        account=str(client.account_name),
        subscription_id=subscription_id,
        resource_group=resource_group,
        credential=credential,
        management_url=management_url.rstrip("/"),
    )


def _code(answer: Any) -> str:
    """The code of an error; Azure Resource Manager answers in JSON."""
    try:
        return str(answer.json()["error"]["code"])
    except (ValueError, KeyError, TypeError):
        return ""
