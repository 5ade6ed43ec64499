"""The catalogue of requests whose keys are pinned: realistic ones, of every kind, and many that differ by little."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

COUNT = 500
Request = dict[str, Any]

TEXTS = [
    "What is a cache?",
    "what is a cache?",
    "What is a cache? ",
    "",
    "Erkläre mir den Unterschied zwischen Straße und Gaße.",
    "Объясни, что такое кэш.",
    "キャッシュとは何ですか。",
    "缓存是什么？",
    "ما هي ذاكرة التخزين المؤقت؟",
    "कैश क्या है?",
    "캐시란 무엇인가요?",
    "Caf\u00e9",
    "Cafe\u0301",
    "🧊🐍 👩‍👩‍👧‍👦",
    "line one\nline two\r\n\ttabbed \u0000 null",
    "a lone surrogate: \ud83d",
    'quotes " and \\ backslashes: {"role": "user"}',
    "long " * 200,
]
WEATHER = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "description": "The city, e.g. Zürich"},
        "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]},
        "user": {"type": "string"},
        "metadata": {"type": "object", "additionalProperties": True},
        "cache_control": {"type": "string"},
    },
    "required": ["city"],
    "additionalProperties": False,
}
TOOL = {"type": "function", "function": {"name": "get_weather", "description": "Weather now", "parameters": WEATHER}}
CALL = {"id": "call_1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city": "Zürich"}'}}
PIXEL = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNk+A8AAQUBAScY42YAAAAASUVORK5CYII="
)
SAMPLING: list[Request] = [
    {},
    {"temperature": 0},
    {"temperature": 0.0},
    {"temperature": -0.0},
    {"temperature": 1},
    {"temperature": 0.7, "top_p": 0.95},
    {"temperature": None},
    {"seed": 7},
    {"seed": 2**63},
    {"seed": 2**70},
    {"max_tokens": 256},
    {"stop": ["\n\n", "END"]},
    {"stop": "END"},
    {"n": 3, "presence_penalty": 0.1, "frequency_penalty": -0.1},
]
OPENAI_DENIED: Request = {
    "user": "user-1",
    "metadata": {"run": "7"},
    "store": True,
    "service_tier": "flex",
    "safety_identifier": "s",
    "prompt_cache_key": "k",
    "prompt_cache_retention": "24h",
}


def user(content: Any) -> Request:
    """A message of a user."""
    return {"role": "user", "content": content}


def chats() -> Iterator[Request]:
    """Chat completions."""
    for text in TEXTS:
        yield {"model": "gpt-4o", "messages": [user(text)]}
    for options in SAMPLING:
        yield {"model": "gpt-4o-mini", "messages": [{"role": "system", "content": "Be brief."}, user("Hi")], **options}
    talk = [user(TEXTS[0]), {"role": "assistant", "content": "A store of answers."}, user("And a tier?")]
    names = ["gpt-4o", "gpt-4o-2024-11-20", "llama3:8b", "ft:gpt-4o:acme::A1b2", "meta-llama/Llama-3.3-70B", "m" * 300]
    for model, size in itertools.product(names, (1, 2, 3)):
        yield {"model": model, "messages": talk[:size]}
    extras: list[Request] = [
        {"tools": [TOOL], "tool_choice": "auto"},
        {"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "get_weather"}}},
        {"tools": [TOOL, {"type": "custom", "custom": {"name": "shell"}}], "parallel_tool_calls": False},
        {"response_format": {"type": "json_object"}},
        {
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "weather", "strict": True, "schema": WEATHER},
            }
        },
        {"logprobs": True, "top_logprobs": 5},
        {"logit_bias": {"50256": -100, "198": 1}},
        {"stream": True},
        {"stream": True, "stream_options": {"include_usage": True}},
        {"stream": True, "stream_options": {"include_usage": True, "include_obfuscation": False}},
        {"stream": True, "stream_options": {"include_obfuscation": False}},
        {"modalities": ["text", "audio"], "audio": {"voice": "alloy", "format": "wav"}},
        {"reasoning_effort": "high", "verbosity": "low", "max_completion_tokens": 2048},
        {"prediction": {"type": "content", "content": "def f(): pass"}},
        {"web_search_options": {"search_context_size": "low"}},
        {"a_field_of_tomorrow": {"nested": [1, 1.0, True, None, "1"]}},
        OPENAI_DENIED,
    ]
    for extra, text in itertools.product(extras, (TEXTS[0], TEXTS[7])):
        yield {"model": "gpt-5", "messages": [user(text)], **extra}
    parts: list[Any] = [
        [{"type": "text", "text": "What is this?"}],
        [{"type": "text", "text": "What is this?"}, {"type": "image_url", "image_url": {"url": PIXEL}}],
        [{"type": "image_url", "image_url": {"url": PIXEL}}, {"type": "text", "text": "What is this?"}],
        [{"type": "image_url", "image_url": {"url": PIXEL, "detail": "low"}}],
        [{"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}],
        [{"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}}],
        [{"type": "file", "file": {"file_id": "file-1"}}],
        [{"type": "text", "text": "What is this?", "cache_control": {"type": "ephemeral"}}],
    ]
    for content in parts:
        yield {"model": "gpt-4o", "messages": [user(content)]}
    for answer in ("21 °C", '{"temperature": 21}', ""):
        asked = {"role": "assistant", "content": None, "tool_calls": [CALL]}
        result = {"role": "tool", "tool_call_id": "call_1", "content": answer}
        yield {"model": "gpt-4o", "messages": [user("Weather in Zürich?"), asked, result], "tools": [TOOL]}
    for turns in range(4, 44, 4):
        history = [user(f"turn {turn}") for turn in range(turns)]
        yield {"model": "gpt-4o", "messages": history, "user": f"user-{turns}"}


def completions() -> Iterator[Request]:
    """Legacy completions, also of token arrays."""
    for text in TEXTS[:10]:
        yield {"model": "gpt-3.5-turbo-instruct", "prompt": text}
    prompts: list[Any] = [["a", "b"], ["b", "a"], ["ab"], [1, 2, 3], [[1, 2], [3]], [[1], [2, 3]], None]
    for prompt in prompts:
        yield {"model": "davinci-002", "prompt": prompt, "max_tokens": 16}
    for options in SAMPLING:
        yield {"model": "babbage-002", "prompt": "Once upon a time", **options}
    for options in ({"suffix": "\n"}, {"echo": True}, {"best_of": 3}, {"logprobs": 5}, {"user": "u"}):
        yield {"model": "babbage-002", "prompt": "Once upon a time", **options}


def embeddings() -> Iterator[Request]:
    """Embeddings of texts and of token arrays."""
    for text in TEXTS:
        yield {"model": "text-embedding-3-small", "input": text}
    inputs: list[Any] = [["a", "b"], ["b", "a"], ["ab"], [1, 2], [[1, 2]], [[1], [2]], ["1", "2"], list(range(500))]
    options: list[Request] = [{}, {"dimensions": 256}, {"encoding_format": "base64", "dimensions": 256}, {"user": "u"}]
    for value, option in itertools.product(inputs, options):
        yield {"model": "text-embedding-3-large", "input": value, **option}
    yield {"model": "voyage-3", "input": ["a"], "input_type": "query"}
    yield {"model": "voyage-3", "input": ["a"], "input_type": "document", "output_dtype": "int8"}


def responses() -> Iterator[Request]:
    """OpenAI's Responses."""
    for text in TEXTS:
        yield {"model": "gpt-5", "input": text}
    extras: list[Request] = [
        {},
        {"instructions": "Be brief."},
        {"reasoning": {"effort": "high", "summary": "auto"}},
        {"text": {"format": {"type": "json_schema", "name": "weather", "schema": WEATHER, "strict": True}}},
        {"tools": [{"type": "function", "name": "get_weather", "parameters": WEATHER, "strict": True}]},
        {"include": ["reasoning.encrypted_content"], "store": False},
        {"max_output_tokens": 100, "truncation": "auto"},
        {"stream": True, "stream_options": {"include_obfuscation": False}},
        {"previous_response_id": "resp_1"},
        {"prompt": {"id": "pmpt_1", "version": "2", "variables": {"user": "Ada", "metadata": "x"}}},
        OPENAI_DENIED,
    ]
    items: list[Any] = [
        "Hi",
        [user("Hi")],
        [{"type": "message", **user([{"type": "input_text", "text": "Hi"}])}],
        [{"type": "message", **user([{"type": "input_image", "image_url": PIXEL, "detail": "auto"}])}],
        [
            user("Weather?"),
            {"type": "function_call", "call_id": "c", "name": "get_weather", "arguments": '{"city":"Bern"}'},
            {"type": "function_call_output", "call_id": "c", "output": '{"temperature": 21}'},
        ],
        [user("Think."), {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAA"}, user("On.")],
    ]
    for value, extra in itertools.product(items, extras):
        yield {"model": "gpt-5-mini", "input": value, **extra}


def messages() -> Iterator[Request]:
    """Anthropic's messages."""
    base: Request = {"model": "claude-sonnet-4-5", "max_tokens": 1024}
    mark = {"cache_control": {"type": "ephemeral", "ttl": "1h"}}
    for text in TEXTS:
        yield {**base, "messages": [user(text)]}
    for options in (*SAMPLING[:6], {"top_k": 5}, {"stop_sequences": ["\n"]}, {"thinking": {"type": "enabled"}}):
        yield {**base, "system": "Be brief.", "messages": [user("Hi")], **options}
    systems: list[Any] = [
        [{"type": "text", "text": "Be brief."}],
        [{"type": "text", "text": "Be brief.", **mark}],
        [{"type": "text", "text": "Be"}, {"type": "text", "text": " brief."}],
    ]
    source = {"type": "base64", "media_type": "image/png", "data": PIXEL.partition(",")[2]}
    used = {"type": "tool_use", "id": "t", "name": "f", "input": {"user": "a", "cache_control": "data", "content": []}}
    contents: list[Any] = [
        "Hi",
        [{"type": "text", "text": "Hi"}],
        [{"type": "text", "text": "Hi", **mark}],
        [{"type": "image", "source": source}, {"type": "text", "text": "What is this?"}],
        [{"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "A."}, "title": "T"}],
        [{"type": "document", "source": {"type": "content", "content": [{"type": "text", "text": "A.", **mark}]}}],
        [{"type": "search_result", "source": "s", "title": "T", "content": [{"type": "text", "text": "A."}]}],
    ]
    for system, content in itertools.product(systems, contents):
        yield {**base, "system": system, "messages": [user(content)]}
    tool = {"name": "f", "description": "F", "input_schema": WEATHER}
    results: list[Any] = ["21", [{"type": "text", "text": "21"}], [{"type": "text", "text": "21", **mark}]]
    for result, is_error, marked in itertools.product(results, (False, True), (False, True)):
        answer = {"type": "tool_result", "tool_use_id": "t", "content": result, "is_error": is_error}
        talk = [user("Weather?"), {"role": "assistant", "content": [used]}, user([answer])]
        yield {**base, "messages": talk, "tools": [{**tool, **mark} if marked else tool]}
    yield {**base, "messages": [user("Hi")], "metadata": {"user_id": "u"}, "service_tier": "auto", **mark}
    yield {**base, "messages": [user("Hi")], "metadata": {"user_id": "v"}, "stream": True}


def cases() -> list[Request]:
    """Return 500 cases: `kind`, `request`, `user`, `tenant`."""
    found: list[Request] = []
    made = {
        "chat": chats(),
        "completion": completions(),
        "embedding": embeddings(),
        "response": responses(),
        "message": messages(),
    }
    for kind, requests in made.items():
        found += [{"kind": kind, "request": request, "user": None, "tenant": None} for request in requests]
    scopes = [("a", None), (None, "a"), ("a", "a"), ("", None), (None, ""), ("ünï", None), (None, "9f86d081884c7d65")]
    plain = itertools.cycle(found[:: len(found) // 40])
    for scope, case in zip(itertools.cycle(scopes), plain, strict=False):
        if len(found) >= COUNT:
            return found
        found.append(case | dict(zip(("user", "tenant"), scope, strict=True)))
    return found
