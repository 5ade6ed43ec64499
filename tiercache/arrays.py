"""numpy arrays <-> payload bytes: the raw buffer; dtype and shape stand in the codec's name.

numpy is imported only when a value is an array or a payload is one: the core works without it.
"""

from __future__ import annotations

import math
import re
import sys
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from .errors import MissingExtra, UncacheableValue

if TYPE_CHECKING:
    import numpy as np

_DTYPE = r"[<>|](?:b1|[iu][1248]|f[248]|c8|c16|[SU][1-9][0-9]{0,8}|[Mm]8(?:\[[0-9]{0,9}[A-Za-z]{1,2}\])?)"
"""Names of dtypes whose buffer says what they hold, on every machine (not so a long double's)."""
_MAX_DIMENSIONS = 32
"""Of numpy before 2.0."""
_CODEC = re.compile(rf"ndarray;({_DTYPE});((?:[0-9]{{1,19}}(?:,[0-9]{{1,19}}){{0,31}})?)")


def is_array(value: Any) -> bool:
    """Whether the value is exactly a `numpy.ndarray` (a subclass may hold more than its buffer)."""
    numpy = sys.modules.get("numpy")
    return numpy is not None and type(value) is numpy.ndarray


def encode(array: np.ndarray[Any, Any]) -> tuple[bytes, str]:
    """Return the array's buffer, in C order, and a codec such as `ndarray;<f4;2,384`.

    Raises:
        UncacheableValue: the dtype holds objects, named fields, long doubles or nothing, or over 32 dimensions.
    """
    if not _is_exact(array.dtype):
        raise UncacheableValue(f"an array of dtype {array.dtype}, whose buffer alone does not say what it holds")
    if array.ndim > _MAX_DIMENSIONS:
        raise UncacheableValue(f"an array of more than {_MAX_DIMENSIONS} dimensions")
    return array.tobytes(), f"ndarray;{array.dtype.str};{','.join(map(str, array.shape))}"


def decode(payload: bytes, codec: str) -> np.ndarray[Any, Any]:
    """Return a read-only array that is a view of the payload.

    Raises:
        ValueError, TypeError: the codec's name or the length is wrong.
        MissingExtra: numpy is not installed.
    """
    numpy = _numpy()
    dtype, shape = _parse(codec)
    if (shape[0] if len(shape) == 1 else math.prod(shape)) * dtype.itemsize != len(payload):
        raise ValueError("the payload's length does not fit dtype and shape")
    if not payload:
        array: np.ndarray[Any, Any] = numpy.empty(shape, dtype)
        array.flags.writeable = False
        return array
    flat: np.ndarray[Any, Any] = numpy.frombuffer(payload, dtype)
    return flat if len(shape) == 1 else flat.reshape(shape)


@lru_cache(maxsize=1024)
def _is_exact(dtype: np.dtype[Any]) -> bool:
    # The second half: extension types may call themselves by the name of another.
    return re.fullmatch(_DTYPE, dtype.str) is not None and _numpy().dtype(dtype.str) == dtype


@lru_cache(maxsize=1024)
def _parse(codec: str) -> tuple[np.dtype[Any], tuple[int, ...]]:
    # The name may come from a stranger: only what `encode` writes reaches numpy's own parser and this cache.
    match = _CODEC.fullmatch(codec)
    if match is None:
        raise ValueError("not a dtype and shape that are stored")
    dtype = _numpy().dtype(match[1])
    shape = tuple(map(int, match[2].split(","))) if match[2] else ()
    return dtype, shape


def _numpy() -> Any:
    try:
        import numpy
    except ImportError:
        raise MissingExtra("reading an array", "embeddings") from None
    return numpy
