"""Test support, shipped to users (`pip install tiercache[testing]`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .contract import Answer, BackendContract, ObjectStoreContract, ObjectStoreHooks, RawObject

__all__ = ["Answer", "BackendContract", "ObjectStoreContract", "ObjectStoreHooks", "RawObject"]


def __getattr__(name: str) -> Any:  # only the contract suite needs pytest
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        import pytest  # noqa: F401
    except ImportError:
        from ..errors import MissingExtra

        raise MissingExtra(name, "testing") from None
    from . import contract

    return getattr(contract, name)
