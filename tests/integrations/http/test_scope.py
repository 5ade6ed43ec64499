"""Tenants: whoever asks with other credentials has other answers, and nothing tells what the credentials were."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.integrations.http.askers import MESSAGES, Asker
from tests.provider import FakeProvider
from tiercache import Cache, DiskBackend, KeyRing, MemoryBackend, TierChain
from tiercache.errors import ConfigurationError
from tiercache.integrations.http import client
from tiercache.integrations.http.scope import Tenants

Askers = Callable[..., Asker]
BODY = {"model": "m", "messages": MESSAGES}


def scope_of(chain: TierChain, scope: Any = "auth", url: str = "http://a/v1", **headers: str) -> str | None:
    return Tenants(chain, scope).of(
        httpx2.Request("POST", url, headers={k.replace("_", "-"): v for k, v in headers.items()})
    )


def test_two_tenants_with_the_same_prompt(provider: FakeProvider, askers: Askers) -> None:
    one, two = askers(api_key="sk-one"), askers(api_key="sk-two")
    ids = [asker.ask().parse().id for asker in (one, two, one, two)]
    assert ids[0] != ids[1]
    assert ids[:2] == ids[2:]
    assert provider.calls() == 2


@pytest.mark.parametrize(
    "name", ["authorization", "x-api-key", "api-key", "openai-organization", "openai-project", "x-goog-api-key"]
)
def test_whatever_says_who_asks_counts(asker: Asker, name: str) -> None:
    said = [
        asker.post("/v1/chat/completions", json=BODY, headers={name: value}).headers["x-tiercache"]
        for value in ("a", "b", "a")
    ]
    assert said == ["MISS", "MISS", "HIT"]


def test_a_key_in_the_url_counts(asker: Asker) -> None:
    said = [
        asker.post(f"/v1/chat/completions?key={value}", json=BODY).headers["x-tiercache"] for value in ("a", "b", "a")
    ]
    assert said == ["MISS", "MISS", "HIT"]


def test_whom_a_gateway_says_it_forwards_for_counts(asker: Asker) -> None:
    said = [
        asker.post("/v1/chat/completions", json=BODY, headers={"x-forwarded-user": value}).headers["x-tiercache"]
        for value in ("ann", "bob", "ann")
    ]
    assert said == ["MISS", "MISS", "HIT"]


def test_a_limit_of_tokens_is_no_credential_that_sharing_leaves_out(askers: Askers) -> None:
    asker = askers(scope="shared")
    said = [
        asker.post("/v1/chat/completions", json=BODY, headers={"x-max-tokens": value}).headers["x-tiercache"]
        for value in ("1", "2", "1")
    ]
    assert said == ["MISS", "MISS", "HIT"]


def test_no_credentials_are_a_tenant_of_their_own(asker: Asker) -> None:
    said = [
        asker.post("/v1/chat/completions", json=BODY, headers=headers).headers["x-tiercache"]
        for headers in ({}, {"authorization": "Bearer a"}, {})
    ]
    assert said == ["MISS", "MISS", "HIT"]


def test_cookies_that_a_provider_sets_make_no_tenant(provider: FakeProvider, asker: Asker) -> None:
    asker.ask()
    assert asker.below.cookies, "the fake provider sets one"
    assert asker.ask().headers["x-tiercache"] == "HIT"


def test_without_other_credentials_cookies_tell_who_asks(cache: Cache) -> None:
    chain = cache.chain
    assert scope_of(chain, cookie="session=a") != scope_of(chain, cookie="session=b")
    assert scope_of(chain, cookie="session=a", x_api_key="k") == scope_of(chain, cookie="session=b", x_api_key="k")
    assert scope_of(chain, cookie="CF_Authorization=a") != scope_of(chain, cookie="CF_Authorization=b"), "an identity"
    assert scope_of(chain, cookie="cf_clearance=a") == scope_of(chain, cookie="__cf_bm=b"), "a balancer's"
    one, other = (scope_of(chain, cookie=cookie, openai_project="p") for cookie in ("session=a", "session=b"))
    assert one != other, "those who ask for one project are not one"


def test_parts_cannot_be_shifted_from_one_header_to_another(cache: Cache) -> None:
    chain = cache.chain
    assert scope_of(chain, api_key="ab", authorization="c") != scope_of(chain, api_key="a", authorization="bc")


def test_shared_opts_out(provider: FakeProvider, askers: Askers) -> None:
    for key in ("sk-one", "sk-two"):
        askers(api_key=key, scope="shared").ask()
    assert provider.calls() == 1


def test_a_named_tenant(provider: FakeProvider, askers: Askers) -> None:
    for key, scope in (("sk-one", "team"), ("sk-two", "team"), ("sk-one", "others"), ("sk-one", "auth")):
        askers(api_key=key, scope=scope).ask()
    assert provider.calls() == 3


def test_a_function_names_the_tenant(provider: FakeProvider, askers: Askers) -> None:
    def team(request: Any) -> str:
        return str(request.headers["x-team"])

    asker = askers(scope=team)
    for team_name in ("red", "blue", "red"):
        asker.ask(extra_headers={"x-team": team_name})
    assert provider.calls() == 2


@pytest.mark.parametrize("answer", [ValueError("no"), None, b"bytes", ""])
def test_a_function_that_fails_lets_the_request_pass_by(
    provider: FakeProvider, askers: Askers, cache: Cache, answer: Any
) -> None:
    from tiercache.llm.cache import LLMCache

    def scope(request: Any) -> Any:
        if isinstance(answer, Exception):
            raise answer
        return answer

    llm = LLMCache(cache)
    asker = askers(cache=llm, scope=scope)
    assert [asker.ask().headers["x-tiercache"] for _ in range(2)] == ["BYPASS", "BYPASS"]
    assert llm.stats().chat.bypassed_for == {"no_scope": 2}


@pytest.mark.parametrize("scope", ["", 5, None])
def test_a_scope_that_is_none_is_refused(cache: Cache, scope: Any) -> None:
    with pytest.raises(ConfigurationError, match="scope must be"):
        client(cache, scope=scope)


@pytest.mark.parametrize("slip", ["Auth", "AUTH", " auth", "Shared", "SHARED"])
def test_a_slip_of_the_pen_is_no_tenant_of_everybody(cache: Cache, slip: str) -> None:
    with pytest.raises(ConfigurationError, match=f"write {slip.strip().lower()!r}"):
        client(cache, scope=slip)


def test_an_async_function_is_refused(cache: Cache) -> None:
    async def scope(request: Any) -> str:
        return "a"

    with pytest.raises(ConfigurationError, match="not async"):
        client(cache, scope=scope)  # type: ignore[arg-type]


def test_an_entry_of_another_tenant_is_not_served_whatever_its_key(
    provider: FakeProvider, askers: Askers, cache: Cache
) -> None:
    """As if two tenants had one key: what is read says whose it is."""
    asker = askers()
    asker.ask()
    (key,) = cache.keys()
    entry = cache.lookup(key)
    assert entry.metadata is not None
    cache.set(key, entry.value, attributes={**entry.metadata.attributes, "scope": "somebody-else"})
    assert asker.ask().headers["x-tiercache"] == "MISS"
    assert asker.ask().headers["x-tiercache"] == "HIT", "and it was replaced"
    assert provider.calls() == 2


def test_the_scope_is_the_same_in_every_process(cache: Cache) -> None:
    script = (
        "import httpx2, tiercache\n"
        "from tiercache.integrations.http.scope import Tenants\n"
        "chain = tiercache.TierChain(tiercache.MemoryBackend())\n"
        "print(Tenants(chain, 'auth').of(httpx2.Request('POST', 'http://a/v1', headers={'api-key': 'k'})))\n"
    )
    root = Path(__file__).parents[3]
    env = {**os.environ, "PYTHONPATH": f"{root}{os.pathsep}{root / 'backends'}", "PYTHONHASHSEED": "7"}
    said = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True, check=True)
    assert said.stdout.strip() == scope_of(cache.chain, api_key="k")


def test_the_hash_is_keyed_with_the_secret_of_the_chain(tmp_path: Path) -> None:
    def chain(name: str, secret: bytes | None) -> TierChain:
        keys = None if secret is None else KeyRing({"k": secret}, encrypt=False)
        return TierChain(MemoryBackend(), DiskBackend(tmp_path / name), keys=keys)

    secret, other = bytes(range(32)), bytes(range(100, 132))
    chains = [chain("a", None), chain("b", secret), chain("c", secret), chain("d", other)]
    plain, keyed, again, differently = (scope_of(each, api_key="k") for each in chains)
    assert keyed == again
    assert len({plain, keyed, differently}) == 3
    for each in chains:
        each.close()


def test_nothing_secret_is_stored(provider: FakeProvider, askers: Askers, tmp_path: Path) -> None:
    secret = "sk-very-secret"
    with Cache(DiskBackend(tmp_path / "store")) as cache:
        asker = askers(cache=cache, api_key=secret, default_headers={"x-custom": "custom-secret"})
        asker.ask()
        assert "sk-very" not in repr(asker.below._transport)
        keys = list(cache.keys())
        shown = repr([(key, cache.lookup(key).metadata, cache.get(key)) for key in keys])
    stored = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    for secret_text in (secret, "custom-secret", "__cf_bm", "cookie-1"):
        assert secret_text.encode() not in stored
        assert secret_text not in shown
