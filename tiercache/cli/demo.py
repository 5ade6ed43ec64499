"""`tiercache demo`: what a cache does, in ten seconds, with this package alone: memory, a file, a slow model."""

from __future__ import annotations

import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .failures import No
from .output import AsJson, duration, say, show, show_json, show_table

if TYPE_CHECKING:
    from ..cache import Cache

QUESTIONS = 20
CROWD = 16
_TOPICS = ("tides", "sourdough", "violins", "glaciers", "beeswax")


class Model:
    """Stands for a language model: slow, and counted.

    Args:
        delay: seconds that an answer takes.
    """

    def __init__(self, delay: float) -> None:
        self.delay = delay
        self.calls = 0
        self._lock = threading.Lock()

    def answer(self, question: str) -> dict[str, str]:
        """Return what a model might say, slowly."""
        with self._lock:
            self.calls += 1
        time.sleep(self.delay)
        return {"question": question, "answer": f"That is a matter of {question.split()[-1].rstrip('?')}."}


@dataclass(slots=True)
class Act:
    """What one act of the demo showed.

    Attributes:
        name: what was done.
        asked: questions.
        computed: how many the model answered.
        hits: how many came from each tier.
        seconds: it took.
    """

    name: str
    asked: int
    computed: int
    seconds: float
    hits: dict[str, int] = field(default_factory=dict)


def demo(
    delay: Annotated[float, typer.Option(min=0.0, max=5.0, help="Seconds that the model takes for an answer.")] = 0.1,
    as_json: AsJson = False,
) -> None:
    """Show what a cache does: memory and a file in a temporary directory before an artificial, slow model.

    It needs no server, no network and no key, and leaves nothing behind.
    """
    model, acts = Model(delay), list[Act]()
    questions = [f"Question {number}: what is known of {_TOPICS[number % 5]}?" for number in range(QUESTIONS)]
    with tempfile.TemporaryDirectory(prefix="tiercache-demo-") as directory:
        path = Path(directory, "demo.sqlite3")
        with _cache(path) as cache:
            acts.append(_act(f"{QUESTIONS} questions, all of them new", cache, model, questions))
            acts.append(_act("the same again", cache, model, questions))
        with _cache(path) as cache:
            acts.append(_act("after a restart: memory is empty", cache, model, questions))
            acts.append(_act(f"{CROWD} callers, one new question, at once", cache, model, ["Who are you?"] * CROWD))
    wanted = [QUESTIONS, 0, 0, 1]
    held = [act.computed for act in acts] == wanted
    if as_json:
        show_json({"ok": held, "delay": delay, "acts": acts})
    else:
        _show(acts, delay)
    if not held:
        raise No("the model was asked more often than it should have been")


def _cache(path: Path) -> Cache:
    from ..cache import Cache
    from ..chain import TierChain
    from ..disk import DiskBackend
    from ..memory import MemoryBackend

    return Cache(TierChain(MemoryBackend("16MiB"), DiskBackend(path), strict=True), namespace="demo", ttl="1h")


def _act(name: str, cache: Cache, model: Model, questions: list[str]) -> Act:
    say(name, style="dim")
    before, calls = _hits(cache), model.calls
    with ThreadPoolExecutor(CROWD if len(set(questions)) == 1 else 1) as pool:
        start = time.perf_counter()
        list(pool.map(lambda question: cache.get_or_set(question, lambda: model.answer(question)), questions))
        seconds = time.perf_counter() - start
    hits = {tier: count - before[tier] for tier, count in _hits(cache).items()}
    return Act(name, len(questions), model.calls - calls, seconds, hits)


def _hits(cache: Cache) -> dict[str, int]:
    return {name: tier.hits for name, tier in cache.stats().tiers.items()}


def _show(acts: list[Act], delay: float) -> None:
    show_table(
        ["what", "asked", "from memory", "from disk", "computed", "took"],
        [
            (act.name, act.asked, act.hits["memory"], act.hits["disk"], act.computed, duration(act.seconds))
            for act in acts
        ],
        numbers=["asked", "from memory", "from disk", "computed", "took"],
    )
    asked, computed = sum(act.asked for act in acts), sum(act.computed for act in acts)
    saved = asked - computed
    show(f"{asked} questions, {computed} calls of the model: {saved} were saved, {duration(saved * delay)} of waiting.")
    show("Callers who wait for a value that another one is computing share it: nothing is paid twice.")
    show("Your own chain: tiercache doctor 'memory://?max_bytes=256MiB' redis://localhost:6379/0 s3://bucket/prefix/")
