"""What a TOML file says of a cache.

```toml
[cache]                          # options of `Cache`
namespace = "search"
ttl = "30d"

[chain]                          # options of `TierChain`
keys = "env:TIERCACHE_KEYS"      # or a table: source, active, encrypt, …

[[tiers]]                        # from fast to slow
url = "memory://?max_bytes=256MiB"

[[tiers]]
url = "redis://app@localhost:6379/0"
password = "file:/run/secrets/redis"

[[tiers]]
backend = "s3"
bucket = "my-bucket"
write = "behind"

[[tiers.storage_classes]]
storage_class = "GLACIER_IR"
min_ttl = "90d"

[switches]                       # see `tiercache.switches`
s3 = "read-only"
```
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from ..errors import ConfigurationError
from ..spelling import did_you_mean
from .accepted import kind
from .complaints import Said
from .positions import Path as KeyPath
from .positions import line_of, lines_of
from .references import is_reference, resolved
from .settings import Options, Settings, SwitchSaid, TierSaid

K = TypeVar("K")
SECTIONS = ("cache", "chain", "tiers", "switches")
_LINE = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)$")


def read(
    path: str | os.PathLike[str], environ: Mapping[str, str] | None = None, *, called: str | None = None
) -> Settings:
    """Return what a TOML file says, with its references resolved.

    Args:
        path: the file.
        environ: where `env:` references look; None: in the environment of this process.
        called: what it is called in messages: the reference that its path was fetched through; None: by its path.

    Raises:
        ConfigurationError: the file cannot be read, is no TOML, or says something that means nothing here.
    """
    return _Document(path, environ, called).settings()


class _Document:
    """A file: its data, the line of each, and what they are called in messages."""

    def __init__(self, path: str | os.PathLike[str], environ: Mapping[str, str] | None, called: str | None) -> None:
        if not isinstance(path, (str, os.PathLike)):
            raise ConfigurationError(f"the path of a configuration is a str or a Path, not {type(path).__name__}")
        self.name = called or str(os.fspath(path))
        self.directory = str(Path(path).parent)
        self._environ = environ
        text = _text(os.fspath(path), self.name)
        self.data = _parsed(text, self.name)
        self._lines = lines_of(text)

    def place(self, path: KeyPath = ()) -> str:
        return f"{self.name}, line {line_of(self._lines, path)}"

    def settings(self) -> Settings:
        self._check_names(self.data, SECTIONS, (), "a configuration has no section")
        cache, chain = self._table("cache"), self._table("chain")
        keys = chain.pop("keys", None)
        return Settings(
            place=self.name,
            directory=self.directory,
            tiers=self._tiers(),
            chain=self._options(chain, ("chain",)),
            cache=self._options(cache, ("cache",)),
            keys={} if keys is None else self._keys(keys),
            switches=self._switches(),
            chain_place=self.place(("chain",)),
            cache_place=self.place(("cache",)),
            keys_place=self.place(("chain", "keys")),
        )

    def _table(self, name: str) -> dict[str, Any]:
        return self._checked(self.data.get(name, {}), dict, (name,), f"write [{name}] and its options below")

    def _checked(self, value: Any, wanted: type[K], path: KeyPath, instead: str) -> K:
        if isinstance(value, wanted):
            return wanted(value)  # type: ignore[call-arg]  # a copy
        shown = ".".join(part for part in path if isinstance(part, str))
        raise ConfigurationError(f"{self.place(path)}: {shown} is {kind(value)}; {instead}")

    def _check_names(self, given: Iterable[str], known: Iterable[str], path: KeyPath, what: str) -> None:
        for name in given:
            if name not in known:
                raise ConfigurationError(
                    f"{self.place((*path, name))}: {what} {name!r}{did_you_mean(name, known)}; there are "
                    f"{', '.join(known)}"
                )

    def _options(self, table: Mapping[str, Any], path: KeyPath) -> Options:
        return {name: self._said(value, (*path, name)) for name, value in table.items()}

    def _said(self, value: Any, path: KeyPath) -> Said:
        return resolved(Said(value, self.place(path)), self._environ, self.directory)

    def _keys(self, keys: Any) -> Options:
        path: KeyPath = ("chain", "keys")
        table = {"source": keys} if isinstance(keys, str) else keys
        advice = "write keys = 'env:NAME' or 'file:/path', or a table with source and options of a KeyRing"
        table = self._checked(table, dict, path, advice)
        source = table.pop("source", None)
        at = self.place((*path, "source"))
        if not isinstance(source, str) or not is_reference(source):
            raise ConfigurationError(
                f"{at}: keys must name where the secrets are, env:NAME or file:/path; they do not belong into this file"
            )
        return {"source": Said(source, at), **self._options(table, path)}

    def _tiers(self) -> list[TierSaid] | None:
        if "tiers" not in self.data:
            return None
        tiers = self._checked(
            self.data["tiers"], list, ("tiers",), "write [[tiers]] before each tier, from fast to slow"
        )
        return [self._tier(table, ("tiers", number)) for number, table in enumerate(tiers)]

    def _tier(self, value: Any, path: KeyPath) -> TierSaid:
        table = self._checked(value, dict, path, "a tier is a table: write [[tiers]], and its options below")
        rules = self._checked(
            table.pop("storage_classes", []), list, (*path, "storage_classes"), "write [[tiers.storage_classes]]"
        )
        figures = table.pop("breaker") if isinstance(table.get("breaker"), dict) else None
        url, backend = (self._text(table, name, path) for name in ("url", "backend"))
        if url is None and backend is None:
            raise ConfigurationError(
                f"{self.place(path)}: a tier needs a url, such as 'redis://localhost/0', or a backend, such as 's3'"
            )
        at = (*path, "breaker")
        return TierSaid(
            place=self.place(path),
            backend=backend,
            url=url,
            options=self._options(table, path),
            rules=[self._rule(rule, (*path, "storage_classes", number)) for number, rule in enumerate(rules)],
            breaker=None if figures is None else (self.place(at), self._options(figures, at)),
        )

    def _text(self, table: dict[str, Any], name: str, path: KeyPath) -> Said | None:
        if name not in table:
            return None
        self._checked(table[name], str, (*path, name), "it must be text")
        return self._said(table.pop(name), (*path, name))

    def _rule(self, value: Any, path: KeyPath) -> tuple[str, Options, dict[str, Any]]:
        table = self._checked(value, dict, path, "a rule is a table: write [[tiers.storage_classes]]")
        attributes = self._checked(
            table.pop("attributes", {}), dict, (*path, "attributes"), "write { name = value }, what an entry must have"
        )
        found = self._options(attributes, (*path, "attributes"))
        return self.place(path), self._options(table, path), {name: said.value for name, said in found.items()}

    def _switches(self) -> list[SwitchSaid]:
        found: list[SwitchSaid] = []
        for tier, value in self._table("switches").items():
            path: KeyPath = ("switches", tier)
            table = {"mode": value} if isinstance(value, str) else value
            table = self._checked(
                table, dict, path, "write a mode such as 'off', or a table with mode, ramp, namespaces"
            )
            self._check_names(table, ("mode", "ramp", "namespaces"), path, "a switch has no option")
            advice = "write { namespace = 'off' }"
            namespaces = self._checked(table.pop("namespaces", {}), dict, (*path, "namespaces"), advice)
            if table:
                found.append(self._switch(tier, None, table, path))
            for namespace, one in namespaces.items():
                below: KeyPath = (*path, "namespaces", namespace)
                each = {"mode": one} if isinstance(one, str) else one
                each = self._checked(each, dict, below, "write a mode such as 'off', or a table with mode and ramp")
                self._check_names(each, ("mode", "ramp"), below, "a switch of a namespace has no option")
                found.append(self._switch(tier, namespace, each, below))
        return found

    def _switch(self, tier: str, namespace: str | None, table: Mapping[str, Any], path: KeyPath) -> SwitchSaid:
        options = self._options(table, path)
        return SwitchSaid(
            place=self.place(path),
            tier=tier,
            namespace=namespace,
            mode=options.get("mode"),
            ramp=options.get("ramp"),
        )


def _text(path: str, name: str) -> str:
    try:
        with open(path, "rb") as file:
            return file.read().decode("utf-8")
    except UnicodeDecodeError:
        why = "it is no text in UTF-8"
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else "this is no path"
    raise ConfigurationError(f"{name}: the configuration cannot be read: {why}")


def _parsed(text: str, name: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        why = str(error)
    except RecursionError:
        raise ConfigurationError(f"{name}: this is no TOML that can be read: it is nested too deeply") from None
    except ValueError:  # a number of thousands of digits, say
        raise ConfigurationError(f"{name}: this is no TOML that can be read: a value is out of range") from None
    where = _LINE.search(why)
    line = where[1] if where and where[1] else str(text.count("\n") + 1)
    raise ConfigurationError(f"{name}, line {line}: this is no TOML: {_LINE.sub('', why)}")
