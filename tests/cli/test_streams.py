"""Where output goes: narrow, without Unicode, full, closed, left by its reader; and prompts that nobody answers."""

from __future__ import annotations

import json
import os
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import IO

import pytest

from tiercache import Cache, TierChain

from .conftest import Run, command, environment

KEY = "ünï✓日本😀"
posix = pytest.mark.skipif(os.name == "nt", reason="file descriptors of a shell")


@pytest.fixture
def url(tmp_path: Path) -> str:
    with Cache(TierChain.from_urls(found := f"disk://{tmp_path}/a"), namespace="n") as cache:
        cache.set(KEY, 1, tags=["t"])
    return found


@pytest.mark.parametrize("columns", ["0", "-5", "many", "²"])
def test_a_width_that_is_none_is_passed_over(run: Run, url: str, columns: str) -> None:
    assert "sealed with" in run("inspect", KEY, url, "-n", "n", env={"COLUMNS": columns}).out


def test_a_table_that_is_too_wide_is_shown_row_by_row_and_whole(run: Run, url: str) -> None:
    out = run("inspect", KEY, url, "-n", "n", env={"COLUMNS": "60"}).out

    assert "state        fresh\n" in out
    assert "sealed with  not\n" in out


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_key_is_shown_where_the_output_lacks_its_letters(run: Run, url: str, encoding: str) -> None:
    env = {"PYTHONIOENCODING": encoding}

    assert run("ls", url, "-n", "n", "--json", env=env).json["entries"][0]["key"] == KEY
    assert json.loads(run("ls", url, "-n", "n", "--jsonl", env=env).out)["key"] == KEY
    assert "\\u65e5" in run("inspect", KEY, url, "-n", "n", env={"PYTHONIOENCODING": "ascii"}).out


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
@pytest.mark.parametrize("option", [[], ["--json"], ["--jsonl"]])
def test_a_full_disk_is_told_with_exit_code_3(url: str, option: list[str]) -> None:
    with open("/dev/full", "w") as full:
        ran = _ran_into(full, "ls", url, "-n", "n", *option)

    assert ran.returncode == 3
    assert ran.stderr == "the output cannot be written: No space left on device\n"


@posix
@pytest.mark.parametrize(
    "arguments",
    [
        ["ls", "URL", "-n", "n", "--jsonl"],
        ["ls", "URL", "-n", "n"],
        ["inspect", KEY, "URL", "-n", "n", "--json"],
        ["export", "-", "URL"],
    ],
)
def test_a_reader_that_is_gone_is_exit_code_141_and_no_word(url: str, arguments: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    ran = _ran_into(writing, *(url if one == "URL" else one for one in arguments))
    os.close(writing)

    assert (ran.returncode, ran.stderr) == (141, "")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
def test_an_export_to_a_full_disk_is_told_with_exit_code_3(url: str) -> None:
    with open("/dev/full", "w") as full:
        ran = _ran_into(full, "export", "-", url)

    assert (ran.returncode, ran.stderr) == (3, "the output cannot be written: No space left on device\n")


@posix
@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-"])
def test_a_stream_that_is_closed_ends_nothing(url: str, closed: str) -> None:
    ran = subprocess.run(
        ["sh", "-c", f'"$@" {closed}', "sh", *command(), "ls", url, "-n", "n"],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )

    assert (ran.returncode, ran.stderr) == (0, "")


@posix
@pytest.mark.parametrize("typed", [b"\x03", b"\x04"])
def test_ctrl_c_and_ctrl_d_at_a_question_remove_nothing_and_exit_with_130(run: Run, url: str, typed: bytes) -> None:
    import pty

    master, terminal = pty.openpty()
    with subprocess.Popen(
        [*command(), "rm", url, "-n", "n", "--key", KEY],
        env=environment(),
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
        preexec_fn=lambda: _takes_terminal(0),
    ) as started:
        os.close(terminal)
        shown, ends = b"", time.monotonic() + 100
        while b"[y/N]" not in shown and time.monotonic() < ends:
            shown += os.read(master, 4096)
        code = _typed_until_it_ends(started, master, typed)
    os.close(master)

    assert code == 130
    assert len(run("ls", url, "-n", "n", "--json").json["entries"]) == 1


def _ran_into(stdout: int | IO[str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command with its output going there."""
    return subprocess.run(
        [*command(), *arguments],
        env=environment(),
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        timeout=110,
        check=False,
    )


def _typed_until_it_ends(started: subprocess.Popen[bytes], master: int, typed: bytes) -> int:
    """Type as a person does: again, where nothing happens.

    A signal that comes just before `input` waits for the terminal is seen at the next key only.
    """
    for _ in range(50):
        os.write(master, typed)
        with suppress(subprocess.TimeoutExpired):
            return started.wait(timeout=2)
    started.kill()
    pytest.fail("it did not end")


def _takes_terminal(stream: int) -> None:
    import fcntl
    import termios

    fcntl.ioctl(stream, termios.TIOCSCTTY, 0)
