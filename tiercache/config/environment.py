"""What environment variables say of a cache: one for a whole chain, one for a file, one for each option."""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Mapping

from ..errors import ConfigurationError
from ..logs import fields
from ..spelling import is_one_slip, nearly
from . import toml
from .complaints import Said
from .references import resolved
from .settings import Settings, SwitchSaid, TierSaid

PREFIX = "TIERCACHE_"
URLS = "TIERCACHE_URLS"
CONFIG = "TIERCACHE_CONFIG"
SWITCHES = "TIERCACHE_SWITCHES"
KEYS = "TIERCACHE_KEYS"
OTHERS = {
    "TIERCACHE_DIR": "the directory of the default file of `DiskBackend`",
    "TIERCACHE_DISABLED": "`1` turns every cache into a pass-through",
    "TIERCACHE_SERVERS_DIR": "`tiercache.testing.servers`: where the servers of tests are",
    "TIERCACHE_REDIS_URL": "`RedisBackend.from_env()`",
    "TIERCACHE_MEMORY_MAX_BYTES": "`MemoryBackend.from_env()`",
    "TIERCACHE_MEMORY_MAX_ENTRIES": "`MemoryBackend.from_env()`",
    "TIERCACHE_MEMORY_EVICTION": "`MemoryBackend.from_env()`",
    "TIERCACHE_DISK_PATH": "`DiskBackend.from_env()`",
    "TIERCACHE_DISK_MAX_BYTES": "`DiskBackend.from_env()`",
    "TIERCACHE_S3_BUCKET": "`S3Backend.from_env()`",
    "TIERCACHE_S3_PREFIX": "`S3Backend.from_env()`",
    "TIERCACHE_S3_STORAGE_CLASS": "`S3Backend.from_env()`",
    "TIERCACHE_GCS_BUCKET": "`GCSBackend.from_env()`",
    "TIERCACHE_GCS_PREFIX": "`GCSBackend.from_env()`",
    "TIERCACHE_GCS_STORAGE_CLASS": "`GCSBackend.from_env()`",
    "TIERCACHE_AZURE_CONTAINER": "`AzureBlobBackend.from_env()`",
    "TIERCACHE_AZURE_PREFIX": "`AzureBlobBackend.from_env()`",
    "TIERCACHE_AZURE_ACCESS_TIER": "`AzureBlobBackend.from_env()`",
}
"""Variables that something else reads, and what."""

_SWITCH = re.compile(r"([^=@\s]+?)(?:/([A-Za-z0-9_.-]+))?=([a-z-]+)?(?:@([0-9.]+))?")
_KUBERNETES = re.compile(
    PREFIX + r"(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)"
)
"""What a pod is told of a Service called `tiercache`."""
logger = logging.getLogger("tiercache")


def variable(option: str) -> str:
    """Return the variable of an option of `Cache` or `TierChain`."""
    return PREFIX + option.upper()


def read(environ: Mapping[str, str], *, chain: Collection[str], cache: Collection[str]) -> Settings:
    """Return what variables say; those that are empty say nothing. They outrank the file that TIERCACHE_CONFIG names.

    Args:
        environ: the variables.
        chain, cache: the options of `TierChain` and `Cache` that text can be turned into.

    Raises:
        ConfigurationError: a variable, or the file, says something that means nothing here; or the name of a variable
            is nearly one that is known: a letter too many, too few, wrong or swapped, or up to a fifth of a long one.
            Other names that are not known are logged.
    """
    _check_names(environ, [variable(option) for option in (*chain, *cache)])
    settings = _file(environ) or Settings(place="the environment")
    for options, names in ((settings.chain, chain), (settings.cache, cache)):
        options.update({name: _said(environ, variable(name)) for name in names if environ.get(variable(name))})
    if environ.get(URLS):
        settings.tiers = _tiers(_said(environ, URLS), environ)
    if environ.get(KEYS):
        settings.keys = {"source": Said(environ[KEYS], KEYS)}
        settings.keys_place = KEYS
    if environ.get(SWITCHES):
        settings.switches += _switches(_said(environ, SWITCHES))
    return settings


def _check_names(environ: Mapping[str, str], options: Collection[str]) -> None:
    known = [URLS, CONFIG, SWITCHES, KEYS, *options, *OTHERS]
    unknown = [
        name for name in environ if name.startswith(PREFIX) and name not in known and not _KUBERNETES.fullmatch(name)
    ]
    for name in unknown:
        endings = [one.removeprefix(PREFIX).lower() for one in known]
        ending = name.removeprefix(PREFIX).lower()
        near = nearly(ending, endings, 0.8) or next((one for one in endings if is_one_slip(ending, one)), None)
        if near and environ[name]:
            raise ConfigurationError(f"{name} is no variable of tiercache; did you mean {PREFIX}{near.upper()}?")
    if unknown:
        text = "nothing in tiercache reads %s; see docs/configuration.md"
        logger.warning(text, ", ".join(sorted(unknown)), extra=fields("environment.unknown", variables=sorted(unknown)))


def _file(environ: Mapping[str, str]) -> Settings | None:
    if not environ.get(CONFIG):
        return None
    path = _said(environ, CONFIG)
    if "\n" in path.value:
        raise ConfigurationError(
            f"{CONFIG}: {path.reference or 'its value'} holds more than a path; to name the configuration itself, "
            "write its path, without file: before it"
        )
    try:
        return toml.read(path.value, environ, called=path.reference)
    except ConfigurationError as error:
        error.args = (f"{CONFIG}: {error}",)
        raise


def _said(environ: Mapping[str, str], name: str) -> Said:
    return resolved(Said(environ[name], name, lenient=True), environ)


def _tiers(urls: Said, environ: Mapping[str, str]) -> list[TierSaid]:
    """Return the tiers of a whole chain in one text; each URL may be a reference."""
    found: list[TierSaid] = []
    for number, url in enumerate(str(urls.value).split(), 1):
        place = f"{URLS}, URL {number}"
        said = resolved(Said(url, place, lenient=True), environ)
        found.append(TierSaid(place=place, url=said if said.reference else Said(url, place, True, urls.reference)))
    if not found:
        raise ConfigurationError(f"{URLS} holds no URL; write one, such as memory://, or leave the variable out")
    return found


def _switches(said: Said) -> list[SwitchSaid]:
    """Return the switches in a text such as `s3=off redis/search=shadow s3=on@25`."""
    found: list[SwitchSaid] = []
    for number, word in enumerate(str(said.value).split(), 1):
        place = f"{SWITCHES}, item {number}"
        match = _SWITCH.fullmatch(word)
        if match is None or not (match[3] or match[4]):
            raise ConfigurationError(f"{place}: a switch is tier=mode, tier/namespace=mode or tier=mode@percent")
        tier, namespace, mode, ramp = match.groups()
        found.append(
            SwitchSaid(
                place=place,
                tier=tier,
                namespace=namespace,
                mode=None if mode is None else Said(mode, place, True, said.reference),
                ramp=None if ramp is None else Said(ramp, place, True, said.reference),
            )
        )
    return found
