"""An evaluation suite run twice: the second run asks nobody, takes no time, and costs nothing.

    OPENAI_API_KEY=… python examples/evaluation_run.py

Run it again after changing one question: it pays for that one alone. `--fresh` starts from nothing.

Needs: pip install 'tiercache[llm]' openai rich
"""

import sys
import time
from concurrent.futures import ThreadPoolExecutor

from openai import OpenAI
from rich.console import Console
from rich.table import Table

from tiercache import Cache
from tiercache.integrations.http import client
from tiercache.llm import LLMCache

MODELS = ["gpt-4o-mini", "gpt-4o"]
QUESTIONS = {
    "What is the capital of France?": "Paris",
    "What is the capital of Japan?": "Tokyo",
    "How many legs has a spider?": "8",
    "What is seven times six?": "42",
    "Which planet is the largest?": "Jupiter",
    "Who wrote Faust?": "Goethe",
}


def run(openai: OpenAI) -> dict[str, float]:
    """Ask every model every question, eight at a time; the share of right answers by model."""

    def right(case: tuple[str, str]) -> bool:
        model, question = case
        messages = [{"role": "user", "content": f"{question} Answer with one word or number."}]
        answer = openai.chat.completions.create(model=model, messages=messages, temperature=0, seed=1)
        return QUESTIONS[question] in (answer.choices[0].message.content or "")

    cases = [(model, question) for model in MODELS for question in QUESTIONS]
    with ThreadPoolExecutor(8) as pool:
        marks = list(pool.map(right, cases))
    size = len(QUESTIONS)
    return {model: sum(marks[index * size :][:size]) / size for index, model in enumerate(MODELS)}


table = Table("run", "calls", "seconds", "saved: calls", "tokens", "dollars", "seconds", *MODELS)
with Cache(namespace="evaluation") as cache:  # memory, and a file in your cache directory
    if "--fresh" in sys.argv:
        cache.clear()
    llm = LLMCache(cache, chat_ttl="90d")
    with OpenAI(http_client=client(llm)) as openai:
        for number in (1, 2):
            asked, start = llm.stats().combined.misses, time.perf_counter()
            before = cache.stats().savings.total
            scores = run(openai)
            seconds, saved = time.perf_counter() - start, cache.stats().savings.total
            table.add_row(
                str(number),
                str(llm.stats().combined.misses - asked),
                f"{seconds:.3f}",
                f"{saved.calls - before.calls:g}",
                str(saved.input_tokens + saved.output_tokens - before.input_tokens - before.output_tokens),
                f"{saved.usd - before.usd:.6f}",
                f"{saved.seconds - before.seconds:.3f}",
                *(f"{scores[model]:.0%}" for model in MODELS),
            )
Console(width=120 if not sys.stdout.isatty() else None).print(table)
