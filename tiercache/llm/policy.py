"""`StorePolicy`: which answers may be stored, and why the others are refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .kinds import Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class StorePolicy:
    """What is stored beside good answers; all of it is refused unless told otherwise.

    Attributes:
        truncated: answers that ended at a limit of length.
        filtered: answers that a content filter cut or withheld, and refusals of the model.
        empty: answers without any content.
        max_bytes: answers larger than this, as JSON, are not stored.
    """

    truncated: bool = False
    filtered: bool = False
    empty: bool = False
    max_bytes: int = 32 * 2**20

    def refusal(self, kind: Kind, answer: Any) -> str | None:
        """Return why an answer must not be stored, as a word to count under; None: it may be.

        Args:
            kind: what was asked.
            answer: the answer as plain data, as JSON gives it.

        Returns:
            `malformed`, `error`, `incomplete`, `truncated`, `filtered`, `empty` or `too_large`.
        """
        if not isinstance(answer, Mapping):
            return "malformed"
        if answer.get("error"):
            return "error"
        return None
