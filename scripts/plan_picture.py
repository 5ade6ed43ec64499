"""Draws docs/images/plan-hit-ratio.svg: what `tiercache plan` draws of a week of a seeded, LLM-like log.

Run it as `python -m scripts.plan_picture`.
"""

from __future__ import annotations

import itertools
import random
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from tiercache.planning import plan
from tiercache.planning.figures import drawn, svg_of

PICTURE = Path(__file__).parent.parent / "docs" / "images" / "plan-hit-ratio.svg"
READS = 150_000
PROMPTS = 30_000


def write(path: Path) -> None:
    """Write a log: a third of the prompts are asked once, a tenth soon again, the others by popularity."""
    dice = random.Random(11)
    weights = list(itertools.accumulate(1 / (rank + 1) ** 0.9 for rank in range(PROMPTS)))
    popular = iter(dice.choices(range(PROMPTS), cum_weights=weights, k=READS))
    now, recent = 1_760_000_000.0, ["0"]
    with path.open("w", encoding="utf-8") as file:
        file.write("time,key,size\n")
        for number in range(READS):
            now += dice.expovariate(READS / (7 * 86_400))
            kind = dice.random()
            if kind < 0.3:
                key = f"once-{number}"
                recent = [*recent[-300:], key]
            else:
                key = dice.choice(recent) if kind < 0.4 else f"prompt-{next(popular)}"
            file.write(f"{now:.2f},{key},{random.Random(key).randint(2_000, 60_000)}\n")


def main() -> None:
    """Draw it."""
    with TemporaryDirectory() as directory:
        log = Path(directory) / "log.csv"
        write(log)
        found = plan([log])
    for name, figure in drawn(found):
        if name == "hit-ratio":
            PICTURE.parent.mkdir(exist_ok=True)
            PICTURE.write_text(svg_of(figure), encoding="utf-8")
            if len(sys.argv) > 1:
                figure.savefig(sys.argv[1], dpi=120, bbox_inches="tight")
    print("\n".join(found.advice))


if __name__ == "__main__":
    main()
