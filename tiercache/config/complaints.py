"""What was said, where it was said, and errors that name the place and never what may be a secret."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import msgspec

from ..errors import ConfigurationError

SECRET_OPTIONS = frozenset(
    {
        "url",
        "password",
        "sentinel_password",
        "ssl_password",
        "access_key_id",
        "secret_access_key",
        "session_token",
        "connection_string",
        "credentials_json",
        "keys",
        "source",
    }
)
"""Options whose values are never shown."""
_SHORTEST = 4
"""Letters from which on a text is looked for in messages; fewer are no secret, and would be found in any word."""


class Said(msgspec.Struct, frozen=True):
    """The value of one option.

    Attributes:
        value: text, a number, a bool, a list or a table.
        place: where it stands: a file and a line, or a variable; empty: in a URL, which is never quoted.
        lenient: it is text whatever it stands for, as in URLs and variables; otherwise it has a type of its own.
        reference: the `env:NAME` or `file:/path` that it was fetched through.
    """

    value: Any
    place: str = ""
    lenient: bool = False
    reference: str | None = None

    def __repr__(self) -> str:  # never the value
        return f"<Said in {self.place or 'a URL'}>"


@contextmanager
def blaming(options: Mapping[str, Said], place: str) -> Iterator[None]:
    """Let a ConfigurationError say where the option stands that its message names; else, where all of them do.

    What was fetched through a reference, and what an option for secrets holds, is taken out of the message.
    """
    try:
        yield
        return
    except ConfigurationError as error:
        raised = error
    raise placed(raised, options, place)


def placed(error: ConfigurationError, options: Mapping[str, Said], place: str) -> ConfigurationError:
    """Return the error, of the class that it has, with the place before its message and without secrets."""
    message = str(error)
    clean = redacted(message, options)
    named = culprit(message, options)
    where = options[named].place if named is not None and options[named].place else place
    error.args = (f"{where}: {clean}" if where else clean,)
    if clean != message:  # what came before it says the same
        error.__cause__ = error.__context__ = None
        error.__traceback__ = None
    return error


def culprit(message: str, options: Iterable[str]) -> str | None:
    """Return the option that a message names first."""
    found = [
        (match.start(), name) for name in options if (match := re.search(rf"(?<!\w){re.escape(name)}(?!\w)", message))
    ]
    return min(found)[1] if found else None


def redacted(message: str, options: Mapping[str, Said]) -> str:
    """Return the message without the values of references and secrets."""
    for name, said in options.items():
        is_secret = name in SECRET_OPTIONS and not str(said.value).startswith(("env:", "file:"))
        if (said.reference is not None or is_secret) and isinstance(said.value, str):
            text, stands = said.value, said.reference or f"<{name}>"
            if len(text) >= _SHORTEST:
                message = message.replace(repr(text), stands).replace(text, stands)
                message = message.replace(text[:40], stands) if len(text) > 40 else message  # as `units` shortens it
    return message
