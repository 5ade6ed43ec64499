"""Moving entries about: between chains, up into fast tiers, into one file and back."""

from .archives import export_entries, import_entries
from .copies import acopy, copy
from .portable import DamagedFile
from .report import CopyReport
from .warming import WarmReport, warm

__all__ = ["CopyReport", "DamagedFile", "WarmReport", "acopy", "copy", "export_entries", "import_entries", "warm"]
