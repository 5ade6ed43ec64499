"""Where a library is not installed, its adapter says what to install."""

from __future__ import annotations

import importlib
import sys

import pytest

from tiercache.errors import MissingExtra


@pytest.mark.parametrize(
    ("library", "module", "extra"),
    [
        ("litellm", "litellm", "litellm"),
        ("llama_index", "llamaindex", "llamaindex"),
        ("key_value", "keyvalue", "keyvalue"),
        ("opentelemetry", "opentelemetry", "otel"),
        ("prometheus_client", "prometheus", "prometheus"),
    ],
)
def test_an_adapter_without_its_library_names_the_extra(
    library: str, module: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = f"tiercache.integrations.{module}"
    for name in [name for name in sys.modules if name.split(".")[0] == library or name.startswith(ours)]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(MissingExtra, match=rf"install tiercache\[{extra}\]"):
        importlib.import_module(ours)
