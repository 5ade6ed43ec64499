"""What the demo asserts: each check has a name, is printed, and decides the exit code."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from demo_report import storage_class
from rich.console import Console
from rich.text import Text


class Checks:
    """Assertions with a name each, printed as they are made; the exit code of the demo is theirs.

    Args:
        console: where they are printed.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        unicode = console.encoding.startswith("utf")
        self._good, self._bad = ("✓", "✗") if unicode else ("ok", "FAILED")
        self.passed = 0
        self.failed: list[str] = []

    def that(self, name: str, holds: bool, otherwise: str = "") -> None:
        """Print the check as passed or failed; `otherwise` says what was found instead."""
        if holds:
            self.passed += 1
            self._console.print(Text.assemble("  ", (self._good, "bold green"), " ", name), soft_wrap=True)
        else:
            self.failed.append(name)
            note = f": {otherwise}" if otherwise else ""
            self._console.print(Text.assemble("  ", (self._bad, "bold red"), " ", name, (note, "red")), soft_wrap=True)

    def equal(self, name: str, found: object, expected: object) -> None:
        """Check that what was found is what was expected."""
        self.that(f"{name}: {found}", found == expected, f"expected {expected}")

    def finish(self) -> int:
        """Print the verdict and return the exit code: 0, or 1 when a check failed or none was made."""
        total = self.passed + len(self.failed)
        if self.failed or not total:
            self._console.print(Text(f"{len(self.failed)} of {total} checks failed", "bold red"))
            return 1
        self._console.print(Text(f"all {total} checks passed", "bold green"))
        return 0


def check_first(checks: Checks, act: Mapping[str, Any], *, known: int) -> None:
    """Check a process that found all tiers empty."""
    tiers, remote = act["tiers"], [name for name in act["tiers"] if name != "memory"]
    checks.equal("texts that the model computed", act["first"]["model"], known)
    checks.equal("of these, different ones", len(set(act["asked_of_model"])), known)
    checks.equal("asked again, from memory", act["again"]["memory"], known)
    checks.equal("asked again, from anywhere else", sum(act["again"].values()) - act["again"]["memory"], 0)
    for name in remote:
        checks.equal(f"{name}: misses, and entries now", (tiers[name]["misses"], entries(act, name)), (known, known))
    checks.equal("model calls, of all batches", (act["model"]["calls"], act["batches"]), (known // 10, 2 * known // 10))
    saved, spent = act["model"]["seconds_saved"], act["model"]["seconds"]
    checks.that("asking again saved the seconds that were spent", math.isclose(saved, spent), f"{saved} and {spent}")
    check_unharmed(checks, act)


def check_second(
    checks: Checks, act: Mapping[str, Any], before: Mapping[str, Any], new: set[str], *, store: str
) -> None:
    """Check a process that found its texts in the object store only, but for the new ones."""
    known, last = len(before["texts"]), list(act["tiers"])[-1]
    everything = known + len(new)
    checks.equal("texts that the model computed", act["first"]["model"], len(new))
    checks.that("they are the new ones", set(act["asked_of_model"]) == new)
    checks.equal(f"texts that came from {store}", act["first"][last], known)
    checks.equal("asked again, from memory", act["again"]["memory"], everything)
    checks.equal("promoted into memory", act["tiers"]["memory"]["promotions"], known)
    if "redis" in act["tiers"]:
        checks.equal("hits in the empty Redis", act["tiers"]["redis"]["hits"], 0)
        checks.equal("Redis refilled: promoted", act["tiers"]["redis"]["promotions"], known)
        checks.equal("Redis refilled: entries", entries(act, "redis"), everything)
    vectors = dict(zip(act["texts"], act["vectors"], strict=True))
    same = [np.array_equal(vectors[text], row) for text, row in zip(before["texts"], before["vectors"], strict=True)]
    checks.equal("vectors equal to act 1's, bit for bit", sum(same), known)
    check_unharmed(checks, act)


def check_unharmed(checks: Checks, act: Mapping[str, Any]) -> None:
    """Check that nothing went wrong on the way: tiers that fail are skipped in silence, but counted."""
    errors = {name: tier["errors"] for name, tier in act["tiers"].items() if tier["errors"]}
    checks.that("no tier reported an error", not errors, f"{errors}")
    checks.that("asked again, the vectors are the same", act["same_again"])


def check_objects(checks: Checks, heads: Mapping[str, Mapping[str, Any]], *, count: int, storage: str) -> None:
    """Check what a HEAD says of every object."""
    checks.equal("objects", len(heads), count)
    checks.equal("their storage class", all_of(storage_class(head) for head in heads.values()), storage)
    checks.equal("their codec", all_of(head["Metadata"].get("codec") for head in heads.values()), "ndarray;<f4;384")
    models = all_of(head["Metadata"].get("model") for head in heads.values())
    checks.equal("their model", models, "multilingual-e5-small-q4")


def all_of(values: Iterable[object]) -> str:
    """Return the one value that all have, or a list of the different ones."""
    return ", ".join(sorted({str(value) for value in values}))


def entries(act: Mapping[str, Any], tier: str) -> int:
    """Return how many entries the tier held when the process ended."""
    found: int = act["held"][tier]["entries"]
    return found
