"""Embeddings through the transport: an entry an input, only the missing ones are sent, in the caller's encoding."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import numpy as np
import pytest
from openai import AsyncOpenAI, OpenAI, RateLimitError

from tests.conftest import FakeClock
from tests.provider import FakeProvider, Gate
from tests.provider.embeddings import vector_for
from tests.support import RemoteBackend
from tiercache import Cache, MemoryBackend, Tier, TierChain
from tiercache.integrations.http import async_client, client
from tiercache.llm import LLMCache

PATH = "/v1/embeddings"
PATIENCE = 60.0

Askers = Callable[..., Any]


def post(asker: Any, input: Any, *, headers: Any = None, **fields: Any) -> Any:
    reply = asker.post(PATH, json={"model": "m", "input": input, **fields}, headers=headers or {})
    assert "content-length" not in reply.headers or int(reply.headers["content-length"]) == len(reply.content)
    return reply


def said(reply: Any) -> tuple[str, str]:
    return reply.headers["x-tiercache"], reply.headers["x-tiercache-items"]


def embeddings(reply: Any) -> list[Any]:
    data = reply.json()["data"]
    assert [row["index"] for row in data] == list(range(len(data)))
    assert all(row["object"] == "embedding" for row in data)
    return [row["embedding"] for row in data]


def expected(provider: FakeProvider, inputs: Any, *, model: str = "m", dimensions: int | None = None) -> list[Any]:
    return [provider.vector(item, model=model, dimensions=dimensions) for item in inputs]


def in_base64(vectors: list[list[float]]) -> list[str]:
    return [base64.b64encode(np.asarray(vector, "<f4").tobytes()).decode() for vector in vectors]


# What is asked for.


def test_the_second_time_nothing_is_sent(provider: FakeProvider, askers: Askers, http: Any) -> None:
    asker = askers(http=http)
    first, second = (post(asker, ["a", "b"]) for _ in range(2))
    assert said(first) == ("MISS", "0/2")
    assert said(second) == ("HIT", "2/2")
    assert second.json() == first.json()
    assert provider.calls() == 1


def test_only_the_missing_inputs_are_sent_in_their_order(provider: FakeProvider, asker: Any) -> None:
    post(asker, ["a", "b"])
    reply = post(asker, ["d", "b", "c", "a"])
    assert said(reply) == ("PARTIAL", "2/4")
    assert embeddings(reply) == expected(provider, ["d", "b", "c", "a"])
    assert provider.embedded == ["a", "b", "d", "c"]


def test_duplicates_are_sent_once(provider: FakeProvider, asker: Any) -> None:
    reply = post(asker, ["a", "b", "a", "a"])
    assert said(reply) == ("MISS", "2/4")
    assert embeddings(reply) == expected(provider, ["a", "b", "a", "a"])
    assert provider.embedded == ["a", "b"]


@pytest.mark.parametrize("inputs", ["a text", [1, 2, 3], [[1, 2], [3]], ["a", "b"]])
def test_every_form_of_input(provider: FakeProvider, asker: Any, inputs: Any) -> None:
    replies = [post(asker, inputs) for _ in range(2)]
    assert [reply.headers["x-tiercache"] for reply in replies] == ["MISS", "HIT"]
    assert replies[0].json() == replies[1].json()
    assert provider.requests[0].json["input"] == inputs


def test_a_text_is_not_its_tokens(provider: FakeProvider, asker: Any) -> None:
    post(asker, ["1"])
    assert said(post(asker, [[1]])) == ("MISS", "0/1")


def test_the_forms_of_one_text_share_an_entry(provider: FakeProvider, asker: Any) -> None:
    post(asker, "a")
    assert said(post(asker, ["a"])) == ("HIT", "1/1")


def test_the_whole_request_is_forwarded_as_it_came(provider: FakeProvider, asker: Any) -> None:
    body = b'{ "input": ["a", "\\u00e9"],  "model":"m", "x": 1.0e1 }'
    asker.post(PATH, content=body, headers={"content-type": "application/json"})
    assert provider.requests[0].body == body


def test_the_rest_of_a_request_goes_along_when_inputs_are_left_out(provider: FakeProvider, asker: Any) -> None:
    fields: dict[str, Any] = {"dimensions": 4, "user": "u", "unknown": {"x": [1.5, None]}, "encoding_format": "base64"}
    headers = {"x-mine": "1", "authorization": "Bearer sk-1"}
    headers["content-type"] = "application/json"
    for inputs in (["a"], ["a", "ü\ud800"]):
        body = json.dumps({"model": "m", "input": inputs, **fields})
        assert asker.post(PATH, content=body, headers=headers).status_code == 200
    first, last = provider.requests
    assert last.json == {**first.json, "input": ["ü\ud800"]}
    assert int(last.headers["content-length"]) == len(last.body)
    changed = {"content-length", "cookie"}
    assert {name: value for name, value in last.headers.items() if name not in changed} == {
        name: value for name, value in first.headers.items() if name not in changed
    }


@pytest.mark.parametrize(
    "change", [{"model": "n"}, {"dimensions": 4}, {"unknown": 1}], ids=["model", "dimensions", "unknown"]
)
def test_what_changes_the_vectors_keeps_them_apart(provider: FakeProvider, asker: Any, change: Any) -> None:
    post(asker, ["a"])
    reply = post(asker, ["a"], **change)
    assert said(reply) == ("MISS", "0/1")
    assert embeddings(reply) == expected(
        provider, ["a"], model=change.get("model", "m"), dimensions=change.get("dimensions")
    )


def test_tenants_share_nothing(provider: FakeProvider, asker: Any) -> None:
    for key in ("sk-a", "sk-b"):
        assert said(post(asker, ["a"], headers={"authorization": f"Bearer {key}"})) == ("MISS", "0/1")
    assert said(post(asker, ["a"], headers={"authorization": "Bearer sk-a"})) == ("HIT", "1/1")


def test_two_thousand_inputs(provider: FakeProvider, asker: Any) -> None:
    texts = [f"text {number}" for number in range(2048)]
    post(asker, texts[:1000])
    reply = post(asker, texts, encoding_format="base64")
    assert said(reply) == ("PARTIAL", "1000/2048")
    assert embeddings(reply) == in_base64(expected(provider, texts))
    assert [len(request.json["input"]) for request in provider.requests] == [1000, 1048]


# Encodings.


@pytest.mark.parametrize("stored", ["float", "base64"])
@pytest.mark.parametrize("asked", ["float", "base64"])
def test_both_encodings_of_one_entry(provider: FakeProvider, asker: Any, stored: str, asked: str) -> None:
    post(asker, ["a", "b"], encoding_format=stored)
    reply = post(asker, ["a", "b"], encoding_format=asked)
    assert said(reply) == ("HIT", "2/2")
    vectors = expected(provider, ["a", "b"])
    assert embeddings(reply) == (vectors if asked == "float" else in_base64(vectors))


def test_each_call_is_sent_in_the_encoding_of_its_caller(provider: FakeProvider, asker: Any) -> None:
    post(asker, ["a"])
    post(asker, ["a", "b"], encoding_format="base64")
    assert ["encoding_format" in request.json for request in provider.requests] == [False, True]


def test_a_server_that_knows_no_base64(provider: FakeProvider, asker: Any) -> None:
    answer = {"object": "list", "data": [{"object": "embedding", "index": 0, "embedding": [0.5, 0.25]}], "model": "m"}
    provider.next(body=answer)
    assert post(asker, ["a"], encoding_format="base64").json() == answer
    assert embeddings(post(asker, ["a"])) == [[0.5, 0.25]]
    assert embeddings(post(asker, ["a"], encoding_format="base64")) == [[0.5, 0.25]], "as it would answer again"


@pytest.mark.parametrize("numbers", [[0.0023064255, -0.009327292], [0.1, 1e-7], [1 / 3, 2 / 3]])
def test_numbers_come_back_equal(provider: FakeProvider, asker: Any, numbers: list[float]) -> None:
    provider.next(body={"data": [{"object": "embedding", "index": 0, "embedding": numbers}], "model": "m"})
    assert embeddings(post(asker, ["a"])) == embeddings(post(asker, ["a"])) == [numbers]


# What the provider says.


def test_what_else_stands_in_an_answer_is_replayed(provider: FakeProvider, asker: Any) -> None:
    answer = {
        "object": "list",
        "data": [{"object": "embedding", "index": index, "embedding": [0.5, index], "x": index} for index in range(3)],
        "model": "m-2026",
        "id": "embd-1",
        "usage": {"prompt_tokens": 8, "total_tokens": 8, "cost": 1e-06, "details": None},
    }
    provider.next(body=answer)
    first, second = (post(asker, ["a", "bb", "ccc"]) for _ in range(2))
    assert first.json() == second.json() == answer


def test_usage_is_shared_out(provider: FakeProvider, asker: Any) -> None:
    post(asker, ["one", "one two three"])
    assert post(asker, ["one two three", "one"]).json()["usage"] == {"prompt_tokens": 4, "total_tokens": 4}
    shares = [post(asker, [text]).json()["usage"]["prompt_tokens"] for text in ("one", "one two three")]
    assert sum(shares) == 4
    assert shares[0] < shares[1]


def test_a_shuffled_answer_is_put_in_order(provider: FakeProvider, asker: Any) -> None:
    rows = [{"object": "embedding", "index": index, "embedding": [float(index)]} for index in (2, 0, 1)]
    provider.next(body={"object": "list", "data": rows, "model": "m"})
    post(asker, ["a", "b", "c"])
    assert embeddings(post(asker, ["a", "b", "c"])) == [[0.0], [1.0], [2.0]]


def row(index: Any, embedding: Any) -> dict[str, Any]:
    return {"object": "embedding", "index": index, "embedding": embedding}


WRONG: dict[str, Any] = {
    "too few": [row(0, [1.0])],
    "too many": [row(0, [1.0]), row(1, [1.0]), row(2, [1.0])],
    "an index twice": [row(0, [1.0]), row(0, [2.0])],
    "no index": [{"embedding": [1.0]}, {"embedding": [2.0]}],
    "uneven": [row(0, [1.0]), row(1, [1.0, 2.0])],
    "no vector": [row(0, None), row(1, [1.0])],
    "nested": [row(0, [[1.0]]), row(1, [[1.0]])],
}


@pytest.mark.parametrize("rows", WRONG.values(), ids=WRONG)
def test_an_answer_that_does_not_fit_is_handed_through(provider: FakeProvider, asker: Any, rows: Any) -> None:
    answer = {"object": "list", "data": rows, "model": "m"}
    provider.next(body=answer)
    reply = post(asker, ["a", "b"])
    assert reply.json() == answer
    assert said(reply) == ("MISS", "0/2")
    assert embeddings(post(asker, ["a", "b"])) == expected(provider, ["a", "b"])
    assert provider.calls() == 2


def test_an_answer_to_a_part_that_does_not_fit_is_asked_for_as_a_whole(provider: FakeProvider, asker: Any) -> None:
    post(asker, ["a"])
    provider.next(body={"object": "list", "data": [], "model": "m"})
    reply = post(asker, ["a", "b"])
    assert said(reply) == ("MISS", "0/2")
    assert embeddings(reply) == expected(provider, ["a", "b"])
    assert [request.json["input"] for request in provider.requests] == [["a"], ["b"], ["a", "b"]]


def test_vectors_of_another_length_than_those_that_are_kept_replace_them(provider: FakeProvider, asker: Any) -> None:
    post(asker, ["a"])
    provider.dimensions = 8
    reply = post(asker, ["a", "b"])
    assert embeddings(reply) == [vector_for(text, model="m", dimensions=8) for text in ("a", "b")]
    assert embeddings(post(asker, ["a"])) == [vector_for("a", model="m", dimensions=8)]


@pytest.mark.parametrize("answer", [{"error": True}, {"malformed": True}, {"empty": True}, {"body": b"[]"}])
def test_a_200_that_is_no_answer_is_handed_through(provider: FakeProvider, asker: Any, answer: Any) -> None:
    provider.next(**answer)
    replies = [post(asker, ["a"]) for _ in range(2)]
    assert provider.calls() == 2
    assert embeddings(replies[1]) == expected(provider, ["a"])


@pytest.mark.parametrize("status", [400, 401, 429, 500])
def test_an_error_for_the_missing_inputs_is_the_answer(provider: FakeProvider, asker: Any, status: int) -> None:
    post(asker, ["a"])
    provider.next(status=status, retry_after=7)
    reply = post(asker, ["a", "b"])
    assert reply.status_code == status
    assert reply.headers["retry-after"] == "7"
    assert "error" in reply.json()
    assert said(post(asker, ["a", "b"])) == ("PARTIAL", "1/2")


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
def test_compressed_answers(provider: FakeProvider, asker: Any, encoding: str) -> None:
    post(asker, ["a"])
    provider.next(encoding=encoding)
    assert embeddings(post(asker, ["a", "b"])) == expected(provider, ["a", "b"])


def test_a_dropped_connection_is_the_clients_own_error(provider: FakeProvider, asker: Any) -> None:
    post(asker, ["a"])
    provider.next(drop=True)
    with pytest.raises(httpx2.RemoteProtocolError):
        post(asker, ["a", "b"])
    assert said(post(asker, ["a", "b"])) == ("PARTIAL", "1/2")


# What passes the cache by.


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"input": ["a", ""]}, "empty_input"),
        ({"input": [{"text": "a"}]}, "other_input"),
        ({"input": ["a"], "output_dtype": "int8"}, "other_numbers"),
        ({"input": ["a"], "late_chunking": True}, "in_context"),
        ({"input": ["a"], "encoding_format": "hex"}, "other_encoding"),
    ],
)
def test_what_cannot_be_taken_apart_passes_by(
    provider: FakeProvider, askers: Askers, cache: Cache, fields: dict[str, Any], reason: str
) -> None:
    llm = LLMCache(cache)
    asker = askers(cache=llm)
    replies = [post(asker, **fields) for _ in range(2)]
    assert [reply.headers["x-tiercache"] for reply in replies] == ["BYPASS", "BYPASS"]
    assert provider.calls() == 2
    assert llm.stats().embedding.bypassed_for == {reason: 2}


@pytest.mark.parametrize("header", ["idempotency-key", "content-digest", "x-amz-content-sha256", "x-signature"])
def test_a_request_that_vouches_for_its_body_is_sent_whole(provider: FakeProvider, asker: Any, header: str) -> None:
    post(asker, ["a"])
    sealed = {header: "x"} if header == "idempotency-key" else {}
    post(asker, ["a"], headers={header: "x"})
    reply = post(asker, ["a", "b", "b"], headers={header: "x"})
    assert provider.requests[-1].json["input"] == ["a", "b", "b"]
    assert embeddings(reply) == expected(provider, ["a", "b", "b"])
    assert said(post(asker, ["b"], headers=sealed or {header: "x"})) == ("HIT", "1/1")


@pytest.mark.parametrize(
    ("scheme", "sent"), [("AWS4-HMAC-SHA256", ["a", "b"]), ("Signature", ["a", "b"]), ("Bearer", ["b"])]
)
def test_an_authorization_that_signs_the_body_is_sent_with_it(
    provider: FakeProvider, askers: Askers, scheme: str, sent: list[str]
) -> None:
    asker = askers(scope="one for all")
    for inputs in ["a"], ["a", "b"]:
        reply = post(asker, inputs, headers={"authorization": f"{scheme} Credential=hmac-sha256"})
    assert provider.requests[-1].json["input"] == sent
    assert embeddings(reply) == expected(provider, ["a", "b"])


# What the caller says.


def test_no_cache_asks_for_everything_and_stores_it(provider: FakeProvider, asker: Any) -> None:
    post(asker, ["a", "b"])
    assert said(post(asker, ["a", "b"], headers={"cache-control": "no-cache"})) == ("MISS", "0/2")
    assert said(post(asker, ["a", "b"])) == ("HIT", "2/2")
    assert provider.embedded == ["a", "b", "a", "b"]


def test_no_store_keeps_nothing_and_uses_what_is_there(provider: FakeProvider, asker: Any) -> None:
    post(asker, ["a"])
    for _ in range(2):
        assert said(post(asker, ["a", "b"], headers={"cache-control": "no-store"})) == ("PARTIAL", "1/2")


def test_only_if_cached_needs_all_of_it(provider: FakeProvider, asker: Any) -> None:
    post(asker, ["a", "b"])
    only = {"cache-control": "only-if-cached"}
    assert said(post(asker, ["b", "a"], headers=only)) == ("HIT", "2/2")
    assert post(asker, ["a", "c"], headers=only).status_code == 504
    assert provider.calls() == 1


def test_max_age_holds_for_each_input(provider: FakeProvider, askers: Askers) -> None:
    clock = FakeClock()
    with Cache(TierChain(MemoryBackend(clock=clock), clock=clock), clock=clock) as cache:
        asker = askers(cache=cache)
        post(asker, ["a"])
        clock.advance(100)
        post(asker, ["b"])
        reply = post(asker, ["a", "b"], headers={"cache-control": "max-age=50"})
        assert said(reply) == ("PARTIAL", "1/2")
        assert provider.embedded == ["a", "b", "a"]


def test_stale_vectors_are_served_when_the_provider_fails(provider: FakeProvider, askers: Askers) -> None:
    clock = FakeClock()
    with Cache(TierChain(MemoryBackend(clock=clock), clock=clock), clock=clock, stale_if_error=600) as cache:
        asker = askers(cache=LLMCache(cache, embedding_ttl=60))
        first = post(asker, ["a", "b"])
        clock.advance(61)
        provider.next(status=500)
        reply = post(asker, ["a", "b"])
        assert said(reply) == ("STALE", "2/2")
        assert reply.json() == first.json()


def test_stale_vectors_are_served_while_they_are_asked_for_anew(provider: FakeProvider, askers: Askers) -> None:
    clock = FakeClock()
    with Cache(TierChain(MemoryBackend(clock=clock), clock=clock), clock=clock, stale_for=600) as cache:
        asker = askers(cache=LLMCache(cache, embedding_ttl=60))
        first = post(asker, ["a", "b"])
        clock.advance(61)
        reply = post(asker, ["b", "a", "c"])
        assert said(reply) == ("PARTIAL", "2/3")
        assert embeddings(reply)[1] == embeddings(first)[0]
        provider.wait_for(3)
        assert sorted(provider.embedded) == ["a", "a", "b", "b", "c"]


def test_a_caller_who_leaves_does_not_take_the_others_along(provider: FakeProvider, cache: Cache) -> None:
    import asyncio

    async def leave_one() -> list[Any]:
        gate, loop = provider.hold(), asyncio.get_running_loop()
        async with async_client(cache, http=httpx2) as below:
            body = {"model": "m", "input": ["a", "b"]}
            first = asyncio.create_task(below.post(provider.url + PATH, json=body))
            await loop.run_in_executor(None, gate.reached.wait, PATIENCE)
            second = asyncio.create_task(below.post(provider.url + PATH, json=body))
            await asyncio.sleep(0)
            first.cancel()
            gate.open()
            return embeddings(await second)

    assert asyncio.run(leave_one()) == expected(provider, ["a", "b"])


# What is counted.


def test_hits_are_counted_by_input_and_savings_are_shares(provider: FakeProvider, askers: Askers, cache: Cache) -> None:
    llm = LLMCache(cache)
    asker = askers(cache=llm)
    model = "text-embedding-3-small"
    post(asker, ["one", "two words"], model=model)
    post(asker, ["two words", "one", "three more words"], model=model)
    stats = llm.stats().embedding
    assert (stats.hits, stats.misses, stats.stored) == (2, 3, 3)
    total = cache.stats().savings.total
    assert (total.calls, total.input_tokens, total.unpriced) == (1, 3, 0)
    assert total.usd == pytest.approx(3 * 0.02e-6)
    assert total.seconds > 0


# Many at once.


def test_overlapping_batches_ask_for_each_input_once(provider: FakeProvider, asker: Any) -> None:
    gate = provider.hold()
    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(post, asker, ["a", "b"])
        assert gate.reached.wait(PATIENCE)
        second = pool.submit(post, asker, ["b", "c"])
        third = pool.submit(post, asker, ["b"], encoding_format="base64")
        provider.wait_for(2)
        gate.open()
        replies = [future.result(PATIENCE) for future in (first, second, third)]
    assert embeddings(replies[0]) == expected(provider, ["a", "b"])
    assert embeddings(replies[1]) == expected(provider, ["b", "c"])
    assert embeddings(replies[2]) == in_base64(expected(provider, ["b"]))
    assert sorted(provider.embedded) == ["a", "b", "c"]
    assert [said(reply) for reply in replies] == [("MISS", "0/2"), ("PARTIAL", "1/2"), ("SHARED", "1/1")]


def followers(cache: Cache) -> threading.Semaphore:
    """Released each time that somebody joins a call of another."""
    joined = threading.Semaphore(0)
    original = cache.chain.flights.join_many

    def join_many(*args: Any) -> Any:
        led, followed = original(*args)
        if followed:
            joined.release()
        return led, followed

    cache.chain.flights.join_many = join_many  # type: ignore[method-assign]
    return joined


def test_whoever_waited_for_a_failed_batch_asks_for_the_own_inputs(
    provider: FakeProvider, asker: Any, cache: Cache
) -> None:
    gate, joined = Gate(), followers(cache)
    provider.next(hold=gate, status=400)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(post, asker, ["a", "too long"])
        assert gate.reached.wait(PATIENCE)
        second = pool.submit(post, asker, ["a", "b"])
        assert joined.acquire(timeout=PATIENCE)
        gate.open()
        assert first.result(PATIENCE).status_code == 400
        assert embeddings(second.result(PATIENCE)) == expected(provider, ["a", "b"])
    assert [request.json["input"] for request in provider.requests] == [["a", "too long"], ["b"], ["a"]]


def test_equal_requests_share_a_refusal(provider: FakeProvider, asker: Any, cache: Cache) -> None:
    gate, joined = Gate(), followers(cache)
    provider.next(hold=gate, status=429, retry_after=7)
    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(post, asker, ["a", "b"])
        assert gate.reached.wait(PATIENCE)
        others = [pool.submit(post, asker, ["a", "b"]) for _ in range(3)]
        for _ in others:
            assert joined.acquire(timeout=PATIENCE)
        gate.open()
        replies = [future.result(PATIENCE) for future in (first, *others)]
    assert [reply.status_code for reply in replies] == [429] * 4
    assert [reply.headers["retry-after"] for reply in replies] == ["7"] * 4
    assert [reply.headers["x-tiercache"] for reply in replies] == ["MISS", "SHARED", "SHARED", "SHARED"]
    assert provider.calls() == 1


def test_those_who_wait_for_a_dropped_connection_get_errors_of_their_own(
    provider: FakeProvider, asker: Any, cache: Cache
) -> None:
    gate, joined = Gate(), followers(cache)
    provider.next(hold=gate, drop=True)
    with ThreadPoolExecutor(2) as pool:
        futures = [pool.submit(post, asker, ["a"])]
        assert gate.reached.wait(PATIENCE)
        futures.append(pool.submit(post, asker, ["a"]))
        assert joined.acquire(timeout=PATIENCE)
        gate.open()
        errors = [future.exception(PATIENCE) for future in futures]
    assert [type(error) for error in errors] == [httpx2.RemoteProtocolError] * 2
    assert errors[0] is not errors[1]
    assert provider.calls() == 1


def test_those_who_wait_for_an_answer_that_does_not_fit_ask_themselves(
    provider: FakeProvider, asker: Any, cache: Cache
) -> None:
    gate, joined = Gate(), followers(cache)
    provider.next(hold=gate, empty=True)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(post, asker, ["a"])
        assert gate.reached.wait(PATIENCE)
        second = pool.submit(post, asker, ["a"])
        assert joined.acquire(timeout=PATIENCE)
        gate.open()
        assert first.result(PATIENCE).json()["data"] == []
        assert embeddings(second.result(PATIENCE)) == expected(provider, ["a"])


# Tiers.


def test_another_process_finds_them_in_the_store(provider: FakeProvider, askers: Askers, clock: FakeClock) -> None:
    remote = RemoteBackend(clock)
    replies = []
    for _ in range(2):
        cache = Cache(TierChain(MemoryBackend(clock=clock), Tier(remote), clock=clock))
        replies.append(post(askers(cache=cache), ["a", "b"]))
        cache.close()
    assert [said(reply) for reply in replies] == [("MISS", "0/2"), ("HIT", "2/2")]
    assert replies[0].json() == replies[1].json()
    assert replies[1].headers["x-tiercache-tier"] == "remote"
    assert provider.calls() == 1


def test_entries_survive_on_redis(provider: FakeProvider, askers: Askers, redis_url: str, s3_prefix: str) -> None:
    from tiercache_redis import RedisBackend

    for outcome in ("MISS", "HIT"):
        cache = Cache(TierChain(MemoryBackend(), RedisBackend(redis_url, prefix=s3_prefix, timeout=10)))
        reply = post(askers(cache=cache), ["a", "b"])
        assert reply.headers["x-tiercache"] == outcome
        assert embeddings(reply) == expected(provider, ["a", "b"])
        cache.close()


def test_a_store_that_fails_is_not_in_the_way(provider: FakeProvider, askers: Askers, clock: FakeClock) -> None:
    remote = RemoteBackend(clock)
    remote.break_down()
    with Cache(TierChain(MemoryBackend(clock=clock), Tier(remote), strict=True, clock=clock)) as cache:
        reply = post(askers(cache=cache), ["a", "b"])
    assert reply.status_code == 200
    assert embeddings(reply) == expected(provider, ["a", "b"])


def test_a_closed_cache_is_not_in_the_way(provider: FakeProvider, askers: Askers) -> None:
    cache = Cache(MemoryBackend())
    asker = askers(cache=cache)
    cache.close()
    assert embeddings(post(asker, ["a"])) == expected(provider, ["a"])


# The SDK.


def test_the_sdk_gets_what_it_got(provider: FakeProvider, cache: Cache, http: Any) -> None:
    with OpenAI(base_url=provider.openai, api_key="a", http_client=client(cache, http=http), max_retries=0) as sdk:
        first = sdk.embeddings.create(model="m", input=["a", "b"])
        second = sdk.embeddings.create(model="m", input=["b", "c", "a"])
        third = sdk.embeddings.create(model="m", input=["a", "b"])
        floats = sdk.embeddings.create(model="m", input=["a", "b"], encoding_format="float")
        provider.next(status=429)
        with pytest.raises(RateLimitError):
            sdk.embeddings.create(model="m", input=["a", "new"])
    assert third == first
    assert [row.embedding for row in second.data] == expected(provider, ["b", "c", "a"])
    assert [row.embedding for row in floats.data] == [row.embedding for row in first.data]
    assert provider.embedded == ["a", "b", "c", "new"]
    assert provider.requests[0].json["encoding_format"] == "base64"


async def test_the_sdk_gets_what_it_got_awaited(provider: FakeProvider, cache: Cache, http: Any) -> None:
    below = async_client(cache, http=http)
    async with AsyncOpenAI(base_url=provider.openai, api_key="a", http_client=below, max_retries=0) as sdk:
        first = await sdk.embeddings.create(model="m", input=["a", "b"])
        second = await sdk.embeddings.create(model="m", input=["b", "c", "a"])
        third = await sdk.embeddings.create(model="m", input=["a", "b"])
    assert third == first
    assert [row.embedding for row in second.data] == expected(provider, ["b", "c", "a"])
    assert provider.embedded == ["a", "b", "c"]
