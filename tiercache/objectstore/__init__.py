"""All that S3, Google Cloud Storage and Azure Blob share: a vendor adds the SDK's calls, and is a backend.

`objects` are those calls, `backend` makes entries of objects, `mirror` shows the metadata to consoles and HEADs,
`parallel` runs batches; `classes` are the vendors' storage classes as data, `advice` warns of those that do not suit.
Around an SDK: `sdk` lends the client for one request, `client` keeps it, `sockets` and `session` hold the deadline,
`faults` are the errors in the vendor's words.
"""

from .backend import CONTENT_TYPE, ObjectStoreBackend
from .classes import ClassRules, Prices, usable
from .lifecycle import LifecycleChange, LifecycleRules
from .objects import ObjectInfo, ObjectStore, Upload, check_size
from .sweep import SweepReport

__all__ = [
    "CONTENT_TYPE",
    "ClassRules",
    "LifecycleChange",
    "LifecycleRules",
    "ObjectInfo",
    "ObjectStore",
    "ObjectStoreBackend",
    "Prices",
    "SweepReport",
    "Upload",
    "check_size",
    "usable",
]
