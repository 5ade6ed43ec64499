"""A fake LLM provider on loopback that counts its calls, and misbehaves when told to. How to use it:

    with FakeProvider() as provider:                       # or the fixture `provider` of tests/integrations/conftest.py
        client = OpenAI(base_url=provider.openai, api_key="sk-test")              # provider.openai ends in /v1
        client = Anthropic(base_url=provider.url, api_key="sk-ant-test")
        client = AzureOpenAI(azure_endpoint=provider.url, api_version="2024-10-21", api_key="…")

        provider.calls("chat")                             # chat completion response message embedding other
        provider.calls()                                   # all of them
        provider.requests[-1].json                         # .kind .method .path .query .headers .body .json .stream
        provider.embedded                                  # the inputs of all embedding requests, in order, one list
        provider.wait_for(3)                               # waits until so many have arrived; the journal
        provider.reset()                                   # forgets the journal and what was scripted

What it answers. The text holds a digest of the whole JSON body, so that a mixed-up answer is seen, and text beyond
ASCII: `provider.text(body)` is the text that belongs to a body (or to a `Request`). Ids (`chatcmpl-…`) and the header
`x-request-id` differ from call to call: equal ids mean the same answer. `created` does not move. `n` choices for `n`.
Vectors depend on model, dimensions and input alone: `provider.vector("text", model="m", dimensions=None)`; every float
is exact in float32, so base64 and JSON say the same. Dimensions default to 16 (`FakeProvider(dimensions=1536)`).
Usage is counted in words. Replies carry rate-limit headers, `set-cookie`, `openai-organization` as the real ones do.

Streams: one SSE event a chunk of the HTTP body unless `chunks` says otherwise. Chat: a chunk with the role, one for
each word, one with the finish reason, one with usage where `stream_options.include_usage` asks for it, `data: [DONE]`.
Responses: `response.created` to `response.completed`. Anthropic: `message_start`, a ping, to `message_stop`.

Gates: `gate = provider.hold(after=2)` holds the next answer after two chunks of the body (0: before the status line).
`gate.reached` is an Event: it stands there; `gate.open()` lets it go on. Together with a misbehaviour:
`provider.next(hold=Gate(after=1), …)`. Gates open by themselves when the provider closes. `request.done` is set when
the answer is written, or the client has left (`request.broken`); `request.chunks_sent` counts the chunks of the body.

Misbehaviour, for the next request (`times=n` for n of them, `kind="chat"` for those of a kind alone; first scripted,
first used; `provider.always(…)` for all that have none of their own, `provider.always()` ends that):

    provider.next(status=429, retry_after=1)      an error in the provider's words; 400, 401, 404, 500, 529
    provider.next(status=500, body=b"<html>")     any status with any body (`body`: bytes, or what becomes JSON)
    provider.next(error=True)                     200 with an error inside; in a stream after the first events
    provider.next(error=True, then_end=True)      the same, and the stream ends with its end marker nevertheless
    provider.next(finish="length")                truncated; or "content_filter", "tool_calls", "failed"
    provider.next(empty=True)                     no choices, no output, no data
    provider.next(content="what it says")         another text; `content=None` none at all (null)
    provider.next(malformed=True)                 half of a JSON document; in a stream, half of an event's, once
    provider.next(cut=3)                          a connection closed after three chunks; 0: after the headers
    provider.next(drop=True)                      a connection closed before the status line
    provider.next(no_end=True)                    a stream that ends well, but without its last event
    provider.next(delay=0.05)                     so many seconds before each chunk of the body
    provider.next(chunks=7)                       a body of 7-byte chunks; a list: those lengths, the rest is one more
    provider.next(chunked=True)                   a body that is no stream without a content-length
    provider.next(encoding="gzip")                compressed: gzip, deflate, zstd (a stream is flushed at each event)
    provider.next(padding=50_000_000)             so many more bytes of text in the answer
    provider.next(crlf=True, comments=True)       a stream with CRLF; with comments between the events
    provider.next(redirect="/v1/elsewhere")       307
    provider.next(headers={"x-mine": "1"})        more headers, or others
    provider.script({…}, {…})                     several at once, each the arguments of `next`

Unknown paths and multipart (`/v1/files`, `/v1/audio/transcriptions`) are answered by an echo of what came: method,
path, content type, length and SHA-256 of the body. An `Upgrade: websocket` gets its 101, then its own bytes back.
"""

from __future__ import annotations

from tests.provider.answers import text_for
from tests.provider.embeddings import vector_for
from tests.provider.journal import Request
from tests.provider.scripts import Gate, Script
from tests.provider.server import FakeProvider

__all__ = ["FakeProvider", "Gate", "Request", "Script", "text_for", "vector_for"]
