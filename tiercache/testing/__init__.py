"""Test support, shipped to users (`pip install tiercache[testing]`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .contract import BackendContract

__all__ = ["BackendContract"]


def __getattr__(name: str) -> Any:  # only the contract suite needs pytest
    if name != "BackendContract":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        import pytest  # noqa: F401
    except ImportError:
        from ..errors import MissingExtra

        raise MissingExtra("BackendContract", "testing") from None
    from .contract import BackendContract

    return BackendContract
