"""What a file or the environment says of a cache, before anything is made of it."""

from __future__ import annotations

from typing import Any

import msgspec

from .complaints import Said

Options = dict[str, Said]


class TierSaid(msgspec.Struct, kw_only=True):
    """One tier.

    Attributes:
        place: where it stands.
        backend: the scheme of its backend, if that is said; otherwise `url` says it.
        url: its URL, if it has one.
        options: of the tier and its backend, by their names.
        rules: the options of its storage class rules, and where each rule stands.
        breaker: the figures of its breaker, if there are some.
    """

    place: str
    backend: Said | None = None
    url: Said | None = None
    options: Options = msgspec.field(default_factory=dict)
    rules: list[tuple[str, Options, dict[str, Any]]] = msgspec.field(default_factory=list)
    breaker: tuple[str, Options] | None = None


class SwitchSaid(msgspec.Struct, kw_only=True):
    """One switch: `mode` and `ramp` are None where they are not said; `namespace` None: for all others."""

    place: str
    tier: str
    namespace: str | None = None
    mode: Said | None = None
    ramp: Said | None = None


class Settings(msgspec.Struct, kw_only=True):
    """All of it.

    Attributes:
        place: the file, or the environment.
        directory: where relative `file:` references begin.
        tiers: from fast to slow; None: nothing is said of them.
        chain, cache: options, by their names.
        keys: the options of a `KeyRing`; `source` is the reference to its secrets.
        switches: in their order.
        chain_place, cache_place, keys_place: where those stand.
    """

    place: str
    directory: str = "."
    tiers: list[TierSaid] | None = None
    chain: Options = msgspec.field(default_factory=dict)
    cache: Options = msgspec.field(default_factory=dict)
    keys: Options = msgspec.field(default_factory=dict)
    switches: list[SwitchSaid] = msgspec.field(default_factory=list)
    chain_place: str = ""
    cache_place: str = ""
    keys_place: str = ""
