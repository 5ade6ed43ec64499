"""`AzureBlobBackend`: entries in Azure Blob Storage."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from typing import Any, ClassVar, Self
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from tiercache.entry import Clock
from tiercache.errors import ConfigurationError, MissingExtra
from tiercache.findings import Finding, Permission
from tiercache.objectstore import LifecycleChange, ObjectStoreBackend, usable
from tiercache.objectstore.address import checked_bucket, with_environment
from tiercache.objectstore.advice import TYPICAL_ENTRY
from tiercache.objectstore.client import LazyClient
from tiercache.objectstore.lifecycle import LifecycleRules, apply
from tiercache.units import Duration, Size, parse_size

from .classes import RULES, AzureAccessTier

_SPARE_CONNECTIONS = 16  # for callers in threads of their own, beside both pools
_MANAGEMENT_SECONDS = 60.0
_SECRETS = {"credential", "connection_string", "sig"}


class AzureBlobBackend(ObjectStoreBackend):
    """Entries as block blobs in a container (see `ObjectStoreBackend` for what each operation costs).

    The constructor does no I/O; the first operation makes the SDK's client. Neither the SDK nor this class retries.
    Blobs that a lifecycle rule archived are misses; nothing is rehydrated. `delete_many` and `clear` send a request
    for each 256 blobs, as Azure takes no more.

    Args:
        container: its name.
        prefix: what the names of all blobs start with; a `/` is added at its end. No part of it may end with a dot:
            Azure drops that.
        access_tier: of new blobs that ask for none; those that cannot serve a cache are refused; None (in a URL or
            the environment: `none`): the account's own, and the only choice for premium accounts.
        connection_string: of the account.
        account_url: such as `https://account.blob.core.windows.net`, or Azurite's `http://127.0.0.1:10000/account`;
            it may hold a SAS token. Neither this nor `connection_string`: from the environment (see `from_env`).
        credential: an account key, a SAS token, an `AzureNamedKeyCredential`, an `AzureSasCredential`, or a token
            credential of azure-identity (not of its `aio`); None: `DefaultAzureCredential`, made at the first request.
        create_container: whether a request that finds no container makes it; False: it must exist.
        timeout: seconds for one operation, connecting and the search for a token included; None: 60 without a byte.
            A tier may set the attribute later: every operation asks for it anew. The SDK's own timeouts, a second
            line behind it, stay as they were when the client was made.
        max_concurrency: requests of a batch side by side.
        max_entry_bytes: the largest payload.
        typical_entry_bytes: stored bytes of an entry, for the figure in a `StorageClassWarning` until a hundred
            were written.
        clock: Unix seconds; for tests.

    Raises:
        MissingExtra: azure-storage-blob is not installed.
        ConfigurationError: an option has no such value, or does not go with another.
    """

    scheme: ClassVar[str] = "az"
    rules = RULES

    def __init__(
        self,
        container: str,
        *,
        prefix: str = "",
        access_tier: str | None = AzureAccessTier.HOT,
        connection_string: str | None = None,
        account_url: str | None = None,
        credential: Any = None,
        create_container: bool = False,
        timeout: Duration | None = 2.0,
        max_concurrency: int = 16,
        max_entry_bytes: Size = "16MiB",
        typical_entry_bytes: Size = TYPICAL_ENTRY,
        clock: Clock = time.time,
    ) -> None:
        checked_bucket(container, self.scheme, "container")
        if "./" in f"{prefix}/":
            raise ConfigurationError("no part of prefix may end with '.': Azure drops it")
        if access_tier is not None and access_tier != "none":  # as a URL and the environment say it
            self.storage_class = AzureAccessTier(usable(RULES, access_tier, "access_tier").name)
        try:
            from .client import LARGEST_ENTRY, Connection, build, close
            from .container import AzureContainer
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] not in ("azure", "requests", "urllib3"):
                raise
            raise MissingExtra("AzureBlobBackend", "azure") from None
        if connection_string is None and account_url is None:
            place = _place(os.environ)
            connection_string, account_url = place.get("connection_string"), place.get("account_url")
            credential = place.get("credential") if credential is None else credential
        elif connection_string is not None and account_url is not None:
            raise ConfigurationError("give connection_string or account_url, not both")
        if parse_size(max_entry_bytes, "max_entry_bytes") > LARGEST_ENTRY:
            raise ConfigurationError(f"max_entry_bytes: Azure takes {LARGEST_ENTRY // 2**20:,} MiB in one request")
        connection = Connection(
            container, connection_string, account_url, credential, 2 * max_concurrency + _SPARE_CONNECTIONS
        )
        client = LazyClient(
            lambda: build(connection, self.timeout),
            close,
            renewable=connection.finds_tokens,
        )
        self._blobs = AzureContainer(container, client, self.storage_class, create=create_container)
        super().__init__(
            self._blobs,
            prefix=prefix,
            timeout=timeout,
            max_concurrency=max_concurrency,
            max_entry_bytes=max_entry_bytes,
            typical_entry_bytes=typical_entry_bytes,
            clock=clock,
        )
        self.container = container

    def apply_lifecycle(
        self,
        *,
        expire_after: Duration | None = None,
        dry_run: bool = False,
        deadline: float | None = None,
        subscription_id: str | None = None,
        resource_group: str | None = None,
        credential: Any = None,
        management_url: str = "https://management.azure.com",
    ) -> LifecycleChange:
        """Make the storage account's lifecycle rules delete what is expired (see `ObjectStoreBackend`).

        Args:
            expire_after: how long after its writing an object goes, rounded up to days; Azure needs it.
            dry_run: say what would change, and change nothing.
            deadline: seconds of `time.monotonic`; None: a minute, as Azure Resource Manager is slow.
            subscription_id: of the account.
            resource_group: of the account.
            credential: a token credential of somebody who may change the account; None: the backend's own.
            management_url: of Azure Resource Manager; sovereign clouds have others.

        Raises:
            ConfigurationError: one of the above is missing, or the backend has a key or SAS token of its own.
            AccessDenied: the credential does not allow it.
        """
        place = {
            "subscription_id": subscription_id,
            "resource_group": resource_group,
            "credential": credential,
            "management_url": management_url,
        }
        with self.lifecycle_rules(deadline=deadline, **place) as (rules, due):
            return apply(rules, self.prefix, expire_after, dry_run=dry_run, deadline=due)

    @contextmanager
    def lifecycle_rules(
        self,
        *,
        deadline: float | None = None,
        subscription_id: str | None = None,
        resource_group: str | None = None,
        credential: Any = None,
        management_url: str = "https://management.azure.com",
    ) -> Iterator[tuple[LifecycleRules, float | None]]:
        """Lend the storage account's lifecycle rules, and when what is done with them must end (`apply_lifecycle`)."""
        from .lifecycle import rules_of

        self.due(deadline)  # it is not too late, and this backend is open
        due = time.monotonic() + _MANAGEMENT_SECONDS if deadline is None else deadline
        with self._blobs.calling("GetManagementPolicy", due) as client:
            rules = rules_of(
                client,
                subscription_id=subscription_id,
                resource_group=resource_group,
                credential=credential,
                management_url=management_url,
            )
        with closing(rules):
            yield rules, due

    def examine(self, *, deadline: float | None = None) -> list[Finding]:
        """Return what the storage account says of itself that its operator should know: soft delete."""
        from . import examination

        return examination.examine(self._blobs, deadline=self.due(deadline))

    def server_time(self, *, deadline: float | None = None) -> float | None:
        """Return the store's clock in whole seconds, by a listing's date; None: it told none."""
        return self._blobs.time(self.prefix, deadline=self.due(deadline))

    def allow(self, permission: Permission) -> str:
        """Return the command that grants a permission."""
        role = "Storage Account Contributor" if permission == "lifecycle" else "Storage Blob Data Contributor"
        scope = "/subscriptions/<id>/resourceGroups/<group>/providers/Microsoft.Storage/storageAccounts/<account>"
        if permission != "lifecycle":
            scope += f"/blobServices/default/containers/{self.container}"
        return f"az role assignment create --assignee <principal> --role '{role}' --scope {scope}"

    @classmethod
    def url_arguments(cls, url: SplitResult) -> dict[str, str]:
        """Return container and prefix of `az://container/prefix/?account_url=https://account.blob.core.windows.net`.

        Raises:
            ConfigurationError: the URL holds credentials, or a port.
        """
        query = dict(parse_qsl(url.query))
        account = urlsplit(query.get("account_url", ""))
        secrets = _SECRETS & {*query, *dict(parse_qsl(account.query))}
        if secrets or "@" in url.netloc + account.netloc or ":" in url.netloc:
            raise ConfigurationError(
                "az://container/prefix takes no credentials and no port: write account_url without a SAS token for"
                " DefaultAzureCredential; for others leave it out, and set AZURE_STORAGE_ACCOUNT with AZURE_STORAGE_KEY"
                " or AZURE_STORAGE_SAS_TOKEN, or AZURE_STORAGE_CONNECTION_STRING"
            )
        return {"container": url.netloc, "prefix": unquote(url.path.lstrip("/"))}

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None, **options: Any) -> Self:
        """Return a backend made from environment variables.

        `TIERCACHE_AZURE_CONTAINER`, `TIERCACHE_AZURE_PREFIX`, `TIERCACHE_AZURE_ACCESS_TIER`; then
        `AZURE_STORAGE_CONNECTION_STRING`, or `AZURE_STORAGE_ACCOUNT_URL` or `AZURE_STORAGE_ACCOUNT` (a name), with
        `AZURE_STORAGE_KEY` or `AZURE_STORAGE_SAS_TOKEN`. What is empty counts as not set.

        Args:
            env: the variables; None: those of this process.
            options: arguments of the constructor; they come before the variables.

        Raises:
            ConfigurationError: `TIERCACHE_AZURE_CONTAINER` is not set, or where the account is.
        """
        env = os.environ if env is None else env  # as a default it would stand in help()
        found = {
            "container": env.get("TIERCACHE_AZURE_CONTAINER"),
            "prefix": env.get("TIERCACHE_AZURE_PREFIX"),
            "access_tier": env.get("TIERCACHE_AZURE_ACCESS_TIER"),
        }
        options = with_environment(found, options, "TIERCACHE_AZURE_CONTAINER", "container")
        if not options.keys() & {"connection_string", "account_url"}:
            options = _place(env) | options
        return cls(**options)


def _place(env: Mapping[str, str]) -> dict[str, str]:
    """Where the account is, and what to sign in with, from the environment."""
    if connection_string := env.get("AZURE_STORAGE_CONNECTION_STRING"):
        return {"connection_string": connection_string}
    account = env.get("AZURE_STORAGE_ACCOUNT")
    url = env.get("AZURE_STORAGE_ACCOUNT_URL") or (account and f"https://{account}.blob.core.windows.net")
    if not url:
        raise ConfigurationError(
            "where is the container? Give connection_string or account_url, or set AZURE_STORAGE_CONNECTION_STRING, or"
            " AZURE_STORAGE_ACCOUNT_URL or AZURE_STORAGE_ACCOUNT, with AZURE_STORAGE_KEY or AZURE_STORAGE_SAS_TOKEN (or"
            " neither: DefaultAzureCredential)"
        )
    credential = env.get("AZURE_STORAGE_KEY") or env.get("AZURE_STORAGE_SAS_TOKEN")
    return {"account_url": url, "credential": credential} if credential else {"account_url": url}
