"""Where a library is not installed, its adapter says what to install."""

from __future__ import annotations

import importlib
import sys

import pytest

from tiercache.errors import MissingExtra


@pytest.mark.parametrize(("library", "extra"), [("langchain_core", "langchain"), ("langgraph", "langgraph")])
def test_an_adapter_without_its_library_names_the_extra(
    library: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in [
        name for name in sys.modules if name.split(".")[0] == library or name.startswith("tiercache.integr")
    ]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(MissingExtra, match=rf"install tiercache\[{extra}\]"):
        importlib.import_module(f"tiercache.integrations.{extra}")
