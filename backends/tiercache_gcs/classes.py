"""Google Cloud Storage's classes: what they cost and what they bill at least. All of them answer in milliseconds."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

from tiercache.objectstore.classes import ClassRules, Prices, usable


class GCSStorageClass(StrEnum):
    """Every class that the API names; a cache writes to the first four (see `is_usable`), ARCHIVE included."""

    STANDARD = "STANDARD"
    NEARLINE = "NEARLINE"
    COLDLINE = "COLDLINE"
    ARCHIVE = "ARCHIVE"
    MULTI_REGIONAL = "MULTI_REGIONAL"
    REGIONAL = "REGIONAL"
    DURABLE_REDUCED_AVAILABILITY = "DURABLE_REDUCED_AVAILABILITY"

    @property
    def is_usable(self) -> bool:
        """Whether a cache can write to the class and read it back at once."""
        return not RULES[self].refused


_SOURCES = (
    "Cloud Storage price list, us-central1, flat namespace (cloud.google.com/storage/pricing), 2026-09-20",
    "minimum durations: Cloud Storage documentation, Storage classes, 2026-11",
)
_LEGACY = "it is a legacy class, kept for old buckets; choose STANDARD"

_STANDARD = ClassRules(
    store="Google Cloud Storage",
    name=GCSStorageClass.STANDARD.value,
    prices=Prices(storage=0.020, write=0.005, read=0.0004),
    sources=_SOURCES,
)


def _cold(
    name: GCSStorageClass, prices: Prices, *, min_days: int, unconfirmed: frozenset[str] = frozenset()
) -> ClassRules:
    return ClassRules(
        store="Google Cloud Storage",
        name=name.value,
        prices=prices,
        min_days=min_days,
        plain=_STANDARD,
        sources=_SOURCES,
        unconfirmed=unconfirmed,
    )


_RULES = (
    _STANDARD,
    _cold(GCSStorageClass.NEARLINE, Prices(storage=0.010, write=0.01, read=0.001, retrieval=0.01), min_days=30),
    _cold(
        GCSStorageClass.COLDLINE,
        Prices(storage=0.004, write=0.02, read=0.01, retrieval=0.02),
        min_days=90,
        unconfirmed=frozenset({"read"}),
    ),
    _cold(
        GCSStorageClass.ARCHIVE,
        Prices(storage=0.0012, write=0.05, read=0.05, retrieval=0.05),
        min_days=365,
        unconfirmed=frozenset({"write", "read"}),
    ),
    *(
        ClassRules(store="Google Cloud Storage", name=name.value, refused=_LEGACY, plain=_STANDARD)
        for name in (
            GCSStorageClass.MULTI_REGIONAL,
            GCSStorageClass.REGIONAL,
            GCSStorageClass.DURABLE_REDUCED_AVAILABILITY,
        )
    ),
)
RULES: Mapping[str, ClassRules] = MappingProxyType({rules.name: rules for rules in _RULES})
"""The rules of every class of `GCSStorageClass`, by its name."""


def usable_class(storage_class: str) -> GCSStorageClass:
    """Return the class if a cache can live in it.

    Raises:
        ConfigurationError: there is no such class, or buckets no longer take it; the message says what to choose.
    """
    return GCSStorageClass(usable(RULES, storage_class).name)
