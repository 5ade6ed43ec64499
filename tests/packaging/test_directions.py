"""The check of import directions finds what it is there to find."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def check(tmp_path: Path) -> Callable[[str, str], list[str]]:
    """Return the faults of a tree that holds one file."""
    spec = importlib.util.spec_from_file_location("directions", ROOT / "scripts" / "directions.py")
    assert spec is not None
    assert spec.loader is not None
    module: ModuleType = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    def run(path: str, code: str) -> list[str]:
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(code, encoding="utf-8")
        module.ROOT = tmp_path
        faults: Iterator[str] = module.faults()
        return list(faults)

    return run


@pytest.mark.parametrize(
    ("path", "code", "said"),
    [
        ("tiercache/memory.py", "import boto3", "the core imports boto3"),
        ("tiercache/memory.py", "def f():\n    from redis import Redis", "the core imports redis"),
        ("tiercache/memory.py", "from tiercache_s3 import S3Backend", "the core imports tiercache_s3"),
        ("tiercache/entry.py", "from .cache import Cache", "stands above it"),
        ("tiercache/flows/read.py", "from ..cache import Cache", "stands above it"),
        ("tiercache/helpers.py", "", "give it a floor"),
        ("backends/tiercache_s3/backend.py", "from tiercache.cache import Cache", "a backend imports tiercache.cache"),
        ("backends/tiercache_s3/backend.py", "import tiercache_redis", "tiercache_s3 imports tiercache_redis"),
    ],
)
def test_a_wrong_import_is_found(check: Callable[[str, str], list[str]], path: str, code: str, said: str) -> None:
    (fault,) = check(path, code)
    assert said in fault


def test_imports_for_type_checkers_alone_are_free(check: Callable[[str, str], list[str]]) -> None:
    code = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .cache import Cache\n"
    assert check("tiercache/decorator.py", code) == []
