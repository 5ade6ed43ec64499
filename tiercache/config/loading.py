"""Chains and caches from what a file or the environment says."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, TypeVar
from urllib.parse import SplitResult

from ..cache import DEFAULT_MEMORY, Cache
from ..chain import TierChain
from ..disk import DiskBackend
from ..errors import ConfigurationError
from ..health.breaker import BreakerPolicy
from ..keys import check_namespace
from ..memory import MemoryBackend
from ..sealing.keyring import KeyRing
from ..storage_class import StorageClassRule
from ..switches import Setting, Switches
from ..tier import Tier
from . import environment, toml
from .accepted import converted, usable
from .complaints import Said, blaming
from .discovery import PACKED, find_backend
from .references import is_reference, resolved
from .settings import Options, Settings, TierSaid
from .urls import check_beside, split, tier_of

C = TypeVar("C", bound=Cache)
T = TypeVar("T", bound=TierChain)


def chain_options() -> list[str]:
    """Return the options of `TierChain` that files and variables may hold, but for `keys`."""
    return list(usable(TierChain))


def cache_options() -> list[str]:
    """Return the options of `Cache` that files and variables may hold."""
    return list(usable(Cache))


def chain_from_toml(path: str | os.PathLike[str], make: type[T]) -> T:
    """Return the chain that a file describes (`TierChain.from_toml`)."""
    settings = toml.read(path)
    _cache_arguments(settings, Cache)  # what is wrong there is wrong
    return _chain(settings, make, None)


def cache_from_toml(path: str | os.PathLike[str], make: type[C]) -> C:
    """Return the cache that a file describes (`Cache.from_toml`)."""
    return _cache(toml.read(path), make, None)


def chain_from_env(environ: Mapping[str, str] | None, make: type[T]) -> T:
    """Return the chain that variables describe (`TierChain.from_env`)."""
    settings = _from_environment(environ)
    if settings.tiers is None and not _found(environ, environment.CONFIG):
        raise ConfigurationError(
            f"neither {environment.URLS} nor {environment.CONFIG} is set; set one, as in "
            f"{environment.URLS}='memory://?max_bytes=256MiB redis://localhost:6379/0'"
        )
    _cache_arguments(settings, Cache)
    return _chain(settings, make, environ)


def cache_from_env(environ: Mapping[str, str] | None, make: type[C]) -> C:
    """Return the cache that variables describe (`Cache.from_env`)."""
    return _cache(_from_environment(environ), make, environ)


def _from_environment(environ: Mapping[str, str] | None) -> Settings:
    variables = os.environ if environ is None else environ
    return environment.read(variables, chain=chain_options(), cache=cache_options())


def _found(environ: Mapping[str, str] | None, name: str) -> str:
    return (os.environ if environ is None else environ).get(name, "")


def _cache(settings: Settings, make: type[C], environ: Mapping[str, str] | None) -> C:
    arguments = _cache_arguments(settings, make)
    disabled = _found(environ, "TIERCACHE_DISABLED") not in ("", "0")
    chain = TierChain() if disabled else _chain(settings, TierChain, environ)
    try:
        with blaming(settings.cache, settings.cache_place):
            return make(chain, **arguments)
    except ConfigurationError:
        chain.close()
        raise


def _cache_arguments(settings: Settings, make: type[Cache]) -> dict[str, Any]:
    with blaming(settings.cache, settings.cache_place):
        return converted(make, settings.cache, {"chain"})


def _chain(settings: Settings, make: type[T], environ: Mapping[str, str] | None) -> T:
    with blaming(settings.chain, settings.chain_place):
        options = converted(make, settings.chain)
    keys = _key_ring(settings, environ)
    tiers = _usual_tiers(environ) if settings.tiers is None else [_tier(said) for said in settings.tiers]
    with blaming(settings.chain, settings.chain_place or settings.place):
        chain = make(*tiers, keys=keys, **options)
    try:
        chain.switches.replace(_switches(settings, chain.switches))
    except ConfigurationError:
        chain.close()
        raise
    return chain


def switches_in(path: str | os.PathLike[str], switches: Switches) -> dict[tuple[str, str | None], Setting]:
    """Return the switches in a file, for the tiers of these (`Switches.reload`)."""
    return _switches(toml.read(path), switches)


def _switches(settings: Settings, switches: Switches) -> dict[tuple[str, str | None], Setting]:
    found: dict[tuple[str, str | None], Setting] = {}
    for one in settings.switches:  # those of the environment come last, and count
        said = {name: value for name, value in (("mode", one.mode), ("ramp", one.ramp)) if value is not None}
        with blaming(said, one.place):
            switches.check(one.tier)
            if one.namespace is not None:
                check_namespace(one.namespace)
            found[one.tier, one.namespace] = Setting(**converted(Setting, said))
    return found


def _usual_tiers(environ: Mapping[str, str] | None) -> list[Tier]:
    """Return what a cache has of which nobody said anything: memory and disk."""
    return [Tier(MemoryBackend(DEFAULT_MEMORY)), Tier(DiskBackend.from_env(environ))]


def _tier(said: TierSaid) -> Tier:
    others = _made_already(said)
    parts, query = _place(said)
    known = query | said.options
    if said.rules:
        known["storage_classes"] = Said(None, said.rules[0][0])
        for number, (_, options, _) in enumerate(said.rules):  # their values, too, are taken out of messages
            known |= {f"storage_classes[{number}].{name}": one for name, one in options.items()}
    with blaming(known, said.place):
        twice = sorted(query.keys() & said.options.keys())
        if twice:
            raise ConfigurationError(f"{twice[0]} stands in the url, too; keep one")
        if said.url is not None:
            check_beside(parts, said.options)
        return tier_of(parts, query | said.options, located=said.url is not None, **others)


def _place(said: TierSaid) -> tuple[SplitResult, Options]:
    """Return the parts of a tier's URL, and the options in its query; without one, the scheme of its backend alone."""
    if said.url is not None:
        known = {"url": said.url} | ({} if said.backend is None else {"backend": said.backend})
        with blaming(known, said.url.place):
            parts, query = split(str(said.url.value))
            find_backend(parts.scheme.removesuffix(PACKED))
            if said.backend is not None and str(said.backend.value).lower() != parts.scheme:
                raise ConfigurationError(f"backend and url differ: the url is of {parts.scheme}://; leave backend out")
        place, reference = said.url.place, said.url.reference
        return parts, {name: Said(one.value, place, True, reference) for name, one in query.items()}
    backend = said.backend or Said("")
    with blaming({"backend": backend}, backend.place):
        scheme = str(backend.value)
        if "://" in scheme:  # with a password in it, perhaps
            raise ConfigurationError("backend is a scheme, such as 's3'; write a URL as url")
        find_backend(scheme.removesuffix(PACKED))
    return SplitResult(scheme, "", "", "", ""), {}


