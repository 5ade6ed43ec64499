"""LiteLLM's completions in a cache: one line at the start, and the calls stay as they are.

    OPENAI_API_KEY=… python examples/litellm_completion.py     # run it twice: the second run asks nobody

Needs: pip install 'tiercache[litellm]'
"""

import os

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # it would download its prices

import litellm

from tiercache import Cache
from tiercache.integrations.litellm import install

MESSAGES = [{"role": "user", "content": "What is the capital of France? One sentence."}]

with Cache(namespace="litellm", ttl="30d") as cache:  # memory, and a file in your cache directory
    install(cache)
    for _ in range(2):
        answer = litellm.completion(model="openai/gpt-4o-mini", messages=MESSAGES)
        print(f"{answer.id}  {answer.choices[0].message.content}")

    saved = cache.stats().savings.total
    print(f"saved: {saved.calls:g} calls, {saved.input_tokens + saved.output_tokens} tokens, ${saved.usd:.6f}")
