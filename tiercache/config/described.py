"""Every option of caches, chains, tiers and backends, as data: from the docstrings and signatures of what takes them.

`docs/configuration.md` and the help of the command line are made of this.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Set
from typing import Any, get_args, get_type_hints

import msgspec

from ..cache import Cache
from ..chain import TierChain
from ..errors import MissingExtra
from ..health.breaker import BreakerPolicy
from ..packed import PackedBackend
from ..sealing.keyring import KeyRing
from ..storage_class import StorageClassRule
from ..switches import Setting
from ..tier import Tier
from ..units import Duration, Size
from .accepted import is_literal, parameters, text_types
from .discovery import find_backend
from .environment import KEYS, variable

_ENTRY = re.compile(r"(\*{0,2}\w+(?:, \*{0,2}\w+)*): (.*)")
_SECTIONS = ("Args:", "Attributes:")
_HERE = "given by the URL's place"
_BY_TABLE = {
    "storage_classes": "a list of tables",
    "keys": "a reference, or a table",
    "breaker": "`true` or `false`, or a table",
}
BACKENDS = ("memory", "disk", "redis", "s3", "gs", "az")


class Option(msgspec.Struct, frozen=True):
    """One option.

    Attributes:
        name: of the parameter in code.
        type: what it takes, in words.
        default: in words; empty: it has to be given.
        meaning: one sentence or some, from the docstring.
        toml: where it stands in a TOML file.
        url: how it stands in a URL; empty: it does not.
        variable: the environment variable; empty: there is none.
    """

    name: str
    type: str
    default: str
    meaning: str
    toml: str
    url: str = ""
    variable: str = ""


class Section(msgspec.Struct, frozen=True):
    """The options of one class: `cache`, `chain`, `tier`, a scheme, and what stands in tables of their own."""

    name: str
    title: str
    options: tuple[Option, ...]


_SOURCE = Option(
    name="source",
    type="a reference",
    default="",
    meaning="where the secrets are, `env:NAME` or `file:/path`, in the form that `KeyRing.from_env` reads.",
    toml="[chain.keys] source",
    variable=KEYS,
)


def sections() -> list[Section]:
    """Return all sections; those of backends whose extras are not installed are left out."""
    found = [
        Section("cache", "Cache", _options(Cache, "[cache]", variables=True)),
        Section("chain", "TierChain", _options(TierChain, "[chain]", variables=True)),
        Section("keys", "KeyRing", (_SOURCE, *_options(KeyRing, "[chain.keys]", skipped={"keys"}))),
        Section("tier", "Tier", _options(Tier, "[[tiers]]", in_urls=True)),
    ]
    for scheme in BACKENDS:
        try:
            backend = find_backend(scheme)
        except MissingExtra:
            continue
        found.append(Section(scheme, backend.__name__, _options(backend, "[[tiers]]", in_urls=True)))
    return [
        *found,
        Section("packed", "PackedBackend", _options(PackedBackend, "[[tiers]]", in_urls=True, skipped={"inner"})),
        Section("storage_classes", "StorageClassRule", _options(StorageClassRule, "[[tiers.storage_classes]]")),
        Section("breaker", "BreakerPolicy", _options(BreakerPolicy, "[tiers.breaker]")),
        Section("switches", "Setting", _options(Setting, "[switches.TIER]")),
    ]


def section(name: str) -> Section:
    """Return one section.

    Raises:
        KeyError: there is none of this name, or its extra is not installed.
    """
    return {each.name: each for each in sections()}[name]


def _options(
    target: Any,
    table: str,
    *,
    in_urls: bool = False,
    variables: bool = False,
    skipped: Set[str] = frozenset(),
) -> tuple[Option, ...]:
    hints, meanings = get_type_hints(target.__init__), described(target)
    found: list[Option] = []
    for name, parameter in parameters(target).items():
        if name in skipped or not (text_types(hints.get(name)) or name in _BY_TABLE or name == "attributes"):
            continue
        plain = bool(text_types(hints.get(name)))
        found.append(
            Option(
                name=name,
                type=_BY_TABLE.get(name) or (in_words(hints[name]) if plain else "a table"),
                default=_default(name, parameter),
                meaning=meanings.get(name, ""),
                toml=f"{table} {name}",
                url=_url(target, name, parameter, in_urls and plain),
                variable=variable(name) if variables else "",
            )
        )
    return tuple(found)


def _url(target: Any, name: str, parameter: inspect.Parameter, in_urls: bool) -> str:
    if not in_urls:
        return ""
    if name in ("bucket", "container", "path", "url") or (name == "prefix" and "url" not in parameters(target)):
        return _HERE
    if name in ("access_key_id", "secret_access_key", "session_token", "connection_string", "credentials_json"):
        return ""
    return f"?{name}="


def _default(name: str, parameter: inspect.Parameter) -> str:
    value = parameter.default
    if value is parameter.empty:
        return ""
    if type(value) is object:
        return "the backend's"
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (str, int, float)):
        return str(value) or "empty"
    return "none" if name in _BY_TABLE else str(value)


def in_words(hint: Any) -> str:
    """Return what an annotation accepts, in words: a duration, a size, one of some texts."""
    parts = set(get_args(hint)) or {hint}
    literals = [text for part in (get_args(hint) or (hint,)) if is_literal(part) for text in get_args(part)]
    literals += list(get_args(hint)) if is_literal(hint) else []
    words = [f"`{text}`" for text in dict.fromkeys(literals)]
    if parts >= set(get_args(Duration)):
        words += ["`true`", "`false`"] if bool in parts else []
        words.append("a duration")
    elif parts >= set(get_args(Size)) and float not in parts:
        words.append("a size")
    else:
        words += ["`true` or `false`"] if bool in parts else []
        words += ["a number"] if float in parts else ["a whole number"] if int in parts else []
        words += ["text"] if any(isinstance(part, type) and issubclass(part, str) for part in parts) else []
    return " or ".join(words)


def described(target: type) -> dict[str, str]:
    """Return what the docstring of a class says of its parameters (or attributes): each in one line."""
    found: dict[str, str] = {}
    names: list[str] = []
    for indent, line in _entries(inspect.getdoc(target) or ""):
        match = _ENTRY.fullmatch(line) if indent == 4 else None
        if match is not None:
            names = [name.lstrip("*") for name in match[1].split(", ")]
        for name in names:
            found[name] = match[2] if match is not None else f"{found[name]} {line}"
    return found


def _entries(text: str) -> Iterator[tuple[int, str]]:
    inside = False
    for line in text.splitlines():
        indent = len(line) - len(line.lstrip())
        if line and not indent:
            inside = line in _SECTIONS
        elif inside and line.strip():
            yield indent, line.strip()
