"""What an Azure storage account says about itself that matters for a cache: soft delete."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tiercache.errors import BackendError
from tiercache.findings import Finding

from .container import AzureContainer


def examine(blobs: AzureContainer, *, deadline: float | None) -> list[Finding]:
    """Return what is to know of the account; nothing where the credentials do not show it, as a client's need not."""
    try:
        return list(judged(blobs.about(deadline=deadline)))
    except BackendError:
        return []


def judged(about: Mapping[str, Any]) -> Iterator[Finding]:
    """Yield what to know of an account whose service has these properties."""
    policy = about.get("delete_retention_policy")
    if policy is None or not policy.enabled:
        return
    days = policy.days or 0
    kept = f"{days} day{'' if days == 1 else 's'}" if days else "some days"
    yield Finding(
        level="warning",
        about="soft delete",
        text=f"the storage account keeps what is deleted or replaced for {kept}, and bills it",
        fix="in an account of the cache's own: az storage account blob-service-properties update --account-name "
        "<account> --resource-group <group> --enable-delete-retention false",
    )
