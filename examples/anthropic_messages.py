"""Anthropic's messages behind a cache, asynchronously: ten tasks ask the same at once, and one call is made.

    ANTHROPIC_API_KEY=… python examples/anthropic_messages.py  # run it twice: the second run asks nobody

Needs: pip install 'tiercache[llm]' anthropic
"""

import asyncio

import httpx2
from anthropic import AsyncAnthropic

from tiercache import Cache
from tiercache.integrations.http import async_client

QUESTION = {
    "model": "claude-haiku-4-5",
    "max_tokens": 200,
    "messages": [{"role": "user", "content": "What is the capital of France? One sentence."}],
}


async def main() -> None:
    async with (
        Cache(namespace="anthropic", ttl="30d") as cache,  # memory, and a file in your cache directory
        AsyncAnthropic(http_client=async_client(cache, http=httpx2)) as anthropic,  # this SDK is built on httpx2
    ):
        answers = await asyncio.gather(*(anthropic.messages.create(**QUESTION) for _ in range(10)))
        print(answers[0].content[0].text)
        print(f"{len(answers)} answers, {len({answer.id for answer in answers})} of them different")

        for _ in range(2):
            async with anthropic.messages.stream(**QUESTION) as stream:
                async for text in stream.text_stream:
                    print(text, end="", flush=True)
            print()

        saved = cache.stats().savings.total
        print(f"saved: {saved.calls:g} calls, {saved.input_tokens + saved.output_tokens} tokens, ${saved.usd:.6f}")


asyncio.run(main())
