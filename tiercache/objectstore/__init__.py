"""All that S3, Google Cloud Storage and Azure Blob share: a vendor adds the SDK's calls, and is a backend.

`objects` are those calls, `backend` makes entries of objects, `mirror` shows the metadata to consoles and HEADs,
`parallel` runs batches.
"""

from .backend import CONTENT_TYPE, ObjectStoreBackend
from .objects import ObjectInfo, ObjectStore, check_size

__all__ = ["CONTENT_TYPE", "ObjectInfo", "ObjectStore", "ObjectStoreBackend", "check_size"]
