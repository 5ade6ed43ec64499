"""S3's storage classes, and which of them can serve a cache."""

from __future__ import annotations

from enum import StrEnum

from tiercache.errors import ConfigurationError


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
        return self not in _UNUSABLE


_RESTORE = "its objects must be restored before each read, which takes {}; choose GLACIER_IR, which answers at once"
_NOT_WRITTEN = "S3 buckets do not take writes to it; choose STANDARD"
_UNUSABLE = {
    S3StorageClass.GLACIER: _RESTORE.format("minutes to hours"),
    S3StorageClass.DEEP_ARCHIVE: _RESTORE.format("12 to 48 hours"),
    S3StorageClass.OUTPOSTS: _NOT_WRITTEN,
    S3StorageClass.SNOW: _NOT_WRITTEN,
    S3StorageClass.FSX_OPENZFS: _NOT_WRITTEN,
    S3StorageClass.FSX_ONTAP: _NOT_WRITTEN,
    S3StorageClass.AWS_BACKUP_WARM: _NOT_WRITTEN,
    S3StorageClass.AWS_BACKUP_LOW_COST_WARM: _NOT_WRITTEN,
}
ARCHIVED = frozenset({S3StorageClass.GLACIER, S3StorageClass.DEEP_ARCHIVE})


def usable_class(storage_class: str) -> S3StorageClass:
    """Return the class if a cache can live in it.

    Raises:
        ConfigurationError: there is no such class, or it cannot serve a cache; the message says what to choose.
    """
    usable = ", ".join(known for known in S3StorageClass if known.is_usable)
    try:
        found = S3StorageClass(storage_class)
    except ValueError:
        raise ConfigurationError(f"storage_class={storage_class!r} is unknown to S3; choose one of {usable}") from None
    if not found.is_usable:
        raise ConfigurationError(f"storage_class={found.value!r} cannot serve a cache: {_UNUSABLE[found]}")
    return found
