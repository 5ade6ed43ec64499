"""LangChain's own caches beside ours for LangChain: a model's answer, and the vectors of a hundred texts.

langchain-redis keeps answers as documents of Redis' JSON module, which Valkey does not have: it is left out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from itertools import cycle
from typing import Any

import numpy as np
from harness import Row, Scale, interleave

from tiercache import Cache, MemoryBackend

from .jobs import BATCH, DIMENSIONS
from .measured import OURS, awaited, blocking, pair

TIER = "LangChain"
_SAME_OBJECT = "hands the stored objects themselves to every caller; no expiry, no bound by bytes, no tier below"


def rows(scale: Scale) -> Iterator[Row]:
    """Measure."""
    try:
        import langchain_classic
        import langchain_core
    except ImportError as error:
        yield Row("beside", TIER, note=f"not installed: {error}")
        return
    del langchain_classic, langchain_core
    with asyncio.Runner() as runner, ExitStack() as stack:
        yield from _answers(runner, stack, scale)
        yield from _vectors(runner, stack, scale)


def _answers(runner: asyncio.Runner, stack: ExitStack, scale: Scale) -> Iterator[Row]:
    from langchain_core.caches import InMemoryCache
    from langchain_core.load import dumps
    from langchain_core.messages import AIMessage
    from langchain_core.outputs import ChatGeneration

    from tiercache.integrations.langchain import LangChainCache

    ours = LangChainCache(stack.enter_context(Cache(MemoryBackend(), ttl="1h")))
    peer = "InMemoryCache"
    caches: dict[str, Any] = {OURS: ours, peer: InMemoryCache()}
    model = '{"id": ["fake"], "kwargs": {"model": "gpt-4o"}}---[(\'stop\', None)]'
    answer = [ChatGeneration(message=AIMessage(content="an answer of some length. " * 40))]
    prompts = [(dumps([{"role": "user", "content": f"question {number}: why? " * 20}]), model) for number in range(100)]
    for cache in caches.values():
        for prompt in prompts:
            cache.update(*prompt, answer)
        if [one.text for one in cache.lookup(*prompts[0])] != [one.text for one in answer]:
            raise LookupError(f"{cache} does not give back what was stored")
    for face in ("sync", "async"):
        timers = {
            name: partial(blocking, cache.lookup, cycle(prompts), 300)
            if face == "sync"
            else partial(awaited, runner, cache.alookup, cycle(prompts), 300)
            for name, cache in caches.items()
        }
        samples = interleave(timers, scale.rounds(15))
        name = f"{TIER}: a model's answer in memory, {face}"
        yield pair(samples, peer, area="beside", name=name, tier=TIER, job="hit", face=face, less=_SAME_OBJECT)


def _vectors(runner: asyncio.Runner, stack: ExitStack, scale: Scale) -> Iterator[Row]:
    from langchain_classic.embeddings import CacheBackedEmbeddings
    from langchain_core.embeddings import Embeddings
    from langchain_core.stores import InMemoryByteStore

    from tiercache.integrations.langchain import CachedEmbeddings

    vectors = np.random.default_rng(1).standard_normal((BATCH, DIMENSIONS), dtype=np.float32).tolist()

    class Model(Embeddings):
        model = "fake"

        def embed_documents(self, texts: list[str]) -> list[list[float]]:
            return vectors[: len(texts)]

        def embed_query(self, text: str) -> list[float]:
            return vectors[0]

    peer = "CacheBackedEmbeddings, InMemoryByteStore"
    cache = stack.enter_context(Cache(MemoryBackend("1GiB"), ttl="1h"))
    both: dict[str, Any] = {
        OURS: CachedEmbeddings(Model(), cache, model="fake"),
        peer: CacheBackedEmbeddings.from_bytes_store(
            Model(), InMemoryByteStore(), namespace="fake", key_encoder="sha256"
        ),
    }
    texts = [f"text {number} of a batch: " + "words " * 60 for number in range(BATCH)]
    for embedded in both.values():
        embedded.embed_documents(texts)
        if not np.allclose(embedded.embed_documents(texts), vectors):
            raise LookupError(f"{embedded} does not give back what was stored")
    for face in ("sync", "async"):
        timers = {
            name: partial(blocking, one.embed_documents, cycle([(texts,)]), 4)
            if face == "sync"
            else partial(awaited, runner, one.aembed_documents, cycle([(texts,)]), 4)
            for name, one in both.items()
        }
        samples = interleave(timers, scale.rounds(15))
        name = f"{TIER}: {BATCH} vectors of {DIMENSIONS:,} as lists, in memory, {face}"
        less = "no expiry, no bound, no check of the vectors' shape, no tier below"
        yield pair(samples, peer, area="beside", name=name, tier=TIER, job="batch read", face=face, less=less)
