"""Tiers from URLs, and from the parts of one: a scheme, a place and options."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import SplitResult, parse_qsl, urlencode, urlsplit

from ..backend import Backend
from ..errors import ConfigurationError
from ..objectstore import ObjectStoreBackend
from ..spelling import did_you_mean, nearly
from ..tier import Tier
from .accepted import converted, kind, parameters, usable
from .complaints import SECRET_OPTIONS, Said, blaming
from .discovery import PACKED, find_backend
from .references import resolved

TIER_OPTIONS = [name for name in parameters(Tier) if name != "backend"]
_MISSPELT = 0.8
"""How like a known name an option is that is taken for a misspelt one, although a driver could know it."""


def tier_from_url(url: str) -> Tier:
    """Return the tier that a URL describes. The query holds options of the tier and of the backend's constructor.

    An option that both have, such as `timeout` or `max_entry_bytes`, is given to both; `none` lifts a bound. A
    backend that takes its whole URL (Redis) is left the options that its constructor does not name; others see all.

    `s3+packed://bucket/prefix/?segment_bytes=8MiB`, and likewise with the scheme of any other object store, is a
    `PackedBackend` over the backend of the URL without `+packed`. Its options stand in the same query. One that
    several of the three have is given to each of them.

    Raises:
        ConfigurationError: an unknown scheme or option, or a value that is none; the message names it, and quotes
            nothing of a URL that may hold a password there.
    """
    said = resolved(Said(url, lenient=True)) if isinstance(url, str) else Said(url)
    with blaming({"url": said} if said.reference else {}, said.reference or ""):
        parts, options = split(said.value)
        return tier_of(parts, options)


def tier_of(parts: SplitResult, options: Mapping[str, Said], *, located: bool = True, **others: Any) -> Tier:
    """Return the tier of a URL's parts and of options, those of its query included.

    Args:
        parts: the URL's.
        options: of the tier and the backend, by their names.
        located: whether host and path say where the store is; False: the options say it, and the URL is a scheme.
        others: arguments of the tier that are made already, such as `storage_classes`.

    Raises:
        ConfigurationError: as for `tier_from_url`.
    """
    scheme = parts.scheme.removesuffix(PACKED)
    make = _backend if scheme == parts.scheme else _packed
    backend = make(find_backend(scheme), parts._replace(scheme=scheme), options, located)
    own = {name: options[name] for name in TIER_OPTIONS if name in options}
    return Tier(backend, **converted(Tier, own), **others)


def _backend(backend_class: Any, parts: SplitResult, options: Mapping[str, Said], located: bool) -> Backend:
    """Return the backend of a URL; options that are the tier's alone are left out."""
    names = parameters(backend_class)
    own = {name: said for name, said in options.items() if name in names}
    rest = {name: said for name, said in options.items() if name not in names and name not in TIER_OPTIONS}
    location: dict[str, str] = {}
    if located:
        _check_near_misses(backend_class, rest if "url" in names else {})
        shown = rest if "url" in names else options
        query = urlencode({name: _text(name, said) for name, said in shown.items()})
        location = backend_class.url_arguments(parts._replace(query=query))
        if not location and (parts.netloc or parts.path.strip("/")):
            raise ConfigurationError(f"{parts.scheme}:// names no place; its options go behind {parts.scheme}://?")
    if "url" not in location:
        own |= rest  # refused by name below
    given = converted(backend_class, own, set(location), TIER_OPTIONS)
    lacking = [name for name, one in names.items() if one.default is one.empty and name not in {*location, *given}]
    if lacking:
        raise ConfigurationError(f"{backend_class.__name__} needs {' and '.join(lacking)}")
    backend: Backend = backend_class(**location, **given)
    return backend


def _check_near_misses(backend_class: type, options: Mapping[str, Said]) -> None:
    """Refuse a misspelt option here: in a URL its backend could only say that one of its options is wrong."""
    for name in options:
        near = nearly(name, [*usable(backend_class, {"url"}), *TIER_OPTIONS], _MISSPELT)
        if near is not None:
            raise ConfigurationError(f"{backend_class.__name__} has no option {name!r} (did you mean {near!r}?)")


