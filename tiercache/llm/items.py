"""An embeddings request and its items: which of them are missing, and the request that asks for those alone.

A request in OpenAI's form asks for one text, a list of texts, an array of tokens, or a list of those. What cannot be
taken apart safely says why, and passes the cache by: other inputs, empty ones (which most providers refuse), other
encodings and types of numbers, and vectors that depend on the other inputs of their batch.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from . import vectors
from .packing import digest
from .vectors import Encoding

Item = str | list[int]

PLACE = ["tiercache.items"]
"""What stands for the input in the part of the key that all items of a request have in common."""
_TYPES = ("output_dtype", "embedding_type", "embedding_types", "precision", "dtype")
"""Fields of providers that ask for other numbers than floats."""


class Batch:
    """The items of one request.

    Attributes:
        request: plain data; it is not changed.
        keys: the key of each input, in order.
        items: the distinct inputs, by key, in order.
        encoding: in which the caller wants the vectors.
    """

    __slots__ = ("encoding", "items", "keys", "request")

    def __init__(self, request: Mapping[str, Any], inputs: list[Item], common: str) -> None:
        self.request = request
        label = common.rpartition(":")[0]
        self.keys = [f"{label}:{digest('embedding item', common, item)}" for item in inputs]
        self.items: dict[str, Item] = dict(zip(self.keys, inputs, strict=True))
        self.encoding: Encoding = "base64" if request.get("encoding_format") == "base64" else "float"

    def is_whole(self, missing: Collection[str]) -> bool:
        """Whether a request for these items is the caller's own."""
        return len(missing) == len(self.keys)

    def reduced(self, missing: Collection[str]) -> dict[str, Any]:
        """Return the request that asks for these items alone."""
        return {**self.request, "input": [self.items[key] for key in missing]}

    def weights(self, asked: Sequence[str]) -> list[int]:
        """Return what each item counts when usage is shared out: its length, as often as it was asked for."""
        return [len(self.items[key]) * times for key, times in Counter(asked).items()]


def in_common(request: Mapping[str, Any]) -> dict[str, Any]:
    """Return a request without its inputs: all that the vectors of its items depend on beside these.

    Its key (`rules.plan`) is what `Batch` makes the keys of the items from; nothing is ever stored under itself.
    """
    return {**request, "input": PLACE}


def inputs_of(request: Mapping[str, Any]) -> list[Item] | str:
    """Return the inputs of a request, or why it cannot be taken apart, in a word."""
    encoding = request.get("encoding_format")
    if encoding not in (None, "float", "base64"):
        return "other_encoding"
    if any(request.get(name) not in (None, "float", ["float"]) for name in _TYPES):
        return "other_numbers"
    if request.get("late_chunking"):
        return "in_context"
    if not vectors.available():
        return "no_numpy"
    given = request.get("input")
    inputs: list[Any] = given if isinstance(given, list) and not _is_tokens(given) else [given]
    if not (all(isinstance(item, str) for item in inputs) or all(_is_tokens(item) for item in inputs)):
        return "other_input"
    return inputs if inputs and all(inputs) else "empty_input"


def _is_tokens(item: Any) -> bool:
    return isinstance(item, list) and bool(item) and set(map(type, item)) == {int}
