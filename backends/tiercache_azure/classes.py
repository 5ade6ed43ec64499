"""Azure Blob's access tiers: what they cost, what they bill at least, and which of them can serve a cache."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

from tiercache.objectstore.classes import ClassRules, Prices


class AzureAccessTier(StrEnum):
    """Every tier that the API names. A cache writes to Hot, Cool and Cold (see `is_usable`)."""

    HOT = "Hot"
    COOL = "Cool"
    COLD = "Cold"
    ARCHIVE = "Archive"
    SMART = "Smart"
    PREMIUM = "Premium"
    P4 = "P4"
    P6 = "P6"
    P10 = "P10"
    P15 = "P15"
    P20 = "P20"
    P30 = "P30"
    P40 = "P40"
    P50 = "P50"
    P60 = "P60"
    P70 = "P70"
    P80 = "P80"

    @property
    def is_usable(self) -> bool:
        """Whether a cache can write to the tier and read it back at once."""
        return not RULES[self].refused


_SOURCES = (
    "Microsoft's sample prices (learn.microsoft.com, Estimate the cost of using Azure Blob Storage), 2024-07; those "
    "marked unconfirmed differ from the East US meters (Azure Retail Prices, LRS), 2026-09",
    "minimum size: Azure updates, Minimum billable object size for cooler storage tiers, 2026-04",
)
_KIB_128 = 128 * 2**10
_SCOPE = "in accounts made since 2026-07-01, in all from 2027-07-01"
_PAGE_BLOBS = "it is a tier of page blobs on premium disks, and a cache stores block blobs; choose Hot"

_HOT = ClassRules(
    store="Azure",
    name=AzureAccessTier.HOT.value,
    prices=Prices(storage=0.0208, write=0.0055, read=0.00044),
    sources=_SOURCES,
    unconfirmed=frozenset({"write", "read"}),
)


def _cool(name: AzureAccessTier, prices: Prices, *, min_days: int) -> ClassRules:
    return ClassRules(
        store="Azure",
        name=name.value,
        prices=prices,
        min_billable_bytes=_KIB_128,
        min_bytes_scope=_SCOPE,
        min_days=min_days,
        plain=_HOT,
        sources=_SOURCES,
        unconfirmed=frozenset({"storage"}),
    )


_RULES = (
    _HOT,
    _cool(AzureAccessTier.COOL, Prices(storage=0.0115, write=0.010, read=0.001, retrieval=0.01), min_days=30),
    _cool(AzureAccessTier.COLD, Prices(storage=0.0045, write=0.018, read=0.010, retrieval=0.03), min_days=90),
    ClassRules(
        store="Azure",
        name=AzureAccessTier.ARCHIVE.value,
        prices=Prices(storage=0.002, write=0.011, read=0.55, retrieval=0.022),
        min_billable_bytes=_KIB_128,
        min_bytes_scope=_SCOPE,
        min_days=180,
        refused="its blobs are offline until they are rehydrated, which takes up to 15 hours; choose Cold",
        archived=True,
        plain=_HOT,
        sources=_SOURCES,
        unconfirmed=frozenset({"storage", "write", "read", "retrieval"}),
    ),
    ClassRules(
        store="Azure",
        name=AzureAccessTier.SMART.value,
        refused="it is the default tier of an account, not one of a write, and keeps small blobs in Hot; choose Hot",
        plain=_HOT,
    ),
    ClassRules(
        store="Azure",
        name=AzureAccessTier.PREMIUM.value,
        refused="it is what a premium account is, not a tier of a write; use a standard account and choose Hot",
        plain=_HOT,
    ),
    *(
        ClassRules(store="Azure", name=name.value, refused=_PAGE_BLOBS, plain=_HOT)
        for name in AzureAccessTier
        if name.value.startswith("P") and name is not AzureAccessTier.PREMIUM
    ),
)
RULES: Mapping[str, ClassRules] = MappingProxyType({rules.name: rules for rules in _RULES})
"""The rules of every tier of `AzureAccessTier`, by its name."""
ARCHIVED = frozenset(name for name, rules in RULES.items() if rules.archived)