def check_beside(parts: SplitResult, options: Iterable[str]) -> None:
    """Refuse options that cannot stand beside a URL; unlike those in a URL's query their names are no secrets.

    Args:
        parts: the URL's.
        options: names.

    Raises:
        ConfigurationError: credentials of an object store, which its URLs do not take, or an option that the backend
            of the URL does not know.
    """
    backend_class: Any = find_backend(parts.scheme.removesuffix(PACKED))
    own = [*usable(backend_class, {"url"}), *TIER_OPTIONS]
    theirs = backend_class.query_options(parts.scheme) if "url" in parameters(backend_class) else None
    for name in options:
        if name in SECRET_OPTIONS and name in own:
            place = ", ".join(backend_class.url_arguments(SplitResult(parts.scheme, "place", "/", "", "")))
            raise ConfigurationError(
                f"{name} does not go with a url: write backend = '{parts.scheme}' in its place, with {place} "
                f"and {name} as options beside it"
            )
        if theirs is not None and name not in own and not any(fnmatchcase(name, one) for one in theirs):
            known = [*usable(backend_class, {"url"}), *theirs]
            hint = did_you_mean(name, [*known, *TIER_OPTIONS])
            raise ConfigurationError(
                f"{backend_class.__name__} has no option {name!r}{hint}; it takes {', '.join(known)}"
            )


def _text(name: str, said: Said) -> str:
    if isinstance(said.value, bool):
        return str(said.value).lower()
    if isinstance(said.value, (str, int, float)):
        return str(said.value)
    raise ConfigurationError(f"{name} must be text, a number or a boolean, not {kind(said.value)}")


def _packed(inner_class: Any, parts: SplitResult, options: Mapping[str, Said], located: bool) -> Backend:
    """Return a `PackedBackend` over the backend of a URL, each with its options."""
    from ..packed import PackedBackend

    if not (isinstance(inner_class, type) and issubclass(inner_class, ObjectStoreBackend)):
        raise ConfigurationError(
            f"{parts.scheme}{PACKED}:// is no backend: only object stores are packed, as in "
            f"s3{PACKED}://bucket/prefix/; write {parts.scheme}://"
        )
    wrapping, inside = parameters(PackedBackend), parameters(inner_class)
    own = converted(PackedBackend, {name: said for name, said in options.items() if name in wrapping}, {"inner"})
    left = {name: said for name, said in options.items() if name in inside or name not in wrapping}
    for name in left.keys() - inside.keys() - set(TIER_OPTIONS):
        if "url" not in inside:
            known = dict.fromkeys([*usable(PackedBackend, {"inner"}), *usable(inner_class)])
            raise ConfigurationError(
                f"neither {PackedBackend.__name__} nor {inner_class.__name__} has an option {name!r}"
                f"{did_you_mean(name, [*known, *TIER_OPTIONS])}; they take {', '.join(known)}"
            )
    inner: Any = _backend(inner_class, parts, left, located)
    return PackedBackend(inner, **own)


def split(url: str) -> tuple[SplitResult, dict[str, Said]]:
    """Return the parts of a URL and the options in its query; what is wrong is said without quoting the URL."""
    if not isinstance(url, str):
        raise ConfigurationError(f"a tier's URL must be a str, not {type(url).__name__}; pass backends to TierChain()")
    try:
        parts = urlsplit(url)
    except ValueError:
        parts = urlsplit("")
    if not parts.scheme or "://" not in url:
        raise ConfigurationError(
            "this is no URL of a tier; write memory://, disk:///path, redis://host:6379/0 or s3://bucket/prefix/"
        )
    if parts.fragment or "@" in parts.query:  # the rest of a password, perhaps: name nothing of it
        raise ConfigurationError(
            f"the {parts.scheme}:// URL holds a '#', or an '@' after its '?'; percent-encode '#', '?', '@' and '/' in "
            "user, password and options"
        )
    query = parse_qsl(parts.query, keep_blank_values=True)
    options = dict(query)
    twice = [name for name in options if [other for other, _ in query].count(name) > 1]
    if twice:
        raise ConfigurationError(f"{', '.join(twice)} stands twice in the {parts.scheme}:// URL; keep one")
    return parts, {name: Said(text, lenient=True) for name, text in options.items()}
