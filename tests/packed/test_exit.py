"""The end of a process with a packed backend: what waits is stored within a bound, and what is lost is said."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.packed.objects import MemoryObjects, entry, packed
from tiercache import Cache, MemoryBackend, TierChain

ROOT = Path(__file__).parent.parent.parent
GUARD = 90

HEAD = """
    import os, signal, sys, threading, time
    from tests.packed.objects import MemoryObjects, entry, packed
    from tiercache import Cache, MemoryBackend, TierChain, drain_on_sigterm

    class Kept(MemoryObjects):
        def write(self, upload, **options):
            if "hang" in sys.argv:
                time.sleep(600)
            with open(sys.argv[1], "a") as log:
                log.write(upload.name + "\\n")
            return super().write(upload, **options)

    backend = packed(Kept())
"""


def run(script: str, path: Path, *arguments: str, send: signal.Signals | None = None) -> tuple[int, str]:
    code = textwrap.dedent(HEAD) + textwrap.dedent(script)
    env = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'backends'}"}
    command = [sys.executable, "-c", code, str(path), *arguments]
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        if send is not None:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            process.send_signal(send)
        _, err = process.communicate(timeout=GUARD)
    return process.returncode, err


def test_at_exit_what_waits_alone_is_stored(tmp_path: Path) -> None:
    code, err = run('backend.put("n:1", entry("n:1"))', tmp_path / "log")
    assert (code, err) == (0, "")
    assert "_segments/" in (tmp_path / "log").read_text()


def test_at_exit_what_waits_in_a_chain_is_stored(tmp_path: Path) -> None:
    code, err = run('Cache(TierChain(MemoryBackend(), backend), namespace="n").set("k", "v")', tmp_path / "log")
    assert (code, err) == (0, "")
    assert "_segments/" in (tmp_path / "log").read_text()


def test_a_store_that_hangs_does_not_keep_the_process(tmp_path: Path) -> None:
    code, err = run('backend.put("n:secret", entry("n:secret"))', tmp_path / "log", "hang")
    assert code == 0
    assert "1 entries were not stored" in err
    assert "secret" not in err


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGTERM to handle")
def test_on_sigterm_what_waits_is_stored(tmp_path: Path) -> None:
    script = """
    drain_on_sigterm()
    backend.put("n:1", entry("n:1"))
    print("ready", flush=True)
    while True:
        time.sleep(0.05)
    """
    code, _ = run(script, tmp_path / "log", send=signal.SIGTERM)
    assert code == -signal.SIGTERM
    assert "_segments/" in (tmp_path / "log").read_text()


def test_a_chain_drains_its_packed_tier() -> None:
    objects = MemoryObjects()
    chain = TierChain(MemoryBackend(), packed(objects))
    cache = Cache(chain, namespace="n")
    assert not chain.has_pending
    cache.set("k", "v")
    assert chain.has_pending
    assert chain.drain(GUARD)
    assert not chain.has_pending
    assert len(objects.segments()) == 1
    cache.close()


def test_a_backend_that_is_closed_has_nothing_to_drain() -> None:
    backend = packed(MemoryObjects())
    backend.put("n:1", entry("n:1"))
    backend.close()
    assert not backend.has_pending
