"""The same answers as server-sent events, one after the other, as the real providers send them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from tests.provider.answers import CREATED, Answer, error_for

# An event and its data; an event without a name is data alone.
Event = tuple[str | None, Any]
DONE: Event = (None, "[DONE]")


def frames(answer: Answer) -> list[bytes]:
    """The events of a stream, each as its bytes, with whatever the script does to them."""
    script = answer.script
    events = list(_EVENTS[answer.kind](answer))
    end = [events.pop()]
    if script.error:
        name = "error" if answer.kind in ("message", "response") else None
        events = [*events[:2], (name, _error(answer))]
        end = end if script.then_end else []
    if script.no_end:
        end = []
    written = [_frame(name, data) for name, data in events + end]
    if script.malformed:
        middle = len(events) // 2
        written[middle] = written[middle][: len(written[middle]) // 2] + b"\n\n"
    if script.comments:
        written = [part for frame in written for part in (b": a comment\n\n", frame)]
    return [frame.replace(b"\n", b"\r\n") for frame in written] if script.crlf else written


def _frame(name: str | None, data: Any) -> bytes:
    text = data if isinstance(data, str) else json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return (f"event: {name}\n" if name else "").encode() + b"data: " + text.encode() + b"\n\n"


def _error(answer: Answer) -> dict[str, Any]:
    if answer.kind == "response":
        return {"type": "error", "code": "server_error", "message": "fake error", "param": None, "sequence_number": 2}
    return error_for(answer.kind, 500, answer.number)


def _chat(answer: Answer) -> Iterator[Event]:
    wants_usage = bool((answer.body.get("stream_options") or {}).get("include_usage"))
    head = {
        "id": answer.id,
        "object": "chat.completion.chunk",
        "created": CREATED,
        "model": answer.model,
        "service_tier": "default",
        "system_fingerprint": "fp_fake",
    }

    def chunk(index: int, delta: dict[str, Any], finish: str | None = None) -> Event:
        choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish}
        return None, head | {"choices": [choice]} | ({"usage": None} if wants_usage else {})

    for index in range(answer.choices):
        yield chunk(index, {"role": "assistant", "content": "", "refusal": None})
        if answer.finish == "tool_calls":
            yield chunk(index, {"tool_calls": [{"index": 0, **answer.tool_call}]})
        else:
            for piece in answer.pieces:
                yield chunk(index, {"content": piece})
        yield chunk(index, {}, answer.finish)
    if wants_usage:
        yield None, head | {"choices": [], "usage": answer.usage}
    yield DONE


def _completion(answer: Answer) -> Iterator[Event]:
    wants_usage = bool((answer.body.get("stream_options") or {}).get("include_usage"))
    head = {"id": answer.id, "object": "text_completion", "created": CREATED, "model": answer.model}
    for index in range(answer.choices):
        for piece in [*answer.pieces, ""]:
            finish = None if piece else answer.finish
            yield None, head | {"choices": [{"index": index, "text": piece, "logprobs": None, "finish_reason": finish}]}
    if wants_usage:
        yield None, head | {"choices": [], "usage": answer.usage}
    yield DONE


def _response(answer: Answer) -> Iterator[Event]:
    numbers = iter(range(1_000_000_000))

    def event(name: str, **data: Any) -> Event:
        return name, {"type": name, "sequence_number": next(numbers), **data}

    yield event("response.created", response=answer.response(status="in_progress"))
    yield event("response.in_progress", response=answer.response(status="in_progress"))
    if answer.choices:
        place = {"item_id": f"msg_{answer.number:08d}", "output_index": 0, "content_index": 0}
        text = answer.text or ""
        yield event("response.output_item.added", output_index=0, item=answer.output_item("in_progress"))
        yield event("response.content_part.added", **place, part=answer.part(""))
        for piece in answer.pieces:
            yield event("response.output_text.delta", **place, delta=piece, logprobs=[])
        yield event("response.output_text.done", **place, text=text, logprobs=[])
        yield event("response.content_part.done", **place, part=answer.part(text))
        yield event("response.output_item.done", output_index=0, item=answer.output_item("completed"))
    whole = answer.response()
    yield event(f"response.{whole['status']}", response=whole)


def _message(answer: Answer) -> Iterator[Event]:
    def event(name: str, **data: Any) -> Event:
        return name, {"type": name, **data}

    yield event("message_start", message=answer.message(begun=True))
    if answer.choices:
        whole = answer.message()["content"][0]
        empty = whole | ({"text": ""} if whole["type"] == "text" else {"input": {}})
        yield event("content_block_start", index=0, content_block=empty)
        yield event("ping")
        for piece in answer.pieces if whole["type"] == "text" else []:
            yield event("content_block_delta", index=0, delta={"type": "text_delta", "text": piece})
        yield event("content_block_stop", index=0)
    delta = {"stop_reason": answer.stop_reason, "stop_sequence": None}
    yield event("message_delta", delta=delta, usage={"output_tokens": answer.usage["output_tokens"]})
    yield event("message_stop")


_EVENTS = {"chat": _chat, "completion": _completion, "response": _response, "message": _message}
