"""Azure Blob's access tiers, and which of them can serve a cache."""

from __future__ import annotations

from enum import StrEnum

from tiercache.errors import ConfigurationError


class AzureAccessTier(StrEnum):
    """The access tiers of block blobs. Those that answer at once can hold a cache."""

    HOT = "Hot"
    COOL = "Cool"
    COLD = "Cold"
    ARCHIVE = "Archive"


ARCHIVED = frozenset({AzureAccessTier.ARCHIVE})


def usable_tier(access_tier: str) -> AzureAccessTier:
    """Return the tier if a cache can live in it.

    Raises:
        ConfigurationError: there is no such tier, or it cannot serve a cache; the message says what to choose.
    """
    usable = ", ".join(known for known in AzureAccessTier if known not in ARCHIVED)
    try:
        found = AzureAccessTier(access_tier)
    except ValueError:
        raise ConfigurationError(f"access_tier={access_tier!r} is unknown to Azure; choose one of {usable}") from None
    if found in ARCHIVED:
        raise ConfigurationError(
            f"access_tier={found.value!r} cannot serve a cache: its blobs must be rehydrated before each read, which"
            " takes up to 15 hours; choose Cold, which answers at once"
        )
    return found
