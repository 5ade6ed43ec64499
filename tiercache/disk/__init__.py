"""`DiskBackend`: entries in one SQLite file.

`backend` fulfils the contract, `connection` opens the file and maps its errors, `schema` is what stands in it.
"""

from .backend import DiskBackend

__all__ = ["DiskBackend"]
