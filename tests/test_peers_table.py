"""The table of `make peers`, without its peers: what tiercache claims passes, and a row that hangs costs itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
RUN = ROOT / "benchmarks" / "peers" / "run.py"
ROWS = (
    "cancelled-caller",
    "computations-tasks",
    "computations-threads",
    "computations-both",
    "failing-leader",
    "ttl-kept",
    "ttl-of-second-set",
    "expired-stay",
    "promoted-expiry",
    "dead-redis",
    "down-store",
    "missed-set",
    "missed-set-elsewhere",
    "missed-delete",
    "delete-during-load",
    "tag-during-load",
    "clear-during-load",
    "get-racing-set",
    "key-collision",
    "keyword-order",
    "corrupt-entry",
    "pickle-runs",
    "cached-none",
    "lookalike",
    "mutated-value",
)
# What a row may say in place of a verdict: no server here, or a face of tiercache to which the row does not apply.
NOT_APPLICABLE = ("no Redis server can be had here", "a call that blocks cannot be cancelled")


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    paths = {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "backends")])}
    command = [sys.executable, str(RUN), "--here", *arguments]
    return subprocess.run(command, env=os.environ | paths, capture_output=True, text=True, timeout=110)


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, str]]:
    """How tiercache's cells ended, all run in one process."""
    path = tmp_path_factory.mktemp("peers") / "outcomes.json"
    done = run("--only", "tiercache", "--together", "--json", str(path))
    assert path.exists(), done.stdout + done.stderr
    found: list[dict[str, str]] = json.loads(path.read_text())["outcomes"]
    return found


def test_the_table_has_these_rows(outcomes: list[dict[str, str]]) -> None:
    assert list(dict.fromkeys(one["row"] for one in outcomes)) == list(ROWS)


@pytest.mark.parametrize("row", ROWS)
def test_tiercache_passes(outcomes: list[dict[str, str]], row: str) -> None:
    ended = [one for one in outcomes if one["row"] == row]
    assert ended
    assert [one for one in ended if one["verdict"] != "pass" and one["happened"] not in NOT_APPLICABLE] == []
    assert any(one["verdict"] == "pass" for one in ended) or ended[0]["happened"] == NOT_APPLICABLE[0]


def test_a_row_that_hangs_or_dies_is_a_fail_and_the_next_one_runs() -> None:
    script = (
        f"import sys; sys.path.insert(0, {str(RUN.parent)!r}); import worker; worker.HANG_SECONDS = 2.0\n"
        "one = worker.Worker('tiercache', None)\n"
        "run, one._command = one._command, [sys.executable, '-c', 'input(); import time; time.sleep(60)']\n"
        "print(one.run('cached-none', 'awaited'))\n"
        "one._command = [sys.executable, '-c', 'input(); import os; print(1, flush=True); os._exit(7)']\n"
        "print(one.run('cached-none', 'awaited'))\n"
        "one._command, worker.HANG_SECONDS = run, 60.0\n"
        "print(one.run('cached-none', 'awaited')); one.end()\n"
    )
    paths = {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "backends")])}
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, env=os.environ | paths, capture_output=True, text=True, timeout=100)
    hung, died, ran = done.stdout.splitlines()
    assert "'fail', 'happened': 'it hung" in hung
    assert "'fail', 'happened': 'the process died (7): 1'" in died
    assert "'pass'" in ran


def test_an_unknown_row_is_an_error_that_says_how_to_find_the_rows() -> None:
    done = run("--only", "tiercache:no-such-row")
    assert done.returncode != 0
    assert "--list" in done.stderr
