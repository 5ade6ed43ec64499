"""What the pages need around them: a mocked bucket, a provider, what other caches left behind."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.test_readme import SERVER, bucket, llm_provider
from tiercache import Cache, DiskBackend, KeyRing, Tier, TierChain
from tiercache.testing.servers import S3Server
from tiercache_redis import RedisBackend

__all__ = ["bucket", "llm_provider"]


@pytest.fixture
def langchain_db(tmp_path: Path) -> None:
    """What LangChain's SQLiteCache wrote: an answer, one of two parts, and one that was cut off."""
    core = pytest.importorskip("langchain_core")
    assert core
    from langchain_core.messages import AIMessage
    from langchain_core.outputs import ChatGeneration

    def answer(text: str, reason: str = "stop") -> ChatGeneration:
        message = AIMessage(text, response_metadata={"finish_reason": reason})
        return ChatGeneration(message=message, generation_info={"finish_reason": reason})

    entries = {
        "why?": [answer("because")],
        "how?": [answer("so"), answer("or so")],
        "when?": [answer("when the", "length")],
    }
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`langchain-community` is being sunset", DeprecationWarning)
        community = pytest.importorskip("langchain_community.cache")
    old = community.SQLiteCache(str(tmp_path / "langchain.db"))
    for prompt, answers in entries.items():
        old.update(prompt, "a model", answers)
    old.engine.dispose()


@pytest.fixture
def secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What a page's files refer to: a secret of the operating system's, and one in the environment."""
    (tmp_path / "redis").write_text("a-password\n", encoding="utf-8")
    monkeypatch.setenv("TIERCACHE_KEYS", f"2026-11:{KeyRing.new_secret()}")
    return {"/run/secrets/": f"{tmp_path}/"}


@pytest.fixture
def stores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, redis_url: str, s3_server: S3Server, s3_bucket: str, s3_prefix: str
) -> Iterator[dict[str, str]]:
    """The stores that commands name, by what a page calls them: two Redis, of which one holds entries, and a bucket.

    Their deadlines are long: the machine may be busy.
    """
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", s3_server.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", s3_server.secret_key)
    monkeypatch.setenv("AWS_REGION", s3_server.region)
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server.endpoint_url)
    new, old = (redis_url.removesuffix("0") + number for number in "23")
    (tmp_path / "cache.toml").write_text(f"[[tiers]]\nurl = '{new}?timeout=30s'\n", encoding="utf-8")
    mine = DiskBackend(Path(os.environ["TIERCACHE_DIR"]) / "cache.sqlite3")  # the file of a Cache() without arguments
    for backend in (RedisBackend(old, timeout=30), mine):
        with Cache(TierChain(Tier(backend, timeout=30)), namespace="embeddings") as cache:
            cache.set_many({f"en:{number}": bytes(1024) for number in range(20)})
    bucket_here = f"s3://{s3_bucket}/{s3_prefix}"
    yield {
        "redis://old:6379/0": f"{old}?timeout=30s",
        SERVER: f"{new}?timeout=30s",
        "s3://my-bucket/cache/": f"{bucket_here}cache/?timeout=30s",
        "s3://my-bucket/tiercache/": f"{bucket_here}tiercache/?timeout=30s",
        "/var/cache/app/": f"{tmp_path}/",
    }
    for url in (new, old):
        RedisBackend(url, timeout=30).clear()
