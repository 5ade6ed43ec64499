"""The S3 tier of tiercache: `S3Backend` and the storage classes it takes. Needs `tiercache[s3]` to be used."""

from .backend import S3Backend
from .classes import S3StorageClass

__all__ = ["S3Backend", "S3StorageClass"]
