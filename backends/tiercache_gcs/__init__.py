"""The Google Cloud Storage tier: `GCSBackend` and the storage classes it takes. Needs `tiercache[gcs]` to be used."""

from .backend import GCSBackend
from .classes import GCSStorageClass

__all__ = ["GCSBackend", "GCSStorageClass"]
