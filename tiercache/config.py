"""Chains from text: URLs, and the backends that installed packages offer."""

from __future__ import annotations

import inspect
import types
from collections.abc import Mapping, Set
from importlib.metadata import entry_points
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints
from urllib.parse import SplitResult, parse_qsl, urlencode, urlsplit

import msgspec

from .backend import Backend
from .errors import ConfigurationError, MissingExtra
from .objectstore import ObjectStoreBackend
from .tier import Tier

BUILT_IN = {"memory": "tiercache.memory:MemoryBackend", "disk": "tiercache.disk:DiskBackend"}
EXTRAS = {
    "redis": "redis",
    "rediss": "redis",
    "unix": "redis",
    "redis+cluster": "redis",
    "rediss+cluster": "redis",
    "redis+sentinel": "redis",
    "rediss+sentinel": "redis",
    "s3": "s3",
    "gs": "gcs",
    "az": "azure",
}
"""The extra that brings a scheme, for the message when it is not installed."""
PACKED = "+packed"
"""Behind the scheme of an object store: its entries are packed into segments (`tiercache.packed`)."""


def find_backend(scheme: str) -> type[Backend]:
    """Return the backend class of a URL scheme, from the entry-point group `tiercache.backends`.

    Raises:
        MissingExtra: the package that brings it is not installed.
        ConfigurationError: nothing brings this scheme.
    """
    offered = {point.name: point for point in entry_points(group="tiercache.backends")}
    point = offered.get(scheme)
    try:
        if point is not None:
            return point.load()  # type: ignore[no-any-return]
        if scheme in BUILT_IN:  # not installed, run from a checkout
            module, name = BUILT_IN[scheme].split(":")
            return getattr(__import__(module, fromlist=[name]), name)  # type: ignore[no-any-return]
    except ImportError as error:
        if scheme in EXTRAS:
            raise MissingExtra(f"{scheme}://", EXTRAS[scheme]) from error
        raise ConfigurationError(f"the backend of {scheme}:// cannot be imported: {error}") from error
    if scheme in EXTRAS:
        raise MissingExtra(f"{scheme}://", EXTRAS[scheme])
    known = ", ".join(sorted({*offered, *BUILT_IN, *EXTRAS}))
    raise ConfigurationError(
        f"no backend for {scheme or 'an empty scheme'}://; known are {known}, and object stores with {PACKED} behind "
        f"them, as in s3{PACKED}://"
    )


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
    parts, query = _split(url)
    scheme = parts.scheme.removesuffix(PACKED)
    make = _backend if scheme == parts.scheme else _packed
    backend = make(find_backend(scheme), parts._replace(scheme=scheme), query)
    return Tier(backend, **_converted(Tier, {name: query[name] for name in _TIER_OPTIONS if name in query}))


def _backend(backend_class: Any, parts: SplitResult, query: Mapping[str, str]) -> Backend:
    """Return the backend of a URL; options that are the tier's alone are left out."""
    parameters = _parameters(backend_class)
    own = {name: text for name, text in query.items() if name in parameters}
    rest = {name: text for name, text in query.items() if name not in parameters and name not in _TIER_OPTIONS}
    shown = rest if "url" in parameters else query
    location = backend_class.url_arguments(parts._replace(query=urlencode(shown)))
    if not location and (parts.netloc or parts.path.strip("/")):
        raise ConfigurationError(f"{parts.scheme}:// names no place; its options go behind {parts.scheme}://?")
    if "url" not in location:
        own |= rest  # refused by name below
    backend: Backend = backend_class(**location, **_converted(backend_class, own, set(location)))
    return backend


def _packed(inner_class: Any, parts: SplitResult, query: Mapping[str, str]) -> Backend:
    """Return a `PackedBackend` over the backend of a URL, each with its options."""
    from .packed import PackedBackend

    if not (isinstance(inner_class, type) and issubclass(inner_class, ObjectStoreBackend)):
        raise ConfigurationError(
            f"{parts.scheme}{PACKED}:// is no backend: only object stores are packed, as in "
            f"s3{PACKED}://bucket/prefix/; write {parts.scheme}://"
        )
    wrapping, inside = _parameters(PackedBackend), _parameters(inner_class)
    own = _converted(PackedBackend, {name: text for name, text in query.items() if name in wrapping}, {"inner"})
    left = {name: text for name, text in query.items() if name in inside or name not in wrapping}
    for name in left.keys() - inside.keys() - set(_TIER_OPTIONS):
        if "url" not in inside:
            known = [*_usable(PackedBackend, {"inner"}), *_usable(inner_class)]
            raise ConfigurationError(
                f"neither {PackedBackend.__name__} nor {inner_class.__name__} has an option {name!r}; they take "
                f"{', '.join(dict.fromkeys(known))}"
            )
    inner: Any = _backend(inner_class, parts, left)
    return PackedBackend(inner, **own)


def _split(url: str) -> tuple[SplitResult, dict[str, str]]:
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
    return parts, options


def _parameters(target: type) -> Mapping[str, inspect.Parameter]:
    return inspect.signature(target).parameters


_TIER_OPTIONS = [name for name in _parameters(Tier) if name != "backend"]


def _converted(target: type, options: Mapping[str, str], taken: Set[str] = frozenset()) -> dict[str, Any]:
    """Return the options with the types that the constructor's annotations ask for."""
    usable = _usable(target, taken)
    converted: dict[str, Any] = {}
    for name, text in options.items():
        if name not in usable:
            raise ConfigurationError(f"{target.__name__} has no option {name!r}; it takes {', '.join(usable)}")
        try:
            converted[name] = _value(text, usable[name])
        except msgspec.ValidationError as error:
            choices = [part for hint in usable[name] if _is_literal(hint) for part in get_args(hint)]
            if bool in usable[name] and not choices:
                choices = ["true", "false"]
            if choices:
                raise ConfigurationError(f"{name}={text!r} must be one of {', '.join(choices)}") from None
            if int in usable[name] and float not in usable[name]:
                raise ConfigurationError(f"{name}={text!r} of {target.__name__} must be a whole number") from None
            raise ConfigurationError(f"{name}={text!r} of {target.__name__}: {error}") from None
    return converted


def _usable(target: type, taken: Set[str] = frozenset()) -> dict[str, list[Any]]:
    """Return the parameters that text can be turned into, and the types that they take."""
    hints = get_type_hints(target.__init__)  # type: ignore[misc]
    found = {name: _types(hints.get(name)) for name in _parameters(target) if name not in taken}
    return {name: kinds for name, kinds in found.items() if kinds}


def _types(hint: Any) -> list[Any]:
    """Return the types of a parameter that text can be turned into (a clock or a credentials object is none)."""
    if get_origin(hint) in (Union, types.UnionType):
        found = [part for option in get_args(hint) for part in _types(option)]
        return [*found, None] if found and type(None) in get_args(hint) else found
    is_text = isinstance(hint, type) and issubclass(hint, (str, int, float))  # an int or a bool, an enum of str
    return [hint] if is_text or _is_literal(hint) else []


def _value(text: str, accepted: list[Any]) -> Any:
    """Return what the text stands for. Sizes and durations stay text, which the constructor reads."""
    if text == "none" and None in accepted and accepted != [str, None]:
        return None
    if str in accepted:
        return text
    return msgspec.convert(text, Union[tuple(accepted)], strict=False)  # noqa: UP007 - known only when it runs


def _is_literal(hint: Any) -> bool:
    return get_origin(hint) is Literal and all(isinstance(part, str) for part in get_args(hint))
