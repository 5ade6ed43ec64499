"""Which cache a command works on: URLs, `--config FILE`, or the environment; the same for every command."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import parse_qsl, urlencode, urlsplit

import typer

from ..errors import ConfigurationError
from .failures import Mistake
from .output import say

if TYPE_CHECKING:
    from ..cache import Cache
    from ..chain import TierChain
    from ..tier import Tier

Urls = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="URL", help="The tiers, fastest first: memory:// disk:// redis://host:6379/0 s3://bucket/prefix/"
    ),
]
Config = Annotated[
    Path | None, typer.Option("--config", "-c", metavar="FILE", help="A TOML file with the tiers, in place of URLs.")
]
Namespace = Annotated[
    str | None, typer.Option("--namespace", "-n", help="The cache's namespace; left out: what the configuration says.")
]

_PLACES = ("prefix", "db", "layout", "region", "endpoint_url", "account_url", "name")
_URLS, _CONFIG = "TIERCACHE_URLS", "TIERCACHE_CONFIG"
NOTHING_SAID = (
    "which cache? Write its tiers as URLs, such as memory:// redis://localhost:6379/0 s3://bucket/prefix/, or --config "
    "FILE.toml, or set TIERCACHE_URLS or TIERCACHE_CONFIG. disk:// is the file of a Cache() without arguments"
)


@contextmanager
def opened(
    urls: Sequence[str] | None, config: Path | None, namespace: str | None = None, *, makes: bool = False
) -> Iterator[Cache]:
    """Lend the cache that a command's options describe; `.chain` has its tiers. It is closed at the end.

    Its chain is strict: a store that fails ends the command, with exit code 3.

    Args:
        urls: as typed; one that ends in `.toml` and is no URL is a configuration file.
        config: a configuration file.
        namespace: None: what the configuration says.
        makes: whether the command may make the file of a disk tier; otherwise one that is not there is a mistake.

    Raises:
        Mistake: both were given, or neither and the environment names no cache; or a file is not there.
        ConfigurationError: what was given is none.
    """
    cache = _cache(list(urls or ()), config, namespace)
    if not makes:
        check_there(cache.chain.tiers, said_in(urls, config))
    cache.chain.strict = True
    try:
        yield cache
    except BaseException:
        cache.chain.strict = False  # what fails while it closes must not hide why
        cache.close()
        raise
    cache.close()


def chain_of(texts: Sequence[str]) -> TierChain:
    """Return the chain of URLs, or of one FILE.toml, for commands that take several chains. The caller closes it."""
    return _cache(list(texts), None, None).chain


def said_in(urls: Sequence[str] | None, config: Path | None) -> str:
    """Return where the tiers were named, for a person who has to correct it."""
    if config is not None:
        return f"--config {config}"
    if urls:
        return "URL" if "://" in urls[0] else urls[0]
    return _URLS if os.environ.get(_URLS) else _CONFIG


def names(urls: Sequence[str] | None, config: Path | None, number: int) -> str:
    """Return the words that name a tier to another command, without secrets; empty: the environment names it.

    Args:
        urls, config: as typed.
        number: of the tier, from 0 on.
    """
    if config is None and urls and "://" not in urls[0]:
        config = Path(urls[0])
    if config is not None:
        return f"--config {shlex.quote(str(config))}"
    return shlex.quote(without_secrets(urls[number])) if urls else ""


def without_secrets(url: str) -> str:
    """Return a URL with those of its options that say where the tier is."""
    parts = urlsplit(url)
    options = [(name, each) for name, each in parse_qsl(parts.query) if name in _PLACES and "@" not in each]
    query = f"?{urlencode(options, safe=':/')}" if options else ""
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}{query}"


def check_there(tiers: Iterable[Tier], where: str) -> None:
    """Raise where a tier's file is not there: reading it would make an empty one, and take a slip for an empty cache.

    Args:
        tiers: that are only looked into, or lose something.
        where: they were named.

    Raises:
        Mistake: a file is not there.
    """
    for tier in tiers:
        path = missing_file(tier)
        if path is not None:
            raise Mistake(
                f"{where}: tier {tier.label}: there is no file {path}. Correct the path (disk:///absolute/path, "
                "disk://relative/path), or leave this tier out; its first write makes the file"
            )


def missing_file(tier: Tier) -> Path | None:
    """Return the file of a disk tier where it is not there; None: it is, or the tier has none."""
    from ..disk import DiskBackend

    backend = tier.backend
    return backend.path if isinstance(backend, DiskBackend) and not backend.path.exists() else None


def _cache(urls: list[str], config: Path | None, namespace: str | None) -> Cache:
    if os.environ.pop("TIERCACHE_DISABLED", "") not in ("", "0"):
        say("TIERCACHE_DISABLED is set: programs go without their cache; this command works on it all the same")
    if len(urls) == 1 and config is None and "://" not in urls[0] and urls[0].endswith(".toml"):
        urls, config = [], Path(urls[0])
    if urls and config is not None:
        raise Mistake("give URLs or --config FILE, not both")
    cache = _made(urls, config)
    _stand_aside(cache.chain)
    if namespace is None or namespace == cache.namespace:
        return cache
    from ..cache import Cache

    return Cache(cache.chain, namespace=namespace, ttl=cache.ttl)


def _stand_aside(chain: TierChain) -> None:
    """A command is none of the processes that use the cache: its counters and accesses are not theirs."""
    if chain.reporter is not None:
        chain.reporter.abandon()
    if chain.recorder is not None:
        chain.record(None)


def _made(urls: list[str], config: Path | None) -> Cache:
    from ..cache import Cache

    if config is not None:
        return Cache.from_toml(config)
    if not urls:
        if not (os.environ.get(_URLS) or os.environ.get(_CONFIG)):
            raise Mistake(NOTHING_SAID)
        return Cache.from_env()
    # The options of the environment hold for these tiers, too: a namespace, a ttl, keys.
    environ = {**os.environ, _URLS: " ".join(url.replace(" ", "%20") for url in urls), _CONFIG: ""}
    try:
        return Cache.from_env(environ)
    except ConfigurationError as error:
        error.args = (str(error).replace(f"{_URLS}, URL ", "URL "),)
        raise
