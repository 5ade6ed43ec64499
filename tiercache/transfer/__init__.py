"""Moving entries about: between chains, up into fast tiers, into one file and back."""

from .copies import acopy, copy
from .report import CopyReport

__all__ = ["CopyReport", "acopy", "copy"]
