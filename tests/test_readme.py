"""Every Python block of the README runs, in order, as one program; tests/docs/ runs those of the documentation."""

from __future__ import annotations

import ast
import asyncio
import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.faults.catalogue import CATALOGUE
from tests.faults.matrix import parameters
from tests.provider import FakeProvider
from tiercache.packed.naming import parse

ROOT = Path(__file__).parent.parent
SERVER = "redis://localhost:6379/0"
BLOCK = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)


def blocks(page: Path) -> list[str]:
    return BLOCK.findall(page.read_text(encoding="utf-8"))


def close_clients(module: ModuleType) -> None:
    """Close what a page leaves open to be read on: the clients of providers."""
    for value in list(vars(module).values()):
        if type(value).__module__.partition(".")[0] in ("openai", "anthropic", "httpx", "httpx2"):
            closing = getattr(value, "close", None) or getattr(value, "aclose", None)
            if callable(closing) and inspect.isawaitable(ended := closing()):
                asyncio.run(ended)  # type: ignore[arg-type]


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The bucket of the README, in a mocked S3."""
    import boto3
    from moto import mock_aws

    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with mock_aws():
        boto3.client("s3").create_bucket(Bucket="my-bucket")
        yield boto3.client("s3")


@pytest.fixture
def llm_provider(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeProvider]:
    """What the SDKs find in their environment: a provider of our own."""
    pytest.importorskip("openai")
    pytest.importorskip("anthropic")
    with FakeProvider() as provider:
        monkeypatch.setenv("OPENAI_BASE_URL", provider.openai)
        monkeypatch.setenv("ANTHROPIC_BASE_URL", provider.url)
        monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
        monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-test")
        yield provider


def test_the_readme_has_a_block_for_each_promise() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for promised in (
        "make demo",
        "make test",
        "TierChain(",
        "EmbeddingCache(",
        "OpenAI(",
        "mock_aws",
        "lifespan",
        "| Redis",
    ):
        assert promised in text


def test_the_blocks_of_the_readme_run(redis_url: str, bucket: Any, llm_provider: FakeProvider) -> None:
    namespace: dict[str, Any] = {"__name__": "readme"}
    for block in blocks(ROOT / "README.md"):
        code = block.replace(SERVER, redis_url)
        exec(compile(code, "README.md", "exec"), namespace)

    module = ModuleType("readme")
    vars(module).update(namespace)
    close_clients(module)
    assert llm_provider.calls("chat") == 2, "one whole, one streamed"
    objects = bucket.list_objects_v2(Bucket="my-bucket", Prefix="embeddings/")["Contents"]
    segments = [parse("embeddings/", each["Key"]) for each in objects]
    assert sum(segment.count for segment in segments if segment) == 3, "vectors, together in segments"
    assert namespace["chain"].tiers[1].name == "redis"
    assert all(health.ok for health in namespace["chain"].health().values())
    namespace["chain"].close()


def test_the_app_of_the_readme_answers(redis_url: str, bucket: Any) -> None:
    from fastapi.testclient import TestClient

    (block,) = [block for block in blocks(ROOT / "README.md") if "FastAPI" in block]
    namespace: dict[str, Any] = {"__name__": "readme"}
    # FastAPI resolves annotations in the module's globals.
    exec(compile(block.replace(SERVER, redis_url), "README.md", "exec"), namespace)
    with TestClient(namespace["app"]) as client:
        for _ in range(2):
            assert client.get("/ask", params={"question": "why?"}).json() == {"answer": "WHY?"}
        assert namespace["app"].state.cache.stats().computed <= 1


def test_links_to_files_hold() -> None:
    for page in [ROOT / "README.md", *ROOT.glob("docs/**/*.md")]:
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_the_fault_matrix_is_counted_as_it_is() -> None:
    every = [*parameters("sync"), *parameters("async")]
    known = [one for one in every if any(mark.name == "xfail" for mark in one.marks)]
    quick = [one for one in every if all(mark.name != "slow" for mark in one.marks)]
    said = f"{len(CATALOGUE)} faults, {len(every):,} cells that apply, {len(known)} of them known to fail"
    text = " ".join((ROOT / "docs/reliability.md").read_text(encoding="utf-8").split())
    assert said in text
    assert f"`make test` runs {len(quick)} of them" in text


@pytest.mark.parametrize("page", sorted(ROOT.glob("docs/*.md")), ids=lambda page: page.name)
def test_the_tests_that_a_page_names_are_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for path, name in re.findall(r"`(tests/[\w/]+(?:\.py)?)/?(?:::(\w+))?`", text):
        assert (ROOT / path).exists(), f"{page.name} names {path}"
        if name:
            tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
            assert name in {
                node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            }


def test_what_the_page_on_the_llm_layer_asks_twice_is_sent_once(llm_provider: FakeProvider) -> None:
    module = sys.modules["docs_page"] = ModuleType("docs_page")
    try:
        for block in blocks(ROOT / "docs/llm.md"):
            exec(compile(block, "llm.md", "exec"), vars(module))
    finally:
        close_clients(module)
        del sys.modules["docs_page"]

    assert llm_provider.calls("chat") == 3 + 6, "one whole, one streamed, one with no_cache; and those around a call"
    assert llm_provider.calls("message") == 1
    assert llm_provider.embedded == ["the cat sat on the mat", "bees make honey", "rivers meet the sea"]
