"""All that S3, Google Cloud Storage and Azure Blob share: a vendor adds the SDK's calls, and is a backend.

`objects` are those calls, `backend` makes entries of objects, `mirror` shows the metadata to consoles and HEADs,
`parallel` runs batches. Around an SDK: `sdk` lends the client for one request, `client` keeps it, `sockets` and
`session` hold the deadline, `faults` are the errors in the vendor's words.
"""

from .backend import CONTENT_TYPE, ObjectStoreBackend
from .lifecycle import LifecycleChange, LifecycleRules
from .objects import ObjectInfo, ObjectStore, Upload, check_size
from .sweep import SweepReport

__all__ = [
    "CONTENT_TYPE",
    "LifecycleChange",
    "LifecycleRules",
    "ObjectInfo",
    "ObjectStore",
    "ObjectStoreBackend",
    "SweepReport",
    "Upload",
    "check_size",
]
