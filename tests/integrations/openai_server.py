"""A tiny OpenAI on loopback that counts: it answers in JSON or as a stream, and tells what it was asked."""

from __future__ import annotations

import json
from typing import Any

from tests.peers import Web


class OpenAIServer:
    """What a `Web` answers, as OpenAI does; `finish_reason`, `content` and `message` shape the answers to come."""

    def __init__(self) -> None:
        self.web = Web(self._closing)
        self.content: str | None = None
        self.finish_reason = "stop"
        self.message: dict[str, Any] = {}

    @property
    def url(self) -> str:
        return f"{self.web.url}/v1"

    @property
    def calls(self) -> int:
        return len(self.web.asked)

    @property
    def bodies(self) -> list[dict[str, Any]]:
        return [json.loads(asked.body) for asked in self.web.asked]

    def _closing(self, asked: Any) -> tuple[Any, ...]:
        """Keep no connection: the SDK's async client outlives the loops of the tests."""
        status, body, headers = (*self._answer(asked), {})[:3]
        return status, body, headers | {"Connection": "close"}

    def _answer(self, asked: Any) -> tuple[Any, ...]:
        body = json.loads(asked.body)
        if asked.path.endswith("/embeddings"):
            return 200, self._embeddings(body)
        text = self.content if self.content is not None else f"answer {self.calls}"
        if asked.path.endswith("/chat/completions"):
            return self._stream(body, text) if body.get("stream") else (200, self._chat(body, text))
        if asked.path.endswith("/responses"):
            return 200, self._response(body, text)
        choice = {"index": 0, "text": text, "finish_reason": self.finish_reason, "logprobs": None}
        return 200, self._envelope(body, "text_completion", [choice])

    def _chat(self, body: dict[str, Any], text: str) -> dict[str, Any]:
        message = {"role": "assistant", "content": text, "refusal": None} | self.message
        choices = [
            {"index": index, "message": message, "finish_reason": self.finish_reason, "logprobs": None}
            for index in range(body.get("n") or 1)
        ]
        return self._envelope(body, "chat.completion", choices)

    def _response(self, body: dict[str, Any], text: str) -> dict[str, Any]:
        complete = self.finish_reason == "stop"
        content = [{"type": "output_text", "text": text, "annotations": []}]
        message = {"type": "message", "id": f"msg-{self.calls}", "role": "assistant", "content": content}
        usage = {
            "input_tokens": 11,
            "output_tokens": 5,
            "total_tokens": 16,
            "input_tokens_details": {"cached_tokens": 3},
            "output_tokens_details": {"reasoning_tokens": 0},
        }
        return {
            "id": f"resp-{self.calls}",
            "object": "response",
            "created_at": 1_700_000_000,
            "model": body["model"],
            "status": "completed" if complete else "incomplete",
            "incomplete_details": None if complete else {"reason": "max_output_tokens"},
            "error": None,
            "output": [message | {"status": "completed"}],
            "parallel_tool_calls": True,
            "tool_choice": "auto",
            "tools": [],
            "usage": usage,
        }

    def _stream(self, body: dict[str, Any], text: str) -> tuple[Any, ...]:
        chunks = [{"index": 0, "delta": {"role": "assistant", "content": text}, "finish_reason": None}]
        chunks.append({"index": 0, "delta": {}, "finish_reason": self.finish_reason})
        lines = [json.dumps(self._envelope(body, "chat.completion.chunk", [chunk], usage=None)) for chunk in chunks]
        events = "".join(f"data: {line}\n\n" for line in [*lines, "[DONE]"])
        return 200, events, {"Content-Type": "text/event-stream"}

    def _envelope(self, body: dict[str, Any], kind: str, choices: list[Any], **more: Any) -> dict[str, Any]:
        usage = {
            "prompt_tokens": 11,
            "completion_tokens": 5,
            "total_tokens": 16,
            "prompt_tokens_details": {"cached_tokens": 3},
        }
        return {
            "id": f"id-{self.calls}",
            "object": kind,
            "created": 1_700_000_000,
            "model": body["model"],
            "choices": choices,
            "usage": usage,
        } | more

    def _embeddings(self, body: dict[str, Any]) -> dict[str, Any]:
        import base64

        import numpy as np

        data = []
        for index, item in enumerate(body["input"]):
            seed = sum(item) if isinstance(item, list) else sum(item.encode())
            vector = np.array([seed % 7 + 1, seed % 5, seed % 3, len(item)], dtype=np.float32)
            shown: Any = vector.tolist()
            if body.get("encoding_format") == "base64":
                shown = base64.b64encode(vector.tobytes()).decode()
            data.append({"object": "embedding", "index": index, "embedding": shown})
        usage = {"prompt_tokens": 1, "total_tokens": 1}
        return {"object": "list", "data": data, "model": body["model"], "usage": usage}
