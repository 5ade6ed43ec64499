"""Chains from text: URLs, and the backends that installed packages offer."""

from __future__ import annotations

import inspect
import types
from collections.abc import Set
from importlib.metadata import entry_points
from typing import Any, Union, get_args, get_origin, get_type_hints
from urllib.parse import parse_qsl, urlsplit, urlunsplit

import msgspec

from .backend import Backend
from .errors import ConfigurationError, MissingExtra
from .tier import Tier

BUILT_IN = {"memory": "tiercache.memory:MemoryBackend", "disk": "tiercache.disk:DiskBackend"}
EXTRAS = {"redis": "redis", "rediss": "redis", "unix": "redis", "s3": "s3", "gs": "gcs", "az": "azure"}
"""The extra that brings a scheme, for the message when it is not installed."""


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
    raise ConfigurationError(f"no backend for {scheme or 'an empty scheme'}://; known are {known}")


def tier_from_url(url: str) -> Tier:
    """Return the tier that a URL describes. The query holds options of the tier and of the backend's constructor.

    Raises:
        ConfigurationError: an unknown scheme or option, or a value that is none; the message names it.
    """
    parts = urlsplit(url)
    query = parse_qsl(parts.query, keep_blank_values=True)
    options = dict(query)
    if len(options) < len(query):
        raise ConfigurationError(f"an option stands twice in the {parts.scheme}:// URL")
    backend_class = find_backend(parts.scheme)
    tier_options = _converted(Tier, {name: options.pop(name) for name in _TIER_OPTIONS if name in options})
    location = backend_class.url_arguments(urlsplit(urlunsplit(parts._replace(query=""))))
    if "timeout" in tier_options and tier_options["timeout"] == "none":
        tier_options["timeout"] = None
    backend: Any = backend_class
    return Tier(backend(**location, **_converted(backend_class, options, set(location))), **tier_options)


def _parameters(target: type) -> dict[str, inspect.Parameter]:
    return dict(list(inspect.signature(target).parameters.items()))


_TIER_OPTIONS = [name for name in _parameters(Tier) if name != "backend"]


def _converted(target: type, options: dict[str, str], taken: Set[str] = frozenset()) -> dict[str, Any]:
    """Return the options with the types that the constructor's annotations ask for."""
    parameters = _parameters(target)
    hints = get_type_hints(vars(target)["__init__"])
    converted: dict[str, Any] = {}
    for name, text in options.items():
        if name not in parameters or name in taken or not _from_text(hints.get(name)):
            usable = ", ".join(n for n in parameters if _from_text(hints.get(n)) and n not in taken)
            raise ConfigurationError(f"{target.__name__} has no option {name!r}; it takes {usable}")
        try:
            converted[name] = msgspec.convert(text, hints[name], strict=False)
        except msgspec.ValidationError as error:
            raise ConfigurationError(f"{name}={text!r} of {target.__name__}: {error}") from None
    return converted


def _from_text(hint: Any) -> bool:
    """Whether a parameter of this type can be written as text (a clock or a credentials object cannot)."""
    if get_origin(hint) in (Union, types.UnionType):
        return any(_from_text(part) for part in get_args(hint))
    return hint in (str, int, float, bool) or (isinstance(hint, type) and issubclass(hint, str)) or _is_literal(hint)


def _is_literal(hint: Any) -> bool:
    return bool(get_args(hint)) and all(isinstance(part, str) for part in get_args(hint))
