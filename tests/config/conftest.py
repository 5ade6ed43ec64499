"""What the tests of the configuration share: a file to write, and a secret that must not be seen."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

SECRET = "hunter2-hunter2"


@pytest.fixture
def secret() -> str:
    return SECRET


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No variable of the machine is seen, and the default file lies in the test's own directory."""
    for name in [name for name in os.environ if name.startswith("TIERCACHE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("TIERCACHE_DIR", str(tmp_path / "user"))


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Path]:
    def written(text: str) -> Path:
        path = tmp_path / "cache.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return written
