"""OpenAI's chat behind a cache, whole and streamed: the client is made with it once, and no call changes.

    OPENAI_API_KEY=… python examples/openai_chat.py            # run it twice: the second run asks nobody

Needs: pip install 'tiercache[llm]' openai
"""

from openai import OpenAI

from tiercache import Cache
from tiercache.integrations.http import client

MESSAGES = [{"role": "user", "content": "What is the capital of France? One sentence."}]

with (
    Cache(namespace="openai-chat", ttl="30d") as cache,  # memory, and a file in your cache directory
    OpenAI(http_client=client(cache)) as openai,
):
    for _ in range(2):
        reply = openai.chat.completions.with_raw_response.create(model="gpt-4o-mini", messages=MESSAGES)
        answer = reply.parse()
        print(reply.headers["x-tiercache"], answer.choices[0].message.content, f"({answer.usage.total_tokens} tokens)")

    for _ in range(2):
        stream = openai.chat.completions.create(model="gpt-4o-mini", messages=MESSAGES, stream=True)
        print("stream", end="  ")
        for chunk in stream:
            if chunk.choices:
                print(chunk.choices[0].delta.content or "", end="", flush=True)
        print()

    saved = cache.stats().savings.total
    print(f"saved: {saved.calls:g} calls, {saved.input_tokens + saved.output_tokens} tokens, ${saved.usd:.6f}")
