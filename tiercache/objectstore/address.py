"""Which bucket and prefix: as an option, a URL or the environment names them."""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Any
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from ..errors import ConfigurationError


def checked_bucket(name: str, scheme: str, what: str = "bucket") -> str:
    """Return the name of a bucket, or of what the vendor calls one; refuse what is a URL or a path."""
    if not isinstance(name, str) or not name or "/" in name:
        raise ConfigurationError(f"{what} must be the name of a {what}, without '{scheme}://' and path; see prefix")
    return name


def checked_endpoint(url: str) -> str:
    """Return the URL of an endpoint without a slash at its end; refuse what is none."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except (ValueError, TypeError, AttributeError):  # AttributeError: it is no text
        usable = False
    if not usable:
        raise ConfigurationError("endpoint_url must be http://host:port or https://host")
    return url.rstrip("/")


def in_url(url: SplitResult, see: str, secrets: Set[str]) -> dict[str, str]:
    """Return bucket and prefix of `scheme://bucket/prefix`.

    Args:
        url: as split.
        see: the options that say what such a URL does not, for the message.
        secrets: options that no URL may hold: URLs end up in logs and process lists.

    Raises:
        ConfigurationError: the URL holds credentials, or a port.
    """
    if "@" in url.netloc or ":" in url.netloc or secrets & dict(parse_qsl(url.query, keep_blank_values=True)).keys():
        raise ConfigurationError(f"{url.scheme}://bucket/prefix takes no credentials and no port; see {see}")
    return {"bucket": url.netloc, "prefix": unquote(url.path.lstrip("/"))}


def with_environment(
    found: Mapping[str, Any], options: Mapping[str, Any], variable: str, what: str = "bucket"
) -> dict[str, Any]:
    """Return a constructor's arguments: those of the caller, before those of the environment.

    Args:
        found: arguments as variables say; what is empty counts as not set.
        options: the caller's.
        variable: which names the bucket.
        what: the argument that it is, and what the vendor calls it.

    Raises:
        ConfigurationError: there is no bucket.
    """
    arguments = {name: value for name, value in found.items() if value} | dict(options)
    if what not in arguments:
        raise ConfigurationError(f"{variable} is not set; set it to the name of the {what}")
    return arguments
