"""Checks the distribution: sdist -> wheel -> an empty environment without extras, and uses it there."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
ALLOWED = {"tiercache", "tiercache_redis", "tiercache_s3", "tiercache_gcs", "tiercache_azure"}

IN_THE_EMPTY_ENVIRONMENT = """
import importlib, importlib.util, os, pathlib, sys, tempfile
for name in ("backends", "tests", "docs", "infra", "benchmarks", "examples", "scripts"):
    assert importlib.util.find_spec(name) is None, f"{name} must not be importable"
for name in ("redis", "boto3", "numpy", "httpx", "httpx2", "genai_prices", "pytest"):
    assert importlib.util.find_spec(name) is None, f"{name} must not be installed by the core"

os.environ["TIERCACHE_DIR"] = tempfile.mkdtemp()
from tiercache import Cache, TierChain, MemoryBackend, DiskBackend, EvictionPolicy
with Cache(ttl="1h") as cache:
    cache.set("k", {"answer": (42, b"bytes")})
    assert cache.get("k") == {"answer": (42, b"bytes")}
with Cache() as again:
    assert again.lookup("k").tier == "disk", again.lookup("k")

def names_the_extra(action, extra):
    try:
        action()
    except Exception as error:
        assert f"install tiercache[{extra}]" in str(error), error
        return
    raise AssertionError(f"{extra} is not installed, and nothing said so")

import tiercache_redis, tiercache_s3
names_the_extra(lambda: tiercache_redis.RedisBackend(), "redis")
names_the_extra(lambda: tiercache_s3.S3Backend("bucket"), "s3")
names_the_extra(lambda: TierChain.from_urls("redis://localhost"), "redis")
names_the_extra(lambda: TierChain.from_urls("s3://bucket"), "s3")
names_the_extra(lambda: TierChain.from_urls("gs://bucket"), "gcs")
names_the_extra(lambda: TierChain.from_urls("az://container"), "azure")
from tiercache.llm import EmbeddingCache
names_the_extra(lambda: EmbeddingCache(Cache(), model="m"), "embeddings")
from tiercache.llm import LLMCache
from tiercache.integrations.http import client
names_the_extra(lambda: client(Cache()), "http")
for name in ("langchain", "langgraph", "litellm", "llamaindex", "keyvalue"):
    names_the_extra(lambda: importlib.import_module(f"tiercache.integrations.{name}"), name)
asked = {"model": "m", "messages": [{"role": "user", "content": "why?"}]}
answer = {"choices": [{"index": 0, "message": {"role": "assistant", "content": "so"}, "finish_reason": "stop"}]}
with LLMCache.memory_only() as llm:
    assert llm.chat(asked, lambda: answer) == llm.chat(asked, lambda: None) == answer
from tiercache import KeyRing
names_the_extra(lambda: KeyRing({"id": os.urandom(32)}), "encryption")
KeyRing({"id": os.urandom(32)}, encrypt=False)
import subprocess
tiercache = pathlib.Path(sys.executable).with_name("tiercache")
command = subprocess.run([tiercache, "doctor"], capture_output=True, text=True)
assert (command.returncode, command.stdout) == (2, ""), command
assert "pip install 'tiercache[cli]'" in command.stderr, command
import tiercache
assert (pathlib.Path(tiercache.__file__).parent / "py.typed").exists()
print("works without extras on", sys.version.split()[0])
"""


def run(*command: str | Path, **options: object) -> None:
    """Run a command; show what it printed only when it fails."""
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload]
    if done.returncode:
        print(done.stdout, done.stderr, sep="\n")
        sys.exit(f"failed: {' '.join(map(str, command))[:200]}")


def check_contents(wheel: Path) -> None:
    """The wheel holds the import packages and nothing else."""
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    top = {name.split("/")[0] for name in names if ".dist-info" not in name}
    if not top <= ALLOWED:
        sys.exit(f"the wheel would install {sorted(top - ALLOWED)}")
    for package in top:
        if f"{package}/py.typed" not in names:
            sys.exit(f"{package} has no py.typed")


def main() -> None:
    """Build, install, use."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "dist")
        # `build` makes the wheel from the sdist, so what the sdist forgets is missed here.
        run(sys.executable, "-m", "build", "--outdir", out, ROOT)
        (wheel,) = out.glob("*.whl")
        check_contents(wheel)
        environment = Path(folder, "venv")
        venv.create(environment, with_pip=True)
        python = environment / ("Scripts" if sys.platform == "win32" else "bin") / "python"
        run(python, "-m", "pip", "install", "--quiet", wheel)
        run(python, "-I", "-c", IN_THE_EMPTY_ENVIRONMENT, cwd=folder)
    print("packaging: sdist -> wheel -> empty environment works")


if __name__ == "__main__":
    main()
