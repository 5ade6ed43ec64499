"""The deny-list: fields of requests that are known not to change the answer, by path; every other field counts."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Final

from ..errors import ConfigurationError
from .kinds import KINDS, Kind


class _Mark:
    """Something that no data can hold."""


ELEMENTS: Final = _Mark()
"""The key below which a tree has what holds for the elements of a list."""
DROP: Final = _Mark()
"""What a tree has in place of a field that is left out."""

Tree = dict[object, object]
"""What is left out, as nested dicts: names of fields and `ELEMENTS` -> a tree, or `DROP`."""

_PATH = re.compile(r"[^.\[\]]+(?:\[\])*(?:\.[^.\[\]]+(?:\[\])*)*")
_PROMPT = {"model", "messages", "input", "prompt", "system", "instructions", "contents"}
_PROMPT |= {"messages[].role", "messages[].content", "input[].role", "input[].content"}


def _below_blocks(tops: Iterable[str], name: str) -> Iterator[str]:
    """Yield the paths of a field of Anthropic's content blocks.

    Blocks nest: a tool's result holds search results and documents, these hold texts. What else stands in a block (the
    input of a tool above all) is data, in which the same name is the caller's own and counts.
    """
    inner = ("content[]", "source.content[]", "content.content", "content.content.source.content[]")
    blocks = list(tops)
    for _ in range(3):
        yield from (f"{block}.{name}" for block in blocks)
        blocks = [f"{block}.{step}" for block in blocks for step in inner]


_OPENAI = (
    "user",
    "safety_identifier",
    "metadata",
    "store",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
    "service_tier",
    "stream_options.include_obfuscation",
)
# What routers let through to Anthropic in OpenAI's form, and OpenAI's own marks of where a prompt may be cached.
_MARKS = ("cache_control", "prompt_cache_breakpoint")

DENIED: dict[Kind, tuple[str, ...]] = {
    "chat": (
        *_OPENAI,
        *(f"messages[].content[].{mark}" for mark in _MARKS),
        "tools[].cache_control",
    ),
    "completion": ("user", "stream_options.include_obfuscation"),
    "embedding": ("user", "encoding_format"),
    "response": (*_OPENAI, "input[].content[].prompt_cache_breakpoint", "input[].output[].prompt_cache_breakpoint"),
    "message": (
        "metadata",
        "service_tier",
        "cache_control",
        "user_profile_id",
        "diagnostics",
        "tools[].cache_control",
        *_below_blocks(("system[]", "messages[].content[]"), "cache_control"),
    ),
}
"""The paths that are left out of the key. `[]` stands for every element of a list."""


def check_paths(paths: Sequence[str]) -> tuple[str, ...]:
    """Return paths of fields to leave out of keys, checked: `seed`, `extra.trace_id`, `messages[].name`.

    Raises:
        ConfigurationError: something is no path, or what it names is the question itself, without which requests would
            get each other's answers.
    """
    if isinstance(paths, (str, bytes)):
        raise ConfigurationError("ignored must be a list of paths; for one path write [path]")
    for path in paths:
        if not isinstance(path, str):
            raise ConfigurationError(f"ignored must hold paths as text, not a {type(path).__name__}")
        if not _PATH.fullmatch(path) or path.endswith("]"):
            raise ConfigurationError(
                f"{path!r} is no path of a field: write names with dots between them and [] after a list, "
                "as in 'extra.trace_id' or 'messages[].name'"
            )
        if path in _PROMPT:
            raise ConfigurationError(
                f"{path!r} must count: without it, different requests would get the same answer. Ignore a field that "
                "does not change what the model says"
            )
    return tuple(paths)


def tree(kind: Kind, ignored: Sequence[str] = ()) -> Tree:
    """Return what is left out of requests of a kind, as a tree to walk along a request.

    Args:
        kind: what is asked.
        ignored: paths in addition to those of `DENIED`.

    Raises:
        ConfigurationError: see `check_paths`; or there is no such kind.
    """
    if kind not in DENIED:
        raise ConfigurationError(f"there is no kind of request {kind!r}; one of {', '.join(KINDS)}")
    return _tree(kind, tuple(ignored) if not isinstance(ignored, str) else check_paths(ignored))


@lru_cache(maxsize=256)
def _tree(kind: Kind, ignored: tuple[str, ...]) -> Tree:
    root: Tree = {}
    for path in (*DENIED[kind], *check_paths(ignored)):
        steps: list[object] = [ELEMENTS if step == "[]" else step for step in re.findall(r"\[\]|[^.\[\]]+", path)]
        node = root
        for step in steps[:-1]:
            below = node.setdefault(step, {})
            if not isinstance(below, dict):
                break  # what is above it is left out already
            node = below
        else:
            node[steps[-1]] = DROP
    return root
