"""What the reasons mean with which providers say that an answer ended."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

COMPLETE = frozenset(
    (
        *("stop", "tool_calls", "function_call", "completed"),  # OpenAI
        *("end_turn", "stop_sequence", "tool_use"),  # Anthropic
        *("complete", "tool_call", "eos", "eos_token"),  # Cohere; Hugging Face and Together AI
    )
)
"""Names of endings of complete answers; these and the others are compared without regard to case."""
ENDINGS: dict[str, str] = {
    **dict.fromkeys(("length", "max_tokens", "max_output_tokens", "model_length", "max_length"), "truncated"),
    **dict.fromkeys(("model_context_window_exceeded", "context_length", "continuation"), "truncated"),
    **dict.fromkeys(("content_filter", "refusal", "safety", "recitation", "blocklist", "spii"), "filtered"),
    **dict.fromkeys(("prohibited_content", "image_safety", "guardrail_intervened", "sensitive"), "filtered"),
    **dict.fromkeys(("error", "failed", "network_error", "error_toxic", "malformed_function_call"), "error"),
    **dict.fromkeys(("incomplete", "in_progress", "queued", "cancelled", "pause_turn", "max_messages"), "incomplete"),
    **dict.fromkeys(("steered", "compaction", "abort", "user_cancel"), "incomplete"),
}


def ending(reason: Any, complete: Collection[str] = ()) -> str | None:
    """Return why an answer that ended for this reason must not be stored; None: it is complete.

    A reason that is not known here is `unknown_end`: it may be another provider's name for an answer that was cut, and
    an answer that is paid for twice does less harm than one that is wrong until it expires.

    Args:
        reason: a `finish_reason`, `stop_reason` or `status`; None, or none at all: the answer is `incomplete`.
        complete: reasons that mean a complete answer as well.
    """
    if reason is None or reason == "":
        return "incomplete"
    if not isinstance(reason, str):
        return "malformed"
    name = reason.lower()
    if name in COMPLETE or reason in complete:
        return None
    return ENDINGS.get(name, "unknown_end")


def is_error(answer: Mapping[str, Any]) -> bool:
    """Whether what a provider sent with status 200 is an error all the same."""
    return answer.get("error") is not None or answer.get("type") == "error" or answer.get("object") == "error"
