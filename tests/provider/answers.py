"""What the provider says when nothing is wrong, when something is wrong inside, and as an error: whole answers."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from tests.provider.scripts import AS_ALWAYS, Script

CREATED = 1_760_000_000
_ANTHROPIC_STOPS = {"length": "max_tokens", "content_filter": "refusal", "tool_calls": "tool_use", "stop": "end_turn"}
_INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}
_ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
    529: "overloaded_error",
}


def text_for(body: dict[str, Any]) -> str:
    """The text that belongs to a request: equal requests get equal ones, others others."""
    canonical = json.dumps(body, sort_keys=True, separators=(",", ":")).encode()
    return f"Grüße – ✓ the answer to {hashlib.sha256(canonical).hexdigest()[:32]}"


class Answer:
    """The answer to one request: its text, its id, its usage, and the document that holds them."""

    def __init__(self, kind: str, body: dict[str, Any], model: str, number: int, script: Script) -> None:
        self.kind, self.body, self.model, self.number, self.script = kind, body, model, number, script
        self.text = text_for(body) if script.content == AS_ALWAYS else script.content
        if script.padding:
            self.text = (self.text or "") + " " + "x" * script.padding

    @property
    def id(self) -> str:
        prefix = {"chat": "chatcmpl-", "completion": "cmpl-", "response": "resp_", "message": "msg_"}[self.kind]
        return f"{prefix}{self.number:08d}"

    @property
    def pieces(self) -> list[str]:
        """The text in the pieces in which it is streamed."""
        words = (self.text or "").split(" ")
        return [word if index == 0 else f" {word}" for index, word in enumerate(words)] if self.text else []

    @property
    def tokens(self) -> tuple[int, int]:
        """Words of the question and of the answer."""
        asked = {name: self.body.get(name) for name in ("messages", "prompt", "input", "system", "instructions")}
        return len(json.dumps(asked).split()), len(self.pieces) * self.choices

    @property
    def choices(self) -> int:
        n = self.body.get("n")
        return 0 if self.script.empty else n if isinstance(n, int) and self.kind in ("chat", "completion") else 1

    @property
    def finish(self) -> str:
        return self.script.finish or "stop"

    @property
    def stop_reason(self) -> str:
        """The finish reason in Anthropic's words."""
        return _ANTHROPIC_STOPS.get(self.finish, self.finish)

    @property
    def usage(self) -> dict[str, Any]:
        asked, said = self.tokens
        if self.kind == "message":
            return {
                "input_tokens": asked,
                "output_tokens": said,
                "cache_creation_input_tokens": 0,
                "cache_read_input_tokens": 0,
                "service_tier": "standard",
            }
        if self.kind == "response":
            return {
                "input_tokens": asked,
                "input_tokens_details": {"cached_tokens": 0},
                "output_tokens": said,
                "output_tokens_details": {"reasoning_tokens": 0},
                "total_tokens": asked + said,
            }
        return {
            "prompt_tokens": asked,
            "completion_tokens": said,
            "total_tokens": asked + said,
            "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
        }

    def document(self) -> dict[str, Any]:
        """The whole answer."""
        if self.script.error:
            return error_for(self.kind, 500, self.number)
        return {"chat": self._chat, "completion": self._completion, "response": self.response, "message": self.message}[
            self.kind
        ]()

    def _chat(self) -> dict[str, Any]:
        message: dict[str, Any] = {"role": "assistant", "content": self.text, "refusal": None, "annotations": []}
        if self.finish == "tool_calls":
            message |= {"content": None, "tool_calls": [self.tool_call]}
        return {
            "id": self.id,
            "object": "chat.completion",
            "created": CREATED,
            "model": self.model,
            "choices": [
                {"index": index, "message": message, "logprobs": None, "finish_reason": self.finish}
                for index in range(self.choices)
            ],
            "usage": self.usage,
            "service_tier": "default",
            "system_fingerprint": "fp_fake",
        }

    @property
    def tool_call(self) -> dict[str, Any]:
        return {
            "id": f"call_{self.number:08d}",
            "type": "function",
            "function": {"name": "look_up", "arguments": json.dumps({"text": self.text})},
        }

    def _completion(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "object": "text_completion",
            "created": CREATED,
            "model": self.model,
            "choices": [
                {"index": index, "text": self.text, "logprobs": None, "finish_reason": self.finish}
                for index in range(self.choices)
            ],
            "usage": self.usage,
        }

    def response(self, *, status: str | None = None, output: bool = True) -> dict[str, Any]:
        """The object of OpenAI's Responses API, in whatever state."""
        ends = {"stop": "completed", "failed": "failed", "cancelled": "cancelled"}
        status = status or ends.get(self.finish, "incomplete")
        over = status != "in_progress"
        return {
            "id": self.id,
            "object": "response",
            "created_at": CREATED,
            "status": status,
            "error": {"code": "server_error", "message": "fake failure"} if status == "failed" else None,
            "incomplete_details": {"reason": _INCOMPLETE.get(self.finish, self.finish)}
            if status == "incomplete"
            else None,
            "instructions": self.body.get("instructions"),
            "metadata": self.body.get("metadata") or {},
            "model": self.model,
            "output": [self.output_item("completed")] if output and over and self.choices else [],
            "parallel_tool_calls": True,
            "previous_response_id": None,
            "temperature": self.body.get("temperature", 1.0),
            "tool_choice": "auto",
            "tools": [],
            "top_p": 1.0,
            "usage": self.usage if over else None,
        }

    def output_item(self, status: str) -> dict[str, Any]:
        parts = [self.part(self.text or "")] if status == "completed" else []
        name = f"msg_{self.number:08d}"
        return {"id": name, "type": "message", "status": status, "role": "assistant", "content": parts}

    @staticmethod
    def part(text: str) -> dict[str, Any]:
        return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}

    def message(self, *, begun: bool = False) -> dict[str, Any]:
        """Anthropic's message; `begun`: as it opens a stream, without content."""
        content: list[dict[str, Any]] = [{"type": "text", "text": self.text or ""}]
        if self.finish == "tool_calls":
            content = [{"type": "tool_use", "id": f"toolu_{self.number:08d}", "name": "look_up", "input": {}}]
        return {
            "id": self.id,
            "type": "message",
            "role": "assistant",
            "model": self.model,
            "content": [] if begun or self.script.empty else content,
            "stop_reason": None if begun else self.stop_reason,
            "stop_sequence": None,
            "usage": self.usage | ({"output_tokens": 1} if begun else {}),
        }


def error_for(kind: str, status: int, number: int) -> dict[str, Any]:
    """An error as the provider of this kind says it."""
    kind_of_error = _ERROR_TYPES.get(status, "server_error" if kind != "message" else "api_error")
    message = f"fake error {status}"
    if kind == "message":
        error = {"type": kind_of_error, "message": message}
        return {"type": "error", "error": error, "request_id": f"req_{number:08d}"}
    return {"error": {"message": message, "type": kind_of_error, "param": None, "code": None}}
