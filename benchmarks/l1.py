"""A hit in memory through `Cache.get` and `Cache.aget`, beside a bare dict and the peers' memory caches."""

from __future__ import annotations

import asyncio
import copy
import json
import random
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import peers
from harness import Row, Sample, Scale, aeach, compare, each, faster, interleave, times

from tiercache import Cache, MemoryBackend

AREA = "l1"
ENTRIES = 10_000
PAYLOAD = b"a hundred bytes of an answer, as ASCII text, which every cache here stores without a second thought"
_SYNC = "LiteLLM DualCache"
_TEXT = """a cache keeps what was expensive to make and gives it back when somebody asks again for the same thing so
that neither time nor money is spent twice while the tiers below hold what no longer fits above and every copy says
when it was made how long it may live which model wrote it and from which question"""
_QUICK_ONES = ("dict.get", "Cache.get", "Cache.aget", "OrderedDict", "cachebox")  # timed over several passes


def rows(scale: Scale) -> Iterator[Row]:
    """Measure."""
    keys = [f"chat:gpt-4o:{number:032x}" for number in range(ENTRIES)]
    values = {key: PAYLOAD[:96] + number.to_bytes(4, "big").hex().encode() for number, key in enumerate(keys)}
    zipf = random.Random(1).choices(keys, [1 / rank for rank in range(1, ENTRIES + 1)], k=2 * ENTRIES)
    with Cache(MemoryBackend("256MiB")) as cache:
        for key, value in values.items():
            cache.set(key, value, ttl="1h")
        yield from _blocking(cache, values, keys, zipf, scale)
        with asyncio.Runner() as runner:
            yield from _awaited(cache, values, keys, zipf, scale, runner)
    yield from _json(scale)


def _blocking(cache: Cache, values: dict[str, bytes], keys: list[str], zipf: list[str], scale: Scale) -> Iterator[Row]:
    calls: dict[str, Callable[[str], Any]] = {"dict.get": values.get, "Cache.get": cache.get, **peers.fill(values)}
    for order, asked in (("sequential", keys), ("Zipf", zipf)):
        samples = interleave(_samples(calls, asked), scale.rounds(41))
        name = f"L1 hit, bytes, {order}: Cache.get"
        yield compare(AREA, name, samples, "Cache.get", "dict.get", bound=times(16))
        yield compare(AREA, name, samples, "Cache.get", _SYNC, bound=faster(10))
        if order == "sequential":
            for peer in peers.SYNC:
                if peer != _SYNC:
                    yield compare(AREA, name, samples, "Cache.get", peer)


def _awaited(
    cache: Cache, values: dict[str, bytes], keys: list[str], zipf: list[str], scale: Scale, runner: asyncio.Runner
) -> Iterator[Row]:
    acalls: dict[str, Callable[[str], Any]] = {"Cache.aget": cache.aget, **runner.run(peers.afill(values))}
    for order, asked in (("sequential", keys), ("Zipf", zipf)):
        contenders = _samples({"dict.get": values.get}, asked)
        for name, call in acalls.items():
            contenders[name] = partial(_run, runner, call, asked, _passes(name))
        samples = interleave(contenders, scale.rounds(15 if order == "sequential" else 9))
        name = f"L1 hit, bytes, {order}: Cache.aget"
        yield compare(AREA, name, samples, "Cache.aget", "dict.get", bound=times(22))
        for peer in peers.ASYNC:
            yield compare(AREA, name, samples, "Cache.aget", peer, bound=faster(10))


def _json(scale: Scale) -> Iterator[Row]:
    """A hit that is a value of the caller's own: decoded, so that nobody can change it for somebody else."""
    document = chat_response()
    text = json.dumps(document)
    documents = {f"chat:gpt-4o:{number:032x}": chat_response(number) for number in range(1000)}
    with Cache(MemoryBackend("256MiB")) as cache:
        cache.set_many(documents)
        calls: dict[str, Callable[[str], Any]] = {
            "Cache.get": cache.get,
            "copy.deepcopy(dict.get)": lambda key: copy.deepcopy(documents[key]),
            "json.loads": lambda _: json.loads(text),
            **{name: get for name, get in peers.fill(documents).items() if name == _SYNC},
        }
        samples = interleave(_samples(calls, list(documents)), scale.rounds(21))
    name = f"L1 hit, JSON of {len(text) / 1000:.1f} kB: Cache.get"
    yield compare(AREA, name, samples, "Cache.get", "copy.deepcopy(dict.get)", note="the same promise, with a dict")
    yield compare(AREA, name, samples, "Cache.get", "json.loads", note="the decoding alone")
    yield compare(AREA, name, samples, "Cache.get", _SYNC, note="hands the stored object to every caller")


def chat_response(number: int = 0) -> dict[str, Any]:
    """Return what a provider answers: 1.6 kB as JSON, text that compresses as text does."""
    words = random.Random(number).choices(_TEXT.split(), k=260)
    return {
        "id": f"chatcmpl-{number:024x}",
        "object": "chat.completion",
        "created": 1_760_000_000 + number,
        "model": "gpt-4o-2024-08-06",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": " ".join(words)[:1100], "refusal": None},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {
            "prompt_tokens": 14,
            "completion_tokens": 191,
            "total_tokens": 205,
            "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 0, "accepted_prediction_tokens": 0},
        },
        "system_fingerprint": "fp_44709d6fcb",
    }


def _samples(calls: dict[str, Callable[[str], Any]], asked: list[str]) -> dict[str, Sample]:
    return {name: partial(each, call, asked, passes=_passes(name)) for name, call in calls.items()}


def _passes(name: str) -> int:
    return 5 if name.startswith(_QUICK_ONES) else 1


def _run(runner: asyncio.Runner, call: Callable[[str], Any], asked: list[str], passes: int) -> float:
    return runner.run(aeach(call, asked, passes=passes))