def _made_already(said: TierSaid) -> dict[str, Any]:
    """Return the arguments of a tier that are more than text: its rules, and the policy of its breaker."""
    others: dict[str, Any] = {}
    if said.rules:
        others["storage_classes"] = [_rule(place, options, attributes) for place, options, attributes in said.rules]
    if said.breaker is not None:
        place, figures = said.breaker
        with blaming(figures, place):
            others["breaker"] = BreakerPolicy(**converted(BreakerPolicy, figures))
    return others


def _rule(place: str, options: Options, attributes: Mapping[str, Any]) -> StorageClassRule:
    with blaming(options, place):
        given = converted(StorageClassRule, options)
        if "storage_class" not in given:
            raise ConfigurationError("a rule needs storage_class, the class that entries go to")
        return StorageClassRule(**given, attributes=attributes or None)


def _key_ring(settings: Settings, environ: Mapping[str, str] | None) -> KeyRing | None:
    if not settings.keys:
        return None
    options = dict(settings.keys)
    source = options.pop("source")
    with blaming(settings.keys, settings.keys_place):
        given = converted(KeyRing, options, {"keys"})
        return _ring(source, settings, environ, given)


def _ring(source: Said, settings: Settings, environ: Mapping[str, str] | None, options: dict[str, Any]) -> KeyRing:
    text = str(source.value)
    if not is_reference(text):  # a variable that holds the keys itself
        return KeyRing.from_env(source.place, env=environ, **options)
    scheme, _, where = text.partition(":")
    directory = "." if source.place == environment.KEYS else settings.directory
    resolved(Said(text), environ, directory)  # its message names the reference
    if scheme == "env":
        return KeyRing.from_env(where, env=environ, **options)
    return KeyRing.from_file(os.path.join(directory, where), **options)
