"""Answers of providers as their APIs send them, whole and good; tests say what is different."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from tiercache.llm.kinds import Kind

CHAT_REQUEST = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "why?"}], "temperature": 0}

ANSWERS: dict[Kind, dict[str, Any]] = {
    "chat": {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": "gpt-4o-mini-2024-07-18",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "because", "refusal": None, "annotations": []},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {
            "prompt_tokens": 10,
            "completion_tokens": 3,
            "total_tokens": 13,
            "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        },
        "service_tier": "default",
        "system_fingerprint": "fp_1",
    },
    "completion": {
        "id": "cmpl-1",
        "object": "text_completion",
        "created": 1_700_000_000,
        "model": "gpt-3.5-turbo-instruct",
        "choices": [{"text": "because", "index": 0, "logprobs": None, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7},
    },
    "response": {
        "id": "resp_1",
        "object": "response",
        "created_at": 1_700_000_000,
        "status": "completed",
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "model": "gpt-4o-mini-2024-07-18",
        "output": [
            {"id": "rs_1", "type": "reasoning", "summary": []},
            {
                "id": "msg_1",
                "type": "message",
                "role": "assistant",
                "status": "completed",
                "content": [{"type": "output_text", "text": "because", "annotations": [], "logprobs": []}],
            },
            {
                "id": "fc_1",
                "type": "function_call",
                "status": "completed",
                "call_id": "call_1",
                "name": "look_up",
                "arguments": "{}",
            },
        ],
        "parallel_tool_calls": True,
        "temperature": 1.0,
        "tool_choice": "auto",
        "tools": [{"type": "function", "name": "look_up", "parameters": {"type": "object"}, "strict": True}],
        "top_p": 1.0,
        "metadata": {},
        "usage": {
            "input_tokens": 10,
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens": 3,
            "output_tokens_details": {"reasoning_tokens": 1},
            "total_tokens": 13,
        },
    },
    "message": {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-sonnet-4-5",
        "content": [
            {"type": "thinking", "thinking": "hm", "signature": "s"},
            {"type": "text", "text": "because", "citations": None},
            {"type": "tool_use", "id": "toolu_1", "name": "look_up", "input": {"of": ["a", 1]}},
        ],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {
            "input_tokens": 10,
            "output_tokens": 3,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "service_tier": "standard",
        },
    },
    "embedding": {
        "object": "list",
        "model": "text-embedding-3-small",
        "data": [
            {"object": "embedding", "index": 0, "embedding": [0.25, -0.5]},
            {"object": "embedding", "index": 1, "embedding": [1.0, 0.0]},
        ],
        "usage": {"prompt_tokens": 4, "total_tokens": 4},
    },
}


def answer(kind: Kind = "chat", **changes: Any) -> dict[str, Any]:
    """Return a good answer, of which `path__to__field` is another; numbers in a path are places in lists."""
    made = copy.deepcopy(ANSWERS[kind])
    for path, value in changes.items():
        *way, last = path.split("__")
        place: Any = made
        for step in way:
            place = place[int(step)] if step.isdigit() else place[step]
        place[int(last) if last.isdigit() else last] = value
    return made


def without(kind: Kind, path: str) -> dict[str, Any]:
    """Return a good answer that lacks a field."""
    made = answer(kind)
    *way, last = path.split("__")
    place: Any = made
    for step in way:
        place = place[int(step)] if step.isdigit() else place[step]
    del place[last]
    return made


def chat(text: str = "because", **changes: Any) -> dict[str, Any]:
    """Return a good answer to a chat request, with this text."""
    return answer("chat", choices__0__message__content=text, **changes)


def chat_request(text: str = "why?", **fields: Any) -> dict[str, Any]:
    """Return a chat request that is not sampled."""
    return {**CHAT_REQUEST, "messages": [{"role": "user", "content": text}], **fields}


def text_of(answer: Mapping[str, Any]) -> str:
    """Return the text of an answer to a chat request."""
    text: str = answer["choices"][0]["message"]["content"]
    return text
