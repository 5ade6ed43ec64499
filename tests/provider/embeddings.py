"""Vectors that depend on the model, the dimensions and the input alone, in both encodings."""

from __future__ import annotations

import base64
import hashlib
import json
import sys
from array import array
from typing import Any


def inputs_of(body: dict[str, Any]) -> list[Any]:
    """The inputs one by one: strings, or arrays of tokens."""
    given = body.get("input")
    if isinstance(given, str) or (isinstance(given, list) and given and all(isinstance(item, int) for item in given)):
        return [given]
    return list(given) if isinstance(given, list) else []


def vector_for(item: Any, *, model: str, dimensions: int) -> list[float]:
    """The vector of one input; every number is exact in float32."""
    seed = json.dumps([model, dimensions, item]).encode()
    numbers = array("h", hashlib.shake_256(seed).digest(2 * dimensions))
    if sys.byteorder == "big":
        numbers.byteswap()
    return [number / 32768 for number in numbers]


def embeddings(body: dict[str, Any], *, model: str, dimensions: int, empty: bool = False) -> dict[str, Any]:
    """The answer to an embeddings request."""
    inputs = inputs_of(body)
    dimensions = body.get("dimensions") or dimensions
    data = []
    for index, item in enumerate([] if empty else inputs):
        vector: Any = vector_for(item, model=model, dimensions=dimensions)
        if body.get("encoding_format") == "base64":
            packed = array("f", vector)
            if sys.byteorder == "big":
                packed.byteswap()
            vector = base64.b64encode(packed.tobytes()).decode()
        data.append({"object": "embedding", "index": index, "embedding": vector})
    tokens = sum(len(item.split()) if isinstance(item, str) else len(item) for item in inputs)
    return {"object": "list", "data": data, "model": model, "usage": {"prompt_tokens": tokens, "total_tokens": tokens}}
