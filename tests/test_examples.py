"""Every example runs as a user would run it, twice: the provider counts what the cache let through."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.peers import free_port
from tests.provider import FakeProvider
from tests.provider.aimock import AIMock, mock_provider

__all__ = ["free_port"]  # a fixture

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"
PATIENCE = 110.0
NEEDS = {
    "openai_chat": ["openai"],
    "anthropic_messages": ["anthropic", "httpx2"],
    "embeddings_to_s3": ["openai", "boto3", "moto", "numpy"],
    "langchain_rag": ["langchain_core", "langchain_openai", "numpy"],
    "litellm_completion": ["litellm", "fastapi", "soundfile", "orjson"],
    "evaluation_run": ["openai", "rich", "genai_prices"],
    "fastapi_app": ["openai", "fastapi", "uvicorn"],
}
Run = Callable[..., str]


@pytest.fixture(scope="module")
def mock() -> Iterator[AIMock | FakeProvider]:
    with mock_provider() as provider:
        yield provider


@pytest.fixture
def calls(mock: AIMock | FakeProvider) -> Callable[[], list[int]]:
    """Calls of each kind that arrived since the test began: chat, messages, embeddings."""
    kinds = ("chat", "message", "embedding")
    before = [mock.calls(kind) for kind in kinds]
    return lambda: [mock.calls(kind) - known for kind, known in zip(kinds, before, strict=True)]


@pytest.fixture
def env(mock: AIMock | FakeProvider) -> dict[str, str]:
    """What the SDKs and the cache read, and nothing that sends anything anywhere else."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("OPENAI_", "ANTHROPIC_", "LANG"))}
    return kept | {
        "OPENAI_BASE_URL": mock.openai,
        "OPENAI_API_KEY": "sk-test",
        "ANTHROPIC_BASE_URL": mock.url,
        "ANTHROPIC_API_KEY": "sk-ant-test",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "LANGSMITH_TRACING": "false",
        "PYTHONIOENCODING": "utf-8",
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "backends")]),
    }


def command(name: str) -> list[str]:
    for module in NEEDS[name]:
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"this example needs {module}: pip install {module}")
    return [sys.executable, str(EXAMPLES / f"{name}.py")]


