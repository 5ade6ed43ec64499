"""The tenant of a request: a keyed hash of its credentials, so that answers never cross from one to another."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Iterable
from hashlib import blake2b
from typing import Any

from ...chain import TierChain
from ...errors import ConfigurationError
from ...sealing.keyring import KeyRing
from ...sealing.sealed import SealedEnvelope

Scope = str | Callable[[Any], str]

AUTH = "auth"
SHARED = "shared"
_PERSON = b"tiercache-tenant"
_CREDENTIAL = re.compile(
    r"auth|api-?key|subscription-key|token(?!s)|secret|credential|tenant|organi[sz]ation|project|workspace|account",
    re.I,
)
_OF_MANY = re.compile(r"tenant|organi[sz]ation|project|workspace|account", re.I)
"""What many may have in common, who are told apart by something else."""
_OF_A_BALANCER = re.compile(
    r"$|__cf|_cf|cf_(clearance|chl|ob_|use_ob)|AWSALB|AWSELB|ARRAffinity|ApplicationGatewayAffinity|GCLB|incap_ses|visid_incap|nlbi_|BIGip|"
    r"SERVERID|route=",
    re.I,
)
"""Cookies that tell a load balancer where a client was sent, and nothing about who it is."""
_NO_CREDENTIAL = ("anthropic-dangerous-", "x-stainless-")
_IN_THE_QUERY = ("key", "api_key", "api-key", "apikey", "access_token", "token", "sig", "code", "subscription-key")


class NoScope(Exception):
    """The caller's function gave no scope."""


class Tenants:
    """Gives requests their scope.

    Args:
        chain: a secret of its key ring keys the hash, if it has one.
        scope: `"auth"`: the credentials of the request; `"shared"`: all are one tenant; any other text: that tenant;
            a function: what it returns for the request.

    Raises:
        ConfigurationError: the scope is none of these.
    """

    def __init__(self, chain: TierChain, scope: Scope) -> None:
        if not (callable(scope) or (isinstance(scope, str) and scope)) or inspect.iscoroutinefunction(scope):
            raise ConfigurationError(
                "scope must be 'auth', 'shared', the name of a tenant, or a function (not async) of the request that "
                "returns one"
            )
        meant = scope.strip().lower() if isinstance(scope, str) else None
        if meant in (AUTH, SHARED) and scope != meant:  # a slip that would let all callers share
            raise ConfigurationError(f"scope={scope!r} would be one tenant for all callers; write {meant!r}")
        self._scope = scope
        self._ring = _ring_of(chain)

    def of(self, request: Any) -> str | None:
        """Return the scope of a request, which does not tell what it was made of; None: it is shared.

        Raises:
            NoScope: the caller's function raised, or returned something else than a name.
        """
        if self._scope == SHARED:
            return None
        if self._scope == AUTH:
            return self._hash(AUTH, *_credentials(request))
        return self._hash("named", self._named(request))

    def _named(self, request: Any) -> str:
        if isinstance(self._scope, str):
            return self._scope
        try:
            name = self._scope(request)
        except Exception as error:
            raise NoScope from error
        if not isinstance(name, str) or not name:
            raise NoScope
        return name

    def _hash(self, *parts: str) -> str:
        data = b"".join(b"%d:%b" % (len(part), part) for part in map(_encoded, parts))
        if self._ring is not None:
            return self._ring.writing.tenant(data)
        return blake2b(data, digest_size=32, person=_PERSON).hexdigest()


def _ring_of(chain: TierChain) -> KeyRing | None:
    envelopes = (getattr(tier.backend, "envelope", None) for tier in chain.tiers)
    return next((envelope.keys for envelope in envelopes if isinstance(envelope, SealedEnvelope)), None)


@functools.lru_cache(1024)
def is_credential(name: str) -> bool:
    """Whether a header, by its name in lower case, says who asks."""
    return _CREDENTIAL.search(name) is not None and not name.startswith(_NO_CREDENTIAL)


def in_query(name: str) -> bool:
    """Whether a parameter of an URL says who asks."""
    return name.lower() in _IN_THE_QUERY


def _credentials(request: Any) -> Iterable[str]:
    """Return what says who asks, names and values in turn."""
    said = [(name, value) for name, value in request.headers.multi_items() if is_credential(name)]
    known = any(_OF_MANY.search(name) is None for name, _ in said)
    url = request.url
    beside = (
        [("query:" + name, value) for name, value in url.params.multi_items() if in_query(name)] if url.query else []
    )
    if url.userinfo:
        beside.append(("userinfo", url.userinfo.decode()))
    if not known and not beside:  # cookies come and go; only where there is nothing else do they tell who asks
        cookies = (cookie.strip() for cookie in request.headers.get("cookie", "").split(";"))
        beside = [("cookie", cookie) for cookie in cookies if not _OF_A_BALANCER.match(cookie)]
    said += beside
    return [text for pair in sorted(said) for text in pair]


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
