"""What a call cost at list prices, by `genai-prices` and its own copy of them: nothing is asked for over a network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from .usage import Usage


@dataclass(frozen=True, slots=True)
class Price:
    """A price of your own, for a model that has no list price, or another one for you: US dollars a million tokens."""

    input: float
    output: float = 0.0

    def of(self, usage: Usage) -> float:
        """Return the dollars for a usage."""
        return (self.input * usage.input_tokens + self.output * usage.output_tokens) / 1e6


def usd_of(
    model: str,
    usage: Usage,
    *,
    provider: str | None = None,
    url: str | None = None,
    own: Mapping[str, Price] | None = None,
) -> float | None:
    """Return the US dollars for a call; None where no price is known, or `genai-prices` is not installed.

    Args:
        model: the model's name, as it was asked for or as the answer states it.
        usage: its tokens.
        provider: the provider's name, such as `openai`, where it is known.
        url: where the request went; it tells the provider as well.
        own: prices of your own, by model.

    The price is that of the provider if it is known, else of the one that models of this name come from: behind a
    proxy of your own, a call is worth what the model's maker takes for it.
    """
    if own and model in own:
        return own[model].of(usage)
    found = _found(model, provider, _base(url))
    if found is None:
        return None
    from genai_prices import Usage as Counted

    listed, info = found
    counted = Counted(
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        cache_read_tokens=usage.cache_read_tokens or None,
        cache_write_tokens=usage.cache_write_tokens or None,
    )
    try:
        return float(info.calc_price(counted, listed).total_price)
    except (ValueError, LookupError):  # it has prices, but not for tokens of these kinds
        return None


@lru_cache(1024)
def _found(model: str, provider: str | None, base: str | None) -> tuple[Any, Any] | None:
    """Return provider and model as `genai-prices` has them."""
    try:
        from genai_prices.data_snapshot import get_snapshot
    except ImportError:
        return None
    for name, url in ((None, base), (provider, None), (None, None), ("openai", None)):
        if (name, url) == (None, None) or name or url:
            try:
                return get_snapshot().find_provider_model(model, None, name, url)
            except LookupError:
                continue
    return None


def _base(url: str | None) -> str | None:
    """Return the URL without its query: few enough to remember what was found for each."""
    return None if url is None else url.partition("?")[0]
