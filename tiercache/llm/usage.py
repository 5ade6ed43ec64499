"""Tokens, as a provider counts them in its answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_MOST = 2**53
"""Tokens; a number above is no count, and might be none that an entry can hold."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What a call used.

    Attributes:
        input_tokens: all tokens of the prompt, those that the provider had in a cache of its own included.
        output_tokens: all tokens of the answer, reasoning included.
        cache_read_tokens: of the input, read from the provider's own cache.
        cache_write_tokens: of the input, written to it.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0


def usage_of(answer: Mapping[str, Any]) -> Usage | None:
    """Return the usage that an answer states, in any of the forms of OpenAI and Anthropic; None if it states none."""
    usage = answer.get("usage")
    if not isinstance(usage, Mapping):
        return None
    inputs = _count(usage, "prompt_tokens", "input_tokens")
    outputs = _count(usage, "completion_tokens", "output_tokens")
    details = _first(usage, "prompt_tokens_details", "input_tokens_details")
    read, written = _count(details, "cached_tokens"), 0
    if "cache_read_input_tokens" in usage or "cache_creation_input_tokens" in usage:  # Anthropic counts them apart
        read, written = _count(usage, "cache_read_input_tokens"), _count(usage, "cache_creation_input_tokens")
        inputs += read + written
    return Usage(inputs, outputs, read, written)


def _count(usage: Mapping[str, Any], *names: str) -> int:
    for name in names:
        number = usage.get(name)
        if type(number) is int and 0 <= number <= _MOST:
            return number
    return 0


def _first(usage: Mapping[str, Any], *names: str) -> Mapping[str, Any]:
    for name in names:
        found = usage.get(name)
        if isinstance(found, Mapping):
            return found
    return {}
