"""Which cache a command works on: URLs, `--config FILE`, or the environment; the same for every command."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .failures import Mistake
from .output import say

if TYPE_CHECKING:
    from ..cache import Cache
    from ..chain import TierChain

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

NOTHING_SAID = (
    "which cache? Write its tiers as URLs, such as memory:// redis://localhost:6379/0 s3://bucket/prefix/, or --config "
    "FILE.toml, or set TIERCACHE_URLS or TIERCACHE_CONFIG. disk:// is the file of a Cache() without arguments"
)


@contextmanager
def opened(urls: Sequence[str] | None, config: Path | None, namespace: str | None = None) -> Iterator[Cache]:
    """Lend the cache that a command's options describe; `.chain` has its tiers. It is closed at the end.

    Its chain is strict: a store that fails ends the command, with exit code 3.

    Args:
        urls: as typed; one that ends in `.toml` and is no URL is a configuration file.
        config: a configuration file.
        namespace: None: what the configuration says.

    Raises:
        Mistake: both were given, or neither and the environment names no cache.
        ConfigurationError: what was given is none.
    """
    cache = _cache(list(urls or ()), config, namespace)
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


def _cache(urls: list[str], config: Path | None, namespace: str | None) -> Cache:
    if os.environ.pop("TIERCACHE_DISABLED", "") not in ("", "0"):
        say("TIERCACHE_DISABLED is set: programs go without their cache; this command works on it all the same")
    if len(urls) == 1 and config is None and "://" not in urls[0] and urls[0].endswith(".toml"):
        urls, config = [], Path(urls[0])
    if urls and config is not None:
        raise Mistake("give URLs or --config FILE, not both")
    if not urls and config is None:
        urls, config = _environment()
    return _of_file(config, namespace) if config is not None else _of_urls(urls, namespace)


def _environment() -> tuple[list[str], Path | None]:
    urls, config = os.environ.get("TIERCACHE_URLS", "").split(), os.environ.get("TIERCACHE_CONFIG", "")
    if urls:
        return urls, None
    if config:
        return [], Path(config)
    raise Mistake(NOTHING_SAID)


def _of_urls(urls: list[str], namespace: str | None) -> Cache:
    from ..cache import Cache
    from ..chain import TierChain

    return Cache(TierChain.from_urls(*urls), namespace=namespace or os.environ.get("TIERCACHE_NAMESPACE") or "default")


def _of_file(path: Path, namespace: str | None) -> Cache:
    raise Mistake(f"{path}: configuration files are read from the next change on")
