"""Chains from text: URLs, TOML files, the environment; and the backends that installed packages offer."""

from .discovery import BUILT_IN, EXTRAS, PACKED, find_backend
from .urls import tier_from_url

__all__ = ["BUILT_IN", "EXTRAS", "PACKED", "find_backend", "tier_from_url"]
