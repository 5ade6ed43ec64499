"""Whether a request leaves its answer to chance, and which of several kept answers it is given."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from ..errors import ConfigurationError
from .kinds import Kind

MOST_SAMPLES = 1000


def is_sampled(kind: Kind, request: Mapping[str, Any]) -> bool:
    """Whether the same request would be answered differently the next time, as far as it tells.

    It would where `temperature` is above 0, or not given: providers sample by default, and models that reason take no
    temperature and sample all the same. A `seed` asks for the same answer each time. (`n` does not matter: all its
    answers are in one.)
    """
    if kind == "embedding" or request.get("seed") is not None:
        return False
    temperature = request.get("temperature")
    return isinstance(temperature, bool) or temperature != 0


def sample_parts(number: int) -> tuple[Any, ...]:
    """Return what tells the key of a sample from those of the others; the first has the key of a single answer."""
    return ("sample", number) if number else ()


def drawn(samples: int) -> int:
    """Return the number of one of so many samples, at random."""
    return random.randrange(samples) if samples > 1 else 0  # noqa: S311 - no secret


def checked_samples(samples: Any) -> int:
    """Return a number of samples.

    Raises:
        ConfigurationError: it is none.
    """
    if type(samples) is not int or not 1 <= samples <= MOST_SAMPLES:
        raise ConfigurationError(f"samples must be a whole number from 1 to {MOST_SAMPLES}")
    return samples
