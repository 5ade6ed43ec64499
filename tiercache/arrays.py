"""numpy arrays <-> payload bytes: the raw buffer; dtype and shape stand in the codec's name.

numpy is imported only when a value is an array or a payload is one: the core works without it.
"""

from __future__ import annotations

import math
import sys
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from .errors import MissingExtra, UncacheableValue

if TYPE_CHECKING:
    import numpy as np

_KINDS = "?biufcSUmM"
"""Kinds of dtype whose buffer alone says what they hold."""


def is_array(value: Any) -> bool:
    """Whether the value is exactly a `numpy.ndarray` (a subclass may hold more than its buffer)."""
    numpy = sys.modules.get("numpy")
    return numpy is not None and type(value) is numpy.ndarray


def encode(array: np.ndarray[Any, Any]) -> tuple[bytes, str]:
    """Return the array's buffer, in C order, and a codec such as `ndarray;<f4;2,384`.

    Raises:
        UncacheableValue: the dtype holds objects or named fields.
    """
    if array.dtype.kind not in _KINDS or array.dtype.names is not None:
        raise UncacheableValue(
            f"an array of dtype {array.dtype} cannot be cached: its buffer alone does not say what it holds"
        )
    return array.tobytes(), f"ndarray;{array.dtype.str};{','.join(map(str, array.shape))}"


def decode(payload: bytes, codec: str) -> np.ndarray[Any, Any]:
    """Return a read-only array that is a view of the payload.

    Raises:
        ValueError, TypeError: the codec's name or the length is wrong.
        MissingExtra: numpy is not installed.
    """
    numpy = _numpy()
    dtype, shape = _parse(codec)
    if math.prod(shape) * dtype.itemsize != len(payload):
        raise ValueError("the payload's length does not fit dtype and shape")
    if not payload:
        array: np.ndarray[Any, Any] = numpy.empty(shape, dtype)
        array.flags.writeable = False
        return array
    return numpy.frombuffer(payload, dtype).reshape(shape)  # type: ignore[no-any-return]


@lru_cache(maxsize=1024)
def _parse(codec: str) -> tuple[np.dtype[Any], tuple[int, ...]]:
    _, dtype_name, shape_text = codec.split(";")
    dtype = _numpy().dtype(dtype_name)
    shape = tuple(int(size) for size in shape_text.split(",")) if shape_text else ()
    if dtype.kind not in _KINDS or dtype.names is not None or min(shape, default=0) < 0 or len(shape) > 32:
        raise ValueError("not a dtype and shape that are stored")
    return dtype, shape


def _numpy() -> Any:
    try:
        import numpy
    except ImportError:
        raise MissingExtra("reading an array", "embeddings") from None
    return numpy
