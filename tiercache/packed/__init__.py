"""Packed segments: many entries in one immutable object, for stores where the request is what costs.

`segment` is the format of such an object, `naming` what it is called and which lifetimes lie together.
"""

from .backend import PackedBackend
from .report import CompactionReport

__all__ = ["CompactionReport", "PackedBackend"]
