"""Test support, shipped to users (`pip install tiercache[testing]`)."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .clock import FakeClock
    from .contract import Answer, BackendContract, ObjectStoreContract, ObjectStoreHooks, RawObject
    from .faults import Fault, Rule
    from .faulty import FaultyBackend
    from .proxy import FaultProxy, NetworkFault

__all__ = [
    "Answer",
    "BackendContract",
    "FakeClock",
    "Fault",
    "FaultProxy",
    "FaultyBackend",
    "NetworkFault",
    "ObjectStoreContract",
    "ObjectStoreHooks",
    "RawObject",
    "Rule",
]
_WITHOUT_PYTEST = {
    "FakeClock": "clock",
    "Fault": "faults",
    "FaultProxy": "proxy",
    "FaultyBackend": "faulty",
    "NetworkFault": "proxy",
    "Rule": "faults",
}


def __getattr__(name: str) -> Any:  # only the contract suite needs pytest
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name in _WITHOUT_PYTEST:
        return getattr(import_module(f".{_WITHOUT_PYTEST[name]}", __name__), name)
    try:
        import pytest  # noqa: F401
    except ImportError:
        from ..errors import MissingExtra

        raise MissingExtra(name, "testing") from None
    from . import contract

    return getattr(contract, name)
