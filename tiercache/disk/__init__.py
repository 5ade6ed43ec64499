"""`DiskBackend`: entries in one SQLite file.

`backend` fulfils the contract, with `batches` for many keys; `room` is what a write changes and removes, `connection`
opens the file and maps its errors, `schema` is what stands in it.
"""

from .backend import DiskBackend

__all__ = ["DiskBackend"]
