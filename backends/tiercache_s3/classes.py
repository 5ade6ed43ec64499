"""S3's storage classes: what they cost, what they bill at least, and which of them can serve a cache."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

from tiercache.objectstore.classes import ClassRules, Prices, usable


class S3StorageClass(StrEnum):
    """Every class that the S3 API names. Those that answer at once can hold a cache (see `is_usable`)."""

    STANDARD = "STANDARD"
    STANDARD_IA = "STANDARD_IA"
    ONEZONE_IA = "ONEZONE_IA"
    INTELLIGENT_TIERING = "INTELLIGENT_TIERING"
    GLACIER_IR = "GLACIER_IR"
    EXPRESS_ONEZONE = "EXPRESS_ONEZONE"
    REDUCED_REDUNDANCY = "REDUCED_REDUNDANCY"
    GLACIER = "GLACIER"
    DEEP_ARCHIVE = "DEEP_ARCHIVE"
    OUTPOSTS = "OUTPOSTS"
    SNOW = "SNOW"
    FSX_OPENZFS = "FSX_OPENZFS"
    FSX_ONTAP = "FSX_ONTAP"
    AWS_BACKUP_WARM = "AWS_BACKUP_WARM"
    AWS_BACKUP_LOW_COST_WARM = "AWS_BACKUP_LOW_COST_WARM"

    @property
    def is_usable(self) -> bool:
        """Whether a cache can write to the class and read it back at once."""
        return not RULES[self].refused


_SOURCES = (
    "AWS price list, us-east-1, first volume band (aws.amazon.com/s3/pricing), 2026-11",
    "minimum sizes and durations: Amazon S3 User Guide, Understanding and managing storage classes, 2026-11",
)
_EXPRESS_SOURCES = (*_SOURCES, "request, upload and retrieval prices: Amazon S3 FAQs, S3 Express One Zone, 2026-11")
_KB_128 = 128 * 2**10
_RESTORE = "its objects must be restored before each read, which takes {}; choose GLACIER_IR, which answers at once"
_NOT_WRITTEN = "S3 buckets do not take writes to it; choose STANDARD"

_STANDARD = ClassRules(
    store="S3",
    name=S3StorageClass.STANDARD.value,
    prices=Prices(storage=0.023, write=0.005, read=0.0004),
    sources=_SOURCES,
)


def _cold(name: S3StorageClass, prices: Prices, *, min_days: int, note: str = "") -> ClassRules:
    return ClassRules(
        store="S3",
        name=name.value,
        prices=prices,
        min_billable_bytes=_KB_128,
        min_days=min_days,
        plain=_STANDARD,
        note=note,
        sources=_SOURCES,
    )


def _archive(name: S3StorageClass, prices: Prices, *, min_days: int, restore: str) -> ClassRules:
    return ClassRules(
        store="S3",
        name=name.value,
        prices=prices,
        overhead_bytes=40 * 2**10,  # of which 8 KiB at the price of STANDARD, which is not told apart here
        min_days=min_days,
        refused=_RESTORE.format(restore),
        archived=True,
        plain=_STANDARD,
        sources=_SOURCES,
    )


_RULES = (
    _STANDARD,
    _cold(S3StorageClass.STANDARD_IA, Prices(storage=0.0125, write=0.01, read=0.001, retrieval=0.01), min_days=30),
    _cold(
        S3StorageClass.ONEZONE_IA,
        Prices(storage=0.01, write=0.01, read=0.001, retrieval=0.01),
        min_days=30,
        note="one availability zone",
    ),
    ClassRules(
        store="S3",
        name=S3StorageClass.INTELLIGENT_TIERING.value,
        prices=Prices(storage=0.023, write=0.005, read=0.0004, monitoring=0.0025),
        monitored_bytes=_KB_128,
        note=(
            "objects under 128 KiB stay at this price; larger ones are watched for $0.0025 a month per 1,000 and cost "
            "0.0125 when nobody read them for 30 days, 0.004 after 90; leave the opt-in archive tiers off: what is in "
            "them must be restored, and is a miss"
        ),
        sources=_SOURCES,
    ),
    _cold(S3StorageClass.GLACIER_IR, Prices(storage=0.004, write=0.02, read=0.01, retrieval=0.03), min_days=90),
    ClassRules(
        store="S3",
        name=S3StorageClass.EXPRESS_ONEZONE.value,
        prices=Prices(storage=0.11, write=0.00113, read=0.00003, retrieval=0.0006, upload=0.0032),
        exclusive=True,
        note="directory buckets only; one availability zone",
        sources=_EXPRESS_SOURCES,
    ),
    ClassRules(
        store="S3",
        name=S3StorageClass.REDUCED_REDUNDANCY.value,
        prices=Prices(storage=0.024, write=0.005, read=0.0004),
        note="dearer and less durable than STANDARD; AWS advises against it",
        sources=_SOURCES,
    ),
    _archive(
        S3StorageClass.GLACIER,
        Prices(storage=0.0036, write=0.03, read=0.0004, retrieval=0.01),
        min_days=90,
        restore="minutes to hours",
    ),
    _archive(
        S3StorageClass.DEEP_ARCHIVE,
        Prices(storage=0.00099, write=0.05, read=0.0004, retrieval=0.02),
        min_days=180,
        restore="12 to 48 hours",
    ),
    *(
        ClassRules(store="S3", name=name.value, refused=_NOT_WRITTEN, plain=_STANDARD)
        for name in (
            S3StorageClass.OUTPOSTS,
            S3StorageClass.SNOW,
            S3StorageClass.FSX_OPENZFS,
            S3StorageClass.FSX_ONTAP,
            S3StorageClass.AWS_BACKUP_WARM,
            S3StorageClass.AWS_BACKUP_LOW_COST_WARM,
        )
    ),
)
RULES: Mapping[str, ClassRules] = MappingProxyType({rules.name: rules for rules in _RULES})
"""The rules of every class of `S3StorageClass`, by its name."""
ARCHIVED = frozenset(name for name, rules in RULES.items() if rules.archived)


def usable_class(storage_class: str) -> S3StorageClass:
    """Return the class if a cache can live in it.

    Raises:
        ConfigurationError: there is no such class, or it cannot serve a cache; the message says what to choose.
    """
    return S3StorageClass(usable(RULES, storage_class).name)
