"""The tags that this layer puts on its entries, so that a kind, a model or a user is invalidated in one request."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..errors import ConfigurationError
from ..keys import digest
from .kinds import Kind

RESERVED = "_llm:"
"""What these tags begin with, and no tag of a caller's does."""
_LONGEST = 200


def kind_tag(kind: Kind) -> str:
    """Return the tag of all entries of a kind."""
    return f"{RESERVED}kind:{kind}"


def model_tag(model: str) -> str:
    """Return the tag of all entries of a model."""
    return f"{RESERVED}model:{model if is_plain(model) else hidden(model)}"


def user_tag(user: str) -> str:
    """Return the tag of all entries that were made for a user; it does not tell who that is."""
    return f"{RESERVED}user:{hidden(user)}"


def hidden(name: str) -> str:
    """Return what stands for a name that must not be seen in a store."""
    return digest("tiercache.llm.hidden", name)[:32]


def is_plain(name: str) -> bool:
    """Whether a name is short and valid Unicode, so that it may stand in an entry as it is."""
    return len(name) <= _LONGEST and not any("\ud800" <= sign <= "\udfff" for sign in name)


def check_own(tags: Iterable[Any]) -> None:
    """Refuse tags of a caller's that would be taken for those of this layer.

    Raises:
        ConfigurationError: one begins with `_llm:`.
    """
    for tag in tags:
        if isinstance(tag, str) and tag.startswith(RESERVED):
            raise ConfigurationError(f"tags that begin with {RESERVED!r} are the library's own; choose another")
