"""The kinds of requests that the layer knows, and what their keys begin with."""

from __future__ import annotations

from typing import Literal, get_args

Kind = Literal["chat", "completion", "embedding", "response", "message"]
"""OpenAI's chat completions, (legacy) completions, embeddings and Responses, and Anthropic's messages; also what
other providers offer in these forms."""

KINDS: tuple[Kind, ...] = get_args(Kind)

CHAT_KEY_PREFIX = "chat"
COMPLETION_KEY_PREFIX = "completion"
EMBEDDING_KEY_PREFIX = "embed"
RESPONSE_KEY_PREFIX = "response"
MESSAGE_KEY_PREFIX = "message"

PREFIXES: dict[Kind, str] = {
    "chat": CHAT_KEY_PREFIX,
    "completion": COMPLETION_KEY_PREFIX,
    "embedding": EMBEDDING_KEY_PREFIX,
    "response": RESPONSE_KEY_PREFIX,
    "message": MESSAGE_KEY_PREFIX,
}
