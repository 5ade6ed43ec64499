"""What an answer cost, as attributes of its entry: every later hit tells from them what it saved."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..entry import AttributeValue
from .prices import Price, usd_of
from .usage import usage_of


def attributes_of(
    model: str,
    answer: Mapping[str, Any],
    *,
    seconds: float | None = None,
    provider: str | None = None,
    url: str | None = None,
    prices: Mapping[str, Price] | None = None,
) -> dict[str, AttributeValue]:
    """Return `provider`, `input_tokens`, `output_tokens`, `usd`, `seconds`, as far as they are known.

    Args:
        model: the model that was asked for; an answer's own, more exact name goes before it for the price.
        answer: the provider's answer as plain data, or anything with its `usage` and `model`.
        seconds: how long the call took.
        provider, url: who was asked, as for `usd_of`.
        prices: prices of your own, by model.
    """
    attributes: dict[str, AttributeValue] = {}
    if provider is not None:
        attributes["provider"] = provider
    if seconds is not None:
        attributes["seconds"] = round(seconds, 6)
    usage = usage_of(answer)
    if usage is None:
        return attributes
    attributes["input_tokens"], attributes["output_tokens"] = usage.input_tokens, usage.output_tokens
    stated = answer.get("model")
    names = (model, stated if isinstance(stated, str) else model)
    for name in dict.fromkeys(names):
        usd = usd_of(name, usage, provider=provider, url=url, own=prices)
        if usd is not None:
            attributes["usd"] = usd
            break
    return attributes
