"""Generations <-> text, by LangChain's own serialisation: an answer comes back equal, or it is refused."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from langchain_core.load import dumps, load
from langchain_core.messages import AIMessage, AIMessageChunk, ChatMessage, ChatMessageChunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, Generation, GenerationChunk
from pydantic import BaseModel

ANSWERS = (
    Generation,
    GenerationChunk,
    ChatGeneration,
    ChatGenerationChunk,
    AIMessage,
    AIMessageChunk,
    ChatMessage,
    ChatMessageChunk,
)
"""All that a stored text may bring to life. LangChain's own list of core classes is longer, and not for texts that
another hand may have written."""
_ALLOWED = frozenset(tuple(kind.lc_id()) for kind in ANSWERS)
# `load` is marked as beta; its wrapper would warn once, and silencing a warning is not safe among threads.
_load: Any = getattr(load, "__wrapped__", load)


def write(generations: Sequence[Generation]) -> str:
    """Return the text of the generations.

    Raises:
        Exception: whatever keeps them from coming back equal; there is no other way to find out than to try.
    """
    plain = [_plain(generation) for generation in generations]
    text = dumps(plain)
    if read(text) != plain:
        raise ValueError("the generations would not come back as they are")
    return text


def read(text: Any) -> list[Generation]:
    """Return the generations of a text.

    Raises:
        Exception: it is none of `write`.
    """
    if not isinstance(text, str):
        raise TypeError("generations are stored as text")
    generations = _load(json.loads(text), allowed_objects="core", init_validator=_check_class)
    if (
        not isinstance(generations, list)
        or not generations
        or not all(isinstance(one, Generation) for one in generations)
    ):
        raise TypeError("the text holds something else than generations")
    return generations


def _check_class(path: tuple[str, ...], arguments: dict[str, Any]) -> None:
    if path not in _ALLOWED:
        raise ValueError("the text names a class that is no part of an answer")


def _plain(generation: Generation) -> Generation:
    """Write a parsed answer as LangChain's parsers take it from a cache: as the arguments of its class."""
    if not isinstance(generation, ChatGeneration) or not isinstance(generation.message, AIMessage):
        return generation
    parsed = generation.message.additional_kwargs.get("parsed")
    if not isinstance(parsed, BaseModel):
        return generation
    arguments = parsed.model_dump(mode="json", by_alias=True)
    if type(parsed)(**arguments) != parsed:
        raise ValueError("the parsed answer would not come back as it is")
    message = generation.message
    message = message.model_copy(update={"additional_kwargs": {**message.additional_kwargs, "parsed": arguments}})
    return generation.model_copy(update={"message": message})
