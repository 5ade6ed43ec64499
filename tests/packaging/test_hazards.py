"""The check for pickle and its kin finds what it is there to find, and nothing in this tree."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "scripts" / "hazards.py"


@pytest.fixture
def check(tmp_path: Path) -> Callable[[str, str], list[str]]:
    """Return the faults of a tree that holds one file."""
    spec = importlib.util.spec_from_file_location("hazards", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module: ModuleType = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    def run(path: str, code: str) -> list[str]:
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(code, encoding="utf-8")
        module.ROOT = tmp_path
        return list(module.faults())

    return run


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import pickle", "pickle runs what it reads"),
        ("def f():\n    import pickle as harmless", "tiercache/codec.py:2: pickle runs what it reads"),
        ("from pickle import loads", "pickle runs what it reads"),
        ("import cloudpickle, json", "cloudpickle"),
        ("from dill import loads", "dill"),
        ("import marshal", "marshal"),
        ("from shelve import open", "shelve"),
        ("import joblib.memory", "joblib"),
        ("import importlib\nimportlib.import_module('pickle')", "pickle"),
        ("value = eval(text)", "eval runs text"),
        ("exec(text)", "exec runs text"),
        ("import builtins\nbuiltins.exec(text)", "exec runs text"),
        ("compile(text, '', 'exec')", "compile runs text"),
        ("module = __import__(name)", "__import__ runs text"),
        ("import yaml\nyaml.load(text)", "call yaml.safe_load"),
        ("import yaml\nyaml.load(text, Loader=yaml.FullLoader)", "yaml.load"),
        ("import yaml\nyaml.unsafe_load(text)", "unsafe_load makes any object"),
        ("import numpy as np\nnp.load(file, allow_pickle=True)", "allow_pickle reads pickles"),
        ("import numpy as np\nnp.load(file, allow_pickle=flag)", "allow_pickle reads pickles"),
        ("import pandas\npandas.read_pickle(file)", "read_pickle"),
        ("import torch\ntorch.load(file)", "torch.load"),
    ],
)
def test_what_runs_what_it_reads_is_found(check: Callable[[str, str], list[str]], code: str, said: str) -> None:
    faults = check("tiercache/codec.py", code)
    assert faults
    assert any(said in fault for fault in faults)


@pytest.mark.parametrize("room", ["backends/tiercache_x/codec.py", "examples/demo.py", "benchmarks/deep/run.py"])
def test_every_room_is_looked_at(check: Callable[[str, str], list[str]], room: str) -> None:
    assert check(room, "import pickle") == [f"{room}:1: pickle runs what it reads"]


@pytest.mark.parametrize(
    "code",
    [
        "import re\nre.compile('a')",
        "import yaml\nyaml.safe_load(text)\nyaml.load(text, Loader=yaml.SafeLoader)",
        "import numpy as np\nnp.load(file, allow_pickle=False)",
        "text = 'import pickle'  # pickle.loads",
        "from .pickle import pack",
        "model.eval()",
    ],
)
def test_what_is_harmless_is_left_alone(check: Callable[[str, str], list[str]], code: str) -> None:
    assert check("tiercache/codec.py", code) == []


def test_this_tree_has_none_of_it() -> None:
    run = subprocess.run([sys.executable, SCRIPT], capture_output=True, text=True, timeout=60, check=False)
    assert (run.stdout, run.returncode) == ("nothing runs what it reads\n", 0)


def test_make_check_runs_it() -> None:
    assert "$(BIN)/python scripts/hazards.py" in (ROOT / "Makefile").read_text()