@pytest.fixture
def run(env: dict[str, str]) -> Run:
    """Run an example to its end, in the cache directory of this test; what it printed."""

    def run(name: str) -> str:
        done = subprocess.run(command(name), env=env, capture_output=True, text=True, timeout=PATIENCE, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


def saved(output: str) -> int:
    """The calls that an example says were saved."""
    found = re.search(r"^saved: (\d+) calls, (\d+) tokens, \$(\d+\.\d+)", output, re.MULTILINE)
    assert found is not None, output
    assert int(found[2]) > 0
    return int(found[1])


def test_openai_chat(run: Run, calls: Callable[[], list[int]]) -> None:
    first = run("openai_chat")
    assert calls() == [2, 0, 0], "one whole, one streamed"
    again = run("openai_chat")

    assert calls() == [2, 0, 0], "the second run asks nobody"
    assert first.splitlines()[0].split(" ", 1)[1] == first.splitlines()[1].split(" ", 1)[1]
    assert [line.split()[0] for line in first.splitlines()[:2]] == ["MISS", "HIT"]
    assert [line.split()[0] for line in again.splitlines()[:2]] == ["HIT", "HIT"]
    assert first.splitlines()[2:4] == again.splitlines()[2:4]
    assert (saved(first), saved(again)) == (2, 4)


def test_anthropic_messages(run: Run, calls: Callable[[], list[int]]) -> None:
    first = run("anthropic_messages")
    assert calls() == [0, 2, 0], "one for ten tasks, one streamed"
    again = run("anthropic_messages")

    assert calls() == [0, 2, 0], "the second run asks nobody"
    assert "10 answers, 1 of them different" in first
    assert first.splitlines()[:4] == again.splitlines()[:4]
    assert (saved(first), saved(again)) == (10, 12)


def test_embeddings_to_s3(run: Run, calls: Callable[[], list[int]], mock: AIMock | FakeProvider) -> None:
    output = run("embeddings_to_s3")

    assert calls() == [0, 0, 2]
    assert "from S3: 4" in output
    assert "the same vectors, bit for bit" in output
    assert sent_to(mock)[-1] == "a text that is new"


def sent_to(mock: AIMock | FakeProvider) -> list[str]:
    """The inputs of the embeddings requests; those of one request are one text to aimock."""
    if isinstance(mock, FakeProvider):
        return mock.embedded
    return [entry["body"]["embeddingInput"] for entry in mock.requests if entry["path"].endswith("/embeddings")]


@pytest.mark.slow  # what takes its time is the import
def test_langchain_rag(run: Run, calls: Callable[[], list[int]]) -> None:
    first = run("langchain_rag")
    assert calls() == [1, 0, 2], "one answer; the documents, and the question"
    again = run("langchain_rag")

    assert calls() == [1, 0, 2], "the second run asks nobody"
    assert first.splitlines()[:2] == again.splitlines()[:2]
    assert "documents: 0 embedded, 3 known" in again
    assert "queries: 0 embedded, 2 known" in again


@pytest.mark.slow
def test_litellm_completion(run: Run, calls: Callable[[], list[int]]) -> None:
    first = run("litellm_completion")
    assert calls() == [1, 0, 0]
    again = run("litellm_completion")

    assert calls() == [1, 0, 0], "the second run asks nobody"
    assert first.splitlines()[0] == first.splitlines()[1] == again.splitlines()[0]
    assert (saved(first), saved(again)) == (1, 2)


def test_evaluation_run(run: Run, calls: Callable[[], list[int]]) -> None:
    first = run("evaluation_run")
    assert calls() == [12, 0, 0], "two models, six questions"
    again = run("evaluation_run")

    assert calls() == [12, 0, 0], "the second run asks nobody"
    # run, calls, seconds | saved: calls, tokens, dollars, seconds
    rows = [[cell.strip() for cell in re.split("[│|]", line)[1:-1]] for line in (first + again).splitlines()]
    one, two, three, four = (row for row in rows if row and row[0] in ("1", "2"))
    assert [row[1] for row in (one, two, three, four)] == ["12", "0", "0", "0"]
    assert [row[3] for row in (one, two, three, four)] == ["0", "12", "12", "12"]
    assert (one[4], float(one[5])) == ("0", 0)
    assert int(two[4]) > 0
    assert float(two[5]) > 0
    assert one[7:] == two[7:], "the same scores"


def test_fastapi_app(env: dict[str, str], free_port: int, calls: Callable[[], list[int]]) -> None:
    with serving(env | {"PORT": str(free_port)}) as process:
        url = f"http://127.0.0.1:{free_port}"
        wait_for(f"{url}/savings", process)
        answers = [json.loads(get(f"{url}/ask?question=Why")) for _ in range(2)]
        streams = [get(f"{url}/stream?question=Why") for _ in range(2)]
        savings = json.loads(get(f"{url}/savings"))

    assert calls() == [2, 0, 0]
    assert [answer["cache"] for answer in answers] == ["MISS", "HIT"]
    assert answers[0]["answer"] == answers[1]["answer"]
    assert streams[0] == streams[1] != b""
    assert savings["calls"] == 2
    assert savings["usd"] > 0


@contextmanager
def serving(env: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(command("fastapi_app"), env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        try:
            yield process
        finally:
            process.terminate()


def wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end and process.poll() is None:
        try:
            get(url)
            return
        except OSError:
            time.sleep(0.05)
    process.kill()
    pytest.fail(process.communicate()[0].decode())


def get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
        body: bytes = answer.read()
        return body


def test_every_example_is_run() -> None:
    scripts = {path.stem for path in EXAMPLES.glob("*.py")}
    assert {name for name in scripts if name.split("_")[0] != "demo"} == set(NEEDS)
