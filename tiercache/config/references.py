"""References: `env:NAME` and `file:/path` stand for what a variable or a file holds, for secrets above all."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from ..errors import ConfigurationError
from .complaints import Said

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
MOST_BYTES = 1024 * 1024
"""Of a file that a reference names."""


def resolved(said: Said, environ: Mapping[str, str] | None = None, directory: str | os.PathLike[str] = ".") -> Said:
    """Return what was said, or what it refers to: as text, without the line end that a file may have behind it.

    Args:
        said: text that may be a reference; anything else is returned as it is.
        environ: where `env:` looks; None: in the environment of this process.
        directory: where a relative `file:` begins.

    Raises:
        ConfigurationError: there is no such variable or file; the message names the reference.
    """
    text = said.value
    if not isinstance(text, str) or not is_reference(text):
        return said
    scheme, _, what = text.partition(":")
    try:
        found = _of_variable(what, environ) if scheme == "env" else _of_file(what, directory)
    except ConfigurationError as error:
        error.args = (f"{said.place}: {error}" if said.place else str(error),)
        raise
    return Said(found, said.place, lenient=True, reference=text)


def is_reference(text: str) -> bool:
    """Whether a text is a reference; `file://` is the beginning of a URL, which nothing here takes."""
    return text.startswith("env:") or (text.startswith("file:") and not text.startswith("file://"))


def _of_variable(name: str, environ: Mapping[str, str] | None) -> str:
    if not _NAME.fullmatch(name):
        raise ConfigurationError("a reference to the environment is env:NAME, with letters, digits and '_'")
    value = (os.environ if environ is None else environ).get(name)
    if not value:
        raise ConfigurationError(f"env:{name}: the variable {name} is {'empty' if value == '' else 'not set'}; set it")
    return value


def _of_file(path: str, directory: str | os.PathLike[str]) -> str:
    reference = f"file:{path}"
    if not path:
        raise ConfigurationError("a reference to a file is file:/path/to/it, or relative to the configuration's own")
    try:
        with open(Path(directory) / path, "rb") as file:
            content = file.read(MOST_BYTES + 1)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else "no path"
    else:
        if len(content) > MOST_BYTES:
            raise ConfigurationError(f"{reference}: the file is larger than {MOST_BYTES // 2**20} MiB; name another")
        return _text(content, reference)
    raise ConfigurationError(f"{reference}: the file cannot be read: {why}")


def _text(content: bytes, reference: str) -> str:
    try:
        text = content.decode("utf-8").removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        text = ""
    if not text:
        raise ConfigurationError(f"{reference}: the file is empty, or no text in UTF-8")
    return text
