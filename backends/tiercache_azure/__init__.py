"""The Azure tier of tiercache: `AzureBlobBackend` and its access tiers. Needs `tiercache[azure]` to be used."""

from .backend import AzureBlobBackend
from .classes import AzureAccessTier

__all__ = ["AzureAccessTier", "AzureBlobBackend"]
