"""Which answers of LangChain's models are not worth keeping: cut off, filtered, failed or empty ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from langchain_core.outputs import ChatGeneration, Generation

# The names under which providers' packages say how an answer ended, and what they say.
_NAMES = ("finish_reason", "stop_reason", "done_reason", "finishReason", "stopReason", "status")
_REASONS = {
    "length": "truncated",
    "max_tokens": "truncated",
    "max_output_tokens": "truncated",
    "model_length": "truncated",
    "model_context_window_exceeded": "truncated",
    "incomplete": "truncated",
    "pause_turn": "truncated",
    "content_filter": "filtered",
    "content_filtered": "filtered",
    "guardrail_intervened": "filtered",
    "refusal": "filtered",
    "safety": "filtered",
    "recitation": "filtered",
    "blocklist": "filtered",
    "prohibited_content": "filtered",
    "spii": "filtered",
    "image_safety": "filtered",
    "error": "failed",
    "failed": "failed",
    "cancelled": "failed",
    "malformed_function_call": "failed",
}


def refusal(generations: Sequence[Generation]) -> str | None:
    """Return why an answer must not be stored: `truncated`, `filtered`, `failed` or `empty`; None: it may be."""
    for generation in generations:
        for said in _endings(generation):
            reason = _REASONS.get(said.rpartition(".")[2].casefold())
            if reason is not None:
                return reason
    if not generations or any(_is_empty(generation) for generation in generations):
        return "empty"
    return None


def _endings(generation: Generation) -> Iterator[str]:
    sources: list[Any] = [generation.generation_info]
    if isinstance(generation, ChatGeneration):
        sources.append(generation.message.response_metadata)
    for source in sources:
        for name in _NAMES if isinstance(source, dict) else ():
            if isinstance(said := source.get(name), str):
                yield said


def _is_empty(generation: Generation) -> bool:
    if generation.text.strip():
        return False
    if not isinstance(generation, ChatGeneration):
        return True
    message = generation.message
    if getattr(message, "tool_calls", None) or getattr(message, "invalid_tool_calls", None):
        return False
    if isinstance(message.content, str):
        return not message.additional_kwargs.get("function_call")
    return all(
        isinstance(block, dict) and block.get("type") in ("text", "reasoning", "thinking") for block in message.content
    )
