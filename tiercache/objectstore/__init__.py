"""All that S3, Google Cloud Storage and Azure Blob share: a vendor adds the SDK's calls, and is a backend.

`objects` are those calls, `backend` makes entries of objects, `mirror` shows the metadata to consoles and HEADs,
`parallel` runs batches. Around an SDK: `sdk` lends the client for one request, `client` keeps it, `sockets` and
`session` hold the deadline, `faults` are the errors in the vendor's words.
"""

from .backend import CONTENT_TYPE, ObjectStoreBackend
from .objects import ObjectInfo, ObjectStore, Upload, check_size

__all__ = ["CONTENT_TYPE", "ObjectInfo", "ObjectStore", "ObjectStoreBackend", "Upload", "check_size"]
