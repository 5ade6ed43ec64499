"""JSON of which everybody reads the same: no field twice, no number that becomes another."""

from __future__ import annotations

import json
import math
from typing import Any

from ..errors import UncacheableValue


def parsed(text: str | bytes | bytearray) -> Any:
    """Return what a JSON text says.

    Raises:
        UncacheableValue: it is not JSON, has a field twice in an object (of which some readers take the first, some the
            last), NaN, infinity or a number that is none in 64 bits, or is too deep. The message does not show it.
    """
    try:
        return _DECODER.decode(_decoded(text))
    except UncacheableValue:
        raise
    except (ValueError, RecursionError) as error:
        where = f", line {error.lineno}, column {error.colno}" if isinstance(error, json.JSONDecodeError) else ""
        raise UncacheableValue(
            f"the text is not JSON ({type(error).__name__}{where}); of any other content use key_from_content"
        ) from None


def _decoded(text: str | bytes | bytearray) -> str:
    return text if isinstance(text, str) else text.decode(json.detect_encoding(text))


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise UncacheableValue("the JSON has a field twice in one object, of which readers take one or the other")
    return fields


def _float(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise UncacheableValue("the JSON holds a number that no float of 64 bits can hold")
    return number


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_float=_float, parse_constant=_float)
