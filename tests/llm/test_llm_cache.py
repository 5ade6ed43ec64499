"""`LLMCache`: one call for equal requests, nothing stored that is not whole, and never in the way."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.llm.llm_answers import ANSWERS, answer, chat, chat_request, text_of
from tests.llm.llm_faces import Face, Provider
from tests.support import RemoteBackend
from tiercache import Cache, DiskBackend, MemoryBackend, TierChain
from tiercache.computing.singleflight import Flights
from tiercache.errors import CacheClosed, ConfigurationError, NotCached
from tiercache.llm import LLMCache, Price, cache_control
from tiercache.llm.kinds import KINDS
from tiercache.testing import FakeClock

WHOLE = [kind for kind in KINDS if kind != "embedding"]
REQUESTS: dict[str, dict[str, Any]] = {
    "chat": chat_request(),
    "completion": {"model": "gpt-3.5-turbo-instruct", "prompt": "why?"},
    "response": {"model": "gpt-4o-mini", "input": "why?"},
    "message": {"model": "claude-sonnet-4-5", "max_tokens": 9, "messages": [{"role": "user", "content": "why?"}]},
}


@pytest.fixture(params=["sync", "async"])
def face(request: pytest.FixtureRequest) -> Face:
    return Face(request.param)


@pytest.fixture
def llm(clock: FakeClock) -> Iterator[LLMCache]:
    with LLMCache.memory_only(clock=clock) as llm:
        yield llm


@pytest.mark.parametrize("kind", WHOLE)
def test_equal_requests_are_one_call(llm: LLMCache, face: Face, kind: Any) -> None:
    provider = Provider(ANSWERS[kind])
    answers = [face(llm, kind, dict(REQUESTS[kind]), provider) for _ in range(3)]
    assert answers == [ANSWERS[kind]] * 3
    assert provider.calls == 1
    stats = getattr(llm.stats(), kind)
    assert (stats.hits, stats.misses, stats.stored) == (2, 1, 1)
    assert llm.stats().combined == stats


@pytest.mark.parametrize("kind", WHOLE)
def test_get_set_lookup_and_invalidate(llm: LLMCache, face: Face, kind: Any) -> None:
    request, good = REQUESTS[kind], ANSWERS[kind]
    assert face(llm, f"get_{kind}", request) is None
    assert face(llm, f"set_{kind}", request, good) is True
    assert face(llm, f"get_{kind}", request) == good
    found = face(llm, f"lookup_{kind}", request)
    assert (found.value, found.hit, found.tier) == (good, True, "memory")
    assert face(llm, f"invalidate_{kind}", request) is True
    assert face(llm, f"invalidate_{kind}", request) is False
    assert not face(llm, f"lookup_{kind}", request).hit


def test_kinds_do_not_meet(llm: LLMCache) -> None:
    request = {"model": "m", "messages": [], "input": "x", "prompt": "x"}
    for kind in WHOLE:
        getattr(llm, f"set_{kind}")(request, ANSWERS[kind])
    for kind in WHOLE:
        assert getattr(llm, f"get_{kind}")(request) == ANSWERS[kind]


def test_a_caller_cannot_change_what_others_get(llm: LLMCache, face: Face) -> None:
    first = face(llm, "chat", chat_request(), Provider(chat("because")))
    first["choices"].clear()
    second = face(llm, "chat", chat_request(), Provider(chat("because")))
    second["choices"].clear()
    assert text_of(face(llm, "get_chat", chat_request())) == "because"


def test_answers_live_as_long_as_their_kind_says(clock: FakeClock) -> None:
    llm = LLMCache(Cache(MemoryBackend(clock=clock), ttl="30d", clock=clock), chat_ttl=60, message_ttl=None)
    llm.set_chat(chat_request(), chat())
    llm.set_message(REQUESTS["message"], ANSWERS["message"])
    clock.advance(59)
    assert llm.get_chat(chat_request()) is not None
    clock.advance(1)
    assert llm.get_chat(chat_request()) is None
    clock.advance(10**9)
    assert llm.get_message(REQUESTS["message"]) is not None


def test_what_is_not_whole_is_handed_through_counted_and_not_stored(llm: LLMCache, face: Face) -> None:
    cut = chat(choices__0__finish_reason="length")
    provider = Provider(cut, {"error": {"message": "overloaded"}}, chat("whole"))
    assert face(llm, "chat", chat_request(), provider) == cut
    assert face(llm, "chat", chat_request(), provider) == {"error": {"message": "overloaded"}}
    assert [text_of(face(llm, "chat", chat_request(), provider)) for _ in range(2)] == ["whole"] * 2
    assert provider.calls == 3
    assert llm.stats().chat.refused == {"truncated": 1, "error": 1}
    assert face(llm, "set_chat", chat_request("other"), cut) is False
    assert face(llm, "get_chat", chat_request("other")) is None
    assert llm.stats().chat.refused["truncated"] == 2


def test_a_policy_with_a_defect_is_counted_and_not_in_the_way(face: Face) -> None:
    class Defect:
        def refusal(self, kind: str, answer: Any) -> str | None:
            raise RuntimeError("a defect")

    llm = LLMCache.memory_only(policy=Defect())
    provider = Provider(chat())
    assert [face(llm, "chat", chat_request(), provider) for _ in range(2)] == [chat()] * 2
    assert provider.calls == 2
    assert llm.stats().chat.refused == {"policy_error": 2}


def test_what_the_provider_raises_is_raised_and_nothing_stored(llm: LLMCache, face: Face) -> None:
    provider = Provider(TimeoutError("upstream"), chat())
    with pytest.raises(TimeoutError, match="upstream"):
        face(llm, "chat", chat_request(), provider)
    assert face(llm, "chat", chat_request(), provider) == chat()
    assert provider.calls == 2


def test_the_function_may_take_the_request_or_nothing(llm: LLMCache) -> None:
    request = chat_request()
    assert llm.chat(request, lambda given: chat("with" if given is request else "another")) == chat("with")
    assert llm.chat(chat_request("b"), lambda: chat("without")) == chat("without")
    assert llm.chat(chat_request("c"), lambda model="m", *, key=1: chat(model)) == chat("m")
    with pytest.raises(TypeError, match="call must be a function"):
        llm.chat(request, chat())  # type: ignore[arg-type]


def test_an_async_function_in_the_blocking_face_is_told_with_its_twin(llm: LLMCache) -> None:
    async def ask() -> Any:
        return chat()

    with pytest.raises(TypeError, match="begins with an a"):
        llm.chat(chat_request(), ask)


async def test_a_function_that_does_not_await_will_do_for_the_awaited_face(llm: LLMCache) -> None:
    assert await llm.achat(chat_request(), lambda: chat()) == chat()


def test_callers_at_the_same_moment_share_one_call(llm: LLMCache, monkeypatch: pytest.MonkeyPatch) -> None:
    provider, entered, go_on = Provider(chat()), threading.Event(), threading.Event()
    joined, all_joined, join = [], threading.Event(), Flights.join

    def counted(flights: Flights, *args: Any) -> Any:
        flight = join(flights, *args)
        joined.append(flight)
        if len(joined) == 8:
            all_joined.set()
        return flight

    monkeypatch.setattr(Flights, "join", counted)

    def ask() -> Any:
        entered.set()
        assert go_on.wait(30)
        return provider(None)

    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(llm.chat, chat_request(), ask)
        assert entered.wait(30)
        others = [pool.submit(llm.chat, chat_request(), ask) for _ in range(7)]
        assert all_joined.wait(30)
        go_on.set()
        answers = [each.result(30) for each in (first, *others)]
    assert answers == [chat()] * 8
    assert len({id(each) for each in answers}) == 8, "each has a copy of their own"
    stats = llm.stats().chat
    assert (provider.calls, stats.misses, stats.hits, stats.shared) == (1, 1, 7, 7)
    assert llm.cache.stats().savings.by_tier["shared"].calls == 7


async def test_tasks_at_the_same_moment_share_one_call_and_its_refusal(llm: LLMCache) -> None:
    provider = Provider(chat(choices__0__finish_reason="length"))

    async def ask() -> Any:
        await asyncio.sleep(0.05)
        return provider(None)

    answers = await asyncio.gather(*(llm.achat(chat_request(), ask) for _ in range(50)))
    assert provider.calls == 1
    assert len({id(each) for each in answers}) == 50, "each has a copy of their own"
    assert llm.stats().chat.refused == {"truncated": 1}


async def test_what_cannot_be_copied_is_never_shared(llm: LLMCache) -> None:
    made = []

    async def ask() -> Any:
        await asyncio.sleep(0.05)
        made.append(iter("abc"))
        return made[-1]

    answers = await asyncio.gather(*(llm.achat(chat_request(), ask) for _ in range(5)))
    assert len({id(each) for each in answers}) == 5
    assert all("".join(each) == "abc" for each in answers)


def test_a_stream_is_handed_through_untouched(llm: LLMCache, face: Face) -> None:
    chunks = iter("abc")
    assert face(llm, "chat", chat_request(stream=True), Provider(lambda: chunks)) is chunks
    assert face(llm, "get_chat", chat_request(stream=True)) is None
    assert face(llm, "set_chat", chat_request(stream=True), chat()) is False
    assert llm.stats().chat.bypassed == 3
    assert list(chunks) == ["a", "b", "c"]


@pytest.mark.parametrize(
    "fields",
    [
        {"previous_response_id": "resp_0"},
        {"conversation": "conv_0"},
        {"background": True},
        {"tools": [{"type": "web_search"}]},
        {"tools": [{"type": "function", "name": "f"}, {"type": "mcp", "server_url": "x"}]},
    ],
)
def test_an_answer_that_depends_on_more_than_the_request_is_not_kept(llm: LLMCache, face: Face, fields: Any) -> None:
    provider, request = Provider(ANSWERS["response"]), {**REQUESTS["response"], **fields}
    assert [face(llm, "response", request, provider) for _ in range(2)] == [ANSWERS["response"]] * 2
    assert (provider.calls, llm.stats().response.bypassed) == (2, 2)
    kept = LLMCache.memory_only(cache_stateful=True)
    face(kept, "response", request, provider)
    assert face(kept, "get_response", request) == ANSWERS["response"]


def test_a_request_of_which_no_key_can_be_made_is_no_obstacle(llm: LLMCache, face: Face) -> None:
    provider, request = Provider(chat()), chat_request(response_format=Provider)
    assert [face(llm, "chat", request, provider) for _ in range(2)] == [chat()] * 2
    assert provider.calls == 2
    assert face(llm, "get_chat", request) is None
    assert face(llm, "set_chat", request, chat()) is False
    assert face(llm, "invalidate_chat", request) is False
    with pytest.raises(NotCached):
        face(llm, "chat", request, provider, only_if_cached=True)
    assert llm.stats().chat.bypassed == 4


def test_what_no_codec_takes_is_handed_through_and_counted(llm: LLMCache, face: Face) -> None:
    strange = {**chat(), "client": object()}
    provider = Provider(strange)
    assert [face(llm, "chat", chat_request(), provider) for _ in range(2)] == [strange] * 2
    assert llm.stats().chat.refused == {"uncacheable": 2}
    assert face(llm, "set_chat", chat_request(), strange) is False


def test_a_tier_that_fails_is_no_obstacle(clock: FakeClock, face: Face) -> None:
    remote = RemoteBackend(clock)
    llm = LLMCache(Cache(TierChain(remote, clock=clock), clock=clock))
    remote.break_down()
    provider = Provider(chat())
    assert [face(llm, "chat", chat_request(), provider) for _ in range(2)] == [chat()] * 2
    assert provider.calls == 2


def test_a_closed_cache_says_so(llm: LLMCache, face: Face) -> None:
    llm.close()
    with pytest.raises(CacheClosed):
        face(llm, "chat", chat_request(), Provider(chat()))
    with pytest.raises(CacheClosed):
        face(llm, "get_chat", chat_request())


def test_an_answer_survives_a_restart(tmp_path: Any, face: Face) -> None:
    for calls in (1, 0):
        provider = Provider(chat())
        with LLMCache(Cache(TierChain(MemoryBackend(), DiskBackend(tmp_path / "cache")))) as llm:
            assert [face(llm, "chat", chat_request(), provider) for _ in range(2)] == [chat()] * 2
            assert provider.calls == calls


def test_an_entry_of_another_tenant_under_the_same_key_is_a_miss(llm: LLMCache, face: Face) -> None:
    llm.set_chat(chat_request(), chat("of acme"), tenant="acme")
    (key,) = list(llm.cache.keys())
    stored = llm.cache.lookup(key)
    attributes = {**stored.metadata.attributes}
    llm.get_chat(chat_request(), tenant="evil")
    key = llm.rules.plan("chat", chat_request(), scope="evil").key
    llm.cache.set(key, stored.value, attributes=attributes)  # as if two keys collided
    assert face(llm, "get_chat", chat_request(), tenant="evil") is None
    assert text_of(face(llm, "chat", chat_request(), Provider(chat("of evil")), tenant="evil")) == "of evil"
    assert text_of(face(llm, "get_chat", chat_request(), tenant="evil")) == "of evil"
    assert text_of(face(llm, "get_chat", chat_request(), tenant="acme")) == "of acme"


@pytest.mark.parametrize("foreign", [b"bytes", "text", None, [1], {"status": 200}])
def test_what_somebody_else_put_there_is_a_miss(llm: LLMCache, face: Face, foreign: Any) -> None:
    llm.cache.set(llm.rules.plan("chat", chat_request()).key, foreign)
    assert face(llm, "get_chat", chat_request()) is None
    assert face(llm, "chat", chat_request(), Provider(chat())) == chat()
    assert face(llm, "get_chat", chat_request()) == chat()


def test_users_share_answers_unless_the_cache_is_told_otherwise(face: Face) -> None:
    for specific, calls in ((False, 1), (True, 2)):
        llm, provider = LLMCache.memory_only(user_specific=specific), Provider(chat())
        for user in ("ann", "bob", "ann"):
            face(llm, "chat", chat_request(user=user), provider)
        assert provider.calls == calls


def test_invalidation_by_model_user_tag_and_kind(llm: LLMCache, face: Face) -> None:
    def there() -> str:
        kept = {
            "m": llm.get_chat(chat_request(model="m", user="ann")),
            "n": llm.get_chat(chat_request(model="n", user="bob")),
            "k": llm.get_message(REQUESTS["message"]),
            "o": llm.cache.get("own"),
        }
        return "".join(name for name, answer in kept.items() if answer is not None)

    def fill() -> None:
        llm.set_chat(chat_request(model="m", user="ann"), chat(), tags=["doc:7"])
        llm.set_chat(chat_request(model="n", user="bob"), chat())
        llm.set_message(REQUESTS["message"], ANSWERS["message"])
        llm.cache.set("own", 1)
        assert there() == "mnko"

    for operation, args, left in [
        ("invalidate_model", ["m"], "nko"),
        ("invalidate_user", ["bob"], "mko"),
        ("invalidate_tags", [["doc:7"]], "nko"),
        ("clear", ["chat"], "ko"),
        ("clear", [], "o"),
    ]:
        fill()
        face(llm, operation, *args)
        assert there() == left, operation


def test_what_cannot_be_invalidated_is_told(llm: LLMCache) -> None:
    with pytest.raises(ConfigurationError, match="there is no kind"):
        llm.clear("chats")  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="own"):
        llm.invalidate_tags(["_llm:model:m"])
    with pytest.raises(ConfigurationError, match="must be a Cache"):
        LLMCache(MemoryBackend())  # type: ignore[arg-type]


def test_statistics_start_again(llm: LLMCache) -> None:
    llm.chat(chat_request(), lambda: chat())
    llm.reset_stats()
    assert llm.stats().combined.misses == 0
    llm.get_chat(chat_request())
    assert llm.stats().as_dict()["chat"]["hit_rate"] == 1.0


def test_a_hit_tells_what_it_saved(llm: LLMCache, face: Face) -> None:
    face(llm, "chat", chat_request(), Provider(chat()))
    saving = face(llm, "lookup_chat", chat_request()).saving
    assert (saving.calls, saving.input_tokens, saving.output_tokens) == (1, 10, 3)
    assert saving.usd > 0
    assert saving.seconds > 0
    assert llm.cache.stats().savings.rows["gpt-4o-mini", "memory"].calls == 1


def test_prices_of_ones_own_tell_what_a_hit_saved(face: Face) -> None:
    prices = {"gpt-4o-mini": Price(input=1_000_000, output=100_000), "embedder": Price(input=500_000)}
    texts = {"model": "embedder", "input": ["a text"]}
    data = [{"object": "embedding", "index": 0, "embedding": [0.5, 1.0]}]
    vectors = {"object": "list", "model": "embedder", "data": data, "usage": {"prompt_tokens": 2, "total_tokens": 2}}
    with LLMCache.memory_only(prices=prices) as llm:
        face(llm, "chat", chat_request(), Provider(chat()))
        face(llm, "embedding", texts, lambda _: vectors)
        assert face(llm, "lookup_chat", chat_request()).saving.usd == 10 * 1 + 3 * 0.1
        assert face(llm, "lookup_embedding", texts).saving.usd == 2 * 0.5
        face(llm, "set_chat", chat_request(), chat())
        assert face(llm, "lookup_chat", chat_request()).saving.usd == 10 * 1 + 3 * 0.1


class TestControl:
    """What one call says, or a block."""

    def test_max_age_makes_what_is_older_a_miss(self, llm: LLMCache, clock: FakeClock, face: Face) -> None:
        llm.set_chat(chat_request(), chat("old"))
        clock.advance(100)
        assert face(llm, "get_chat", chat_request(), max_age=99) is None
        assert text_of(face(llm, "chat", chat_request(), Provider(chat("new")), max_age=101)) == "old"
        assert text_of(face(llm, "chat", chat_request(), Provider(chat("new")), max_age="90s")) == "new"
        assert text_of(face(llm, "get_chat", chat_request())) == "new"

    def test_max_age_holds_for_what_is_stale_too(self, clock: FakeClock, face: Face) -> None:
        cache = Cache(MemoryBackend(clock=clock), stale_for="1h", clock=clock)
        llm = LLMCache(cache, chat_ttl=60)
        llm.chat(chat_request(), lambda: chat("old"))
        clock.advance(100)
        assert llm.get_chat(chat_request()) is None
        assert llm.lookup_chat(chat_request()).is_stale
        assert text_of(face(llm, "chat", chat_request(), Provider(chat("new")), max_age=90)) == "new"

    def test_no_cache_asks_and_stores(self, llm: LLMCache, face: Face) -> None:
        llm.set_chat(chat_request(), chat("old"))
        assert face(llm, "get_chat", chat_request(), no_cache=True) is None
        assert text_of(face(llm, "chat", chat_request(), Provider(chat("new")), no_cache=True)) == "new"
        assert text_of(face(llm, "get_chat", chat_request())) == "new"

    def test_no_store_stores_nothing_and_serves_what_is_there(self, llm: LLMCache, face: Face) -> None:
        face(llm, "chat", chat_request(), Provider(chat("one")), no_store=True)
        assert face(llm, "get_chat", chat_request()) is None
        assert face(llm, "set_chat", chat_request(), chat("one"), no_store=True) is False
        llm.set_chat(chat_request(), chat("kept"))
        assert text_of(face(llm, "chat", chat_request(), Provider(chat("two")), no_store=True)) == "kept"

    def test_no_cache_and_no_store_pass_by(self, llm: LLMCache, face: Face) -> None:
        llm.set_chat(chat_request(), chat("kept"))
        provider = Provider(chat("new"))
        assert text_of(face(llm, "chat", chat_request(), provider, no_cache=True, no_store=True)) == "new"
        assert llm.stats().chat.bypassed == 1
        assert text_of(face(llm, "get_chat", chat_request())) == "kept"

    def test_only_if_cached_never_asks(self, llm: LLMCache, clock: FakeClock, face: Face) -> None:
        provider = Provider(chat("new"))
        with pytest.raises(NotCached) as raised:
            face(llm, "chat", chat_request(), provider, only_if_cached=True)
        assert isinstance(raised.value, LookupError)
        llm.set_chat(chat_request(), chat("kept"))
        assert text_of(face(llm, "chat", chat_request(), provider, only_if_cached=True)) == "kept"
        clock.advance(60)
        with pytest.raises(NotCached):
            face(llm, "chat", chat_request(), provider, only_if_cached=True, max_age=59)
        assert provider.calls == 0

    def test_a_ttl_and_tags_of_ones_own(self, llm: LLMCache, clock: FakeClock, face: Face) -> None:
        face(llm, "chat", chat_request(), Provider(chat()), ttl=5, tags=["doc:7"])
        found = llm.lookup_chat(chat_request())
        assert found.ttl == 5
        assert "doc:7" in found.metadata.tags
        clock.advance(5)
        assert llm.get_chat(chat_request()) is None

    def test_a_block_holds_for_all_in_it(self, llm: LLMCache, face: Face) -> None:
        llm.set_chat(chat_request(), chat("old"))
        with cache_control(no_cache=True):
            assert text_of(face(llm, "chat", chat_request(), Provider(chat("new")))) == "new"
            assert text_of(face(llm, "chat", chat_request(), Provider(chat("newer")), no_cache=False)) == "new"

    async def test_blocks_of_tasks_do_not_meet(self, llm: LLMCache) -> None:
        llm.set_chat(chat_request(), chat("old"))
        entered, go_on = asyncio.Event(), asyncio.Event()

        async def fresh() -> Any:
            with cache_control(no_cache=True, no_store=True):
                entered.set()
                await go_on.wait()
                return await asyncio.create_task(llm.achat(chat_request(), lambda: chat("new")))

        task = asyncio.create_task(fresh())
        await entered.wait()
        assert text_of(await llm.achat(chat_request(), lambda: chat("never"))) == "old"
        go_on.set()
        assert text_of(await task) == "new"

    def test_a_block_does_not_reach_into_other_threads(self, llm: LLMCache) -> None:
        llm.set_chat(chat_request(), chat("old"))
        with ThreadPoolExecutor(1) as pool:
            pool.submit(int).result(30)
            with cache_control(no_cache=True):
                asked = pool.submit(llm.chat, chat_request(), lambda: chat("new"))
                assert text_of(asked.result(30)) == "old"


class TestSamples:
    """Several answers to one request, for those who want variety."""

    REQUEST = chat_request(temperature=1)

    def test_each_of_n_is_asked_for_once(self, face: Face) -> None:
        llm = LLMCache.memory_only(samples=3)
        provider = Provider(*(chat(str(number)) for number in range(100)))
        for _ in range(3):
            seen = {text_of(face(llm, "chat", self.REQUEST, provider)) for _ in range(100)}
        assert seen == {"0", "1", "2"}
        assert provider.calls == 3

    def test_what_is_not_sampled_has_one(self, face: Face) -> None:
        llm, provider = LLMCache.memory_only(samples=3), Provider(chat())
        for _ in range(20):
            face(llm, "chat", chat_request(temperature=0), provider)
        assert provider.calls == 1

    def test_a_call_may_ask_for_more(self, face: Face) -> None:
        llm = LLMCache.memory_only()
        provider = Provider(*(chat(str(number)) for number in range(100)))
        assert text_of(face(llm, "chat", self.REQUEST, provider)) == "0"
        seen = {text_of(face(llm, "chat", self.REQUEST, provider, samples=2)) for _ in range(60)}
        assert seen == {"0", "1"}
        assert text_of(face(llm, "chat", self.REQUEST, provider)) == "0"

    def test_get_finds_one_wherever_it_is_and_set_fills_the_empty_places(self, face: Face) -> None:
        llm = LLMCache.memory_only(samples=3)
        for number in range(3):
            assert face(llm, "set_chat", self.REQUEST, chat(str(number)))
            assert face(llm, "get_chat", self.REQUEST) is not None
        assert {text_of(face(llm, "get_chat", self.REQUEST)) for _ in range(60)} == {"0", "1", "2"}
        assert llm.chat(self.REQUEST, lambda: chat("never"), only_if_cached=True) is not None

    def test_they_are_invalidated_together(self, face: Face) -> None:
        llm = LLMCache.memory_only(samples=3)
        for number in range(3):
            llm.set_chat(self.REQUEST, chat(str(number)))
        assert face(llm, "invalidate_chat", self.REQUEST) is True
        assert face(llm, "get_chat", self.REQUEST) is None

    def test_sampled_answers_are_not_kept_where_they_shall_not_be(self, face: Face) -> None:
        llm, provider = LLMCache.memory_only(cache_sampled=False), Provider(answer())
        for request in (self.REQUEST, chat_request(temperature=0)):
            for _ in range(2):
                face(llm, "chat", request, provider)
        assert provider.calls == 3
        assert llm.set_chat(self.REQUEST, answer()) is False
