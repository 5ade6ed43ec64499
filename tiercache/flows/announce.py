"""Telling other processes what was changed, when all tiers have taken it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ..tier import FAILURES
from .read import raise_if_strict

if TYPE_CHECKING:
    from ..chain import TierChain


async def announce(
    chain: TierChain,
    changes: Mapping[str, float | None],
    results: Sequence[object],
) -> None:
    """Tell of changes; what cannot be told now is told later.

    Args:
        chain: the tiers, all of which have taken the changes, or failed to.
        changes: full stored keys, and when what they hold now began to be made; None: now.
        results: how that went, by tier: where the only one has sent the notice with its write, nothing more is said.
    """
    teller = chain.teller
    if teller.went_along(results):
        return
    if not teller.tells:
        teller.owe_changes(changes)
        return
    call = teller.told(changes)
    try:
        await call
    except FAILURES as error:
        teller.owe(call, error)
        raise_if_strict(chain, error)
    except BaseException:
        teller.owe(call)
        raise
    else:
        teller.was_told()
