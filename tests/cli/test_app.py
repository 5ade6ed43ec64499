"""The command as such: where it takes the cache from, what it answers to mistakes, exit codes, its start."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tiercache import __version__

from .conftest import Run, command, environment


def test_it_says_its_version(run: Run) -> None:
    assert run("--version").out == f"tiercache {__version__}\n"


def test_help_lists_the_commands(run: Run) -> None:
    assert "doctor" in run("--help").out


def test_the_cache_is_given_as_urls(run: Run) -> None:
    assert [tier["name"] for tier in run("doctor", "memory://", "memory://?name=second", "--json").json["tiers"]] == [
        "memory",
        "second",
    ]


def test_the_cache_is_taken_from_the_environment(run: Run, tmp_path: Path) -> None:
    found = run("doctor", "--json", env={"TIERCACHE_URLS": f"memory://\n disk://{tmp_path}/cache"}).json

    assert [tier["name"] for tier in found["tiers"]] == ["memory", "disk"]


def test_the_cache_is_taken_from_a_file(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "cache.toml"
    file.write_text('[[tiers]]\nurl = "memory://?name=first"\n\n[[tiers]]\nbackend = "disk"\npath = "here"\n')
    ways = [("--config", str(file)), (str(file),)]
    found = [run("doctor", *way, "--json", cwd=tmp_path).json for way in ways]
    found.append(run("doctor", "--json", env={"TIERCACHE_CONFIG": str(file)}, cwd=tmp_path).json)

    assert [[tier["name"] for tier in each["tiers"]] for each in found] == [["first", "disk"]] * 3


def test_a_command_is_not_in_the_access_log_of_the_programs(run: Run, tmp_path: Path) -> None:
    file, log = tmp_path / "cache.toml", tmp_path / "accesses.csv"
    file.write_text(f'[chain]\nrecord = "{log.as_posix()}"\n\n[[tiers]]\nurl = "memory://"\n')
    run("bench", "--config", file, "--calls", "2", "--batch", "2")

    assert len(log.read_text().splitlines()) <= 1, "a line of headings at most"


def test_a_mistake_in_a_file_is_told_with_its_line(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "cache.toml"
    file.write_text('[cache]\nttl = "30d"\n\n[[tiers]]\nurl = "memory://"\nmax_byte = "1GiB"\n')
    ran = run("doctor", "--config", file, expect=2)

    assert "cache.toml, line 6" in ran.err
    assert "max_bytes" in ran.err


def test_without_a_cache_it_says_how_to_name_one(run: Run) -> None:
    ran = run("doctor", expect=2)

    assert not ran.out
    assert "TIERCACHE_URLS" in ran.err
    assert "--config" in ran.err


def test_urls_and_a_file_are_one_too_many(run: Run) -> None:
    assert "not both" in run("doctor", "memory://", "--config", "cache.toml", expect=2).err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["doctor", "memory"], "this is no URL of a tier"),
        (["doctor", "nosuch://"], "no backend for"),
        (["doctor", "memory://?sized=1"], "has no option 'sized'"),
        (["doctor", "--nosuch"], "--nosuch"),
        (["nosuch"], "nosuch"),
    ],
)
def test_a_mistake_is_named_with_exit_code_2(run: Run, arguments: list[str], said: str) -> None:
    ran = run(*arguments, expect=2)

    assert said in ran.err
    assert not ran.out


def test_a_password_in_a_url_is_never_shown(run: Run) -> None:
    ran = run("doctor", "redis://:correct-horse@127.0.0.1:1/0?timeout=0.1s", "--json", expect=1)

    assert "correct-horse" not in ran.out + ran.err


def test_a_bypassed_cache_is_looked_at_all_the_same(run: Run) -> None:
    ran = run("doctor", "memory://", "--json", env={"TIERCACHE_DISABLED": "1"})

    assert [tier["name"] for tier in ran.json["tiers"]] == ["memory"]
    assert "TIERCACHE_DISABLED" in ran.err


def test_without_the_extra_it_says_what_to_install(tmp_path: Path) -> None:
    hidden = "import sys; sys.modules['typer'] = None; from tiercache.cli import main; main()"
    ran = subprocess.run(
        [sys.executable, "-c", hidden], env=environment(), capture_output=True, text=True, timeout=110, check=False
    )

    assert (ran.returncode, ran.stdout) == (2, "")
    assert "pip install 'tiercache[cli]'" in ran.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_complete_the_commands(shell: str) -> None:
    asked = {
        "_TIERCACHE_COMPLETE": f"complete_{shell}",
        "COMP_WORDS": "tiercache doc",
        "COMP_CWORD": "1",
        "_TYPER_COMPLETE_ARGS": "tiercache doc",
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
    }
    ran = subprocess.run(command(), env=environment(asked), capture_output=True, text=True, timeout=110, check=False)

    assert "doctor" in ran.stdout, ran.stderr


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")
def test_completion_is_installed_at_home_and_completes(tmp_path: Path) -> None:
    def bash(script: str) -> str:
        done = subprocess.run(
            ["bash", "-c", script, "bash", *command()],
            env=environment({"HOME": str(tmp_path)}),
            capture_output=True,
            text=True,
            timeout=110,
            check=True,
        )
        return done.stdout

    shown = bash('"$@" --show-completion; true')
    bash('"$@" --install-completion; true')
    script = tmp_path / ".bash_completions" / "tiercache.sh"
    typed = (
        f"shopt -s expand_aliases; source {tmp_path}/.bashrc; complete -p tiercache; "
        'one=("$@"); own() { "${one[@]}"; }; COMP_WORDS=(tiercache lifec); COMP_CWORD=1; '
        '_tiercache_completion() { COMPREPLY=( $(COMP_WORDS="${COMP_WORDS[*]}" COMP_CWORD=$COMP_CWORD '
        '_TIERCACHE_COMPLETE=complete_bash own) ); }; _tiercache_completion; echo "${COMPREPLY[@]}"'
    )

    assert shown.strip() == script.read_text().strip()
    assert str(script) in (tmp_path / ".bashrc").read_text()
    assert bash(typed).splitlines() == ["complete -o default -F _tiercache_completion tiercache", "lifecycle"]


def test_help_starts_without_what_only_commands_need(run: Run) -> None:
    listed = (
        "import sys; sys.argv = ['tiercache', '--help']\n"
        "from tiercache.cli import main\n"
        "try: main()\n"
        "finally: print(*sys.modules, file=sys.stderr)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", listed], env=environment(), capture_output=True, text=True, timeout=110, check=False
    )
    heavy = {"redis", "boto3", "google.cloud", "azure", "numpy", "matplotlib", "rich.progress", "sqlite3.dump", "httpx"}

    assert "doctor" in ran.stdout
    assert not heavy & set(ran.stderr.split())


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_ctrl_c_ends_it_with_130_and_no_traceback(tmp_path: Path) -> None:
    waiting = (
        "import threading, tiercache.cli.doctor as doctor\n"
        "def wait(*args, **kwargs): print('waiting', flush=True); threading.Event().wait(100)\n"
        "doctor.opened = wait\n"
        "import sys; sys.argv = ['tiercache', 'doctor', 'memory://']\n"
        "from tiercache.cli import main; main()"
    )
    started = subprocess.Popen(
        [sys.executable, "-c", waiting], env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    with started:
        assert started.stdout is not None
        assert started.stdout.readline() == "waiting\n"
        started.send_signal(signal.SIGINT)
        _, err = started.communicate(timeout=110)

    assert started.returncode == 130
    assert "Traceback" not in err
