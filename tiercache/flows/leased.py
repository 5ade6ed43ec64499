"""Waiting for one's turn to compute, where another process may be computing the same."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Literal

from ..coherence.lease import Lease, Leases, Nap, looks
from ..journal.journal import may_land
from ..tier import FAILURES

if TYPE_CHECKING:
    from ..chain import TierChain

Turn = Lease | Literal["elsewhere"] | None
Look = Callable[[], Coroutine[Any, Any, bool]]


async def turn(chain: TierChain, key: str, look: Look, *, patient: bool = True) -> Turn:
    """Wait until this process may compute a key that no tier has.

    Args:
        chain: the tiers.
        key: the full stored key.
        look: whether it is there by now; what it finds it hands on itself.
        patient: wait while another process computes; otherwise leave it to that.

    Returns:
        The lease, to be given back after the value is stored. `"elsewhere"`: another process has computed it, or
        does. None: compute without one: nobody gives any, or whoever holds it took longer than a lease lasts.
    """
    leases = chain.leases
    if leases.keeper is None:
        return None
    lease = Lease(key, leases.seconds)
    try:
        for pause in looks(leases.seconds):
            waiting = leases.waiting(key)  # before the look, so that no notice comes in between
            if await _granted(leases, lease):
                leases.holds(lease)
                # It may have been stored between the caller's look and this.
                if await _found(chain, lease, look):
                    return "elsewhere"
                return lease
            if not patient:
                return "elsewhere"
            if await look():
                return "elsewhere"
            await Nap(waiting, pause)
    except FAILURES:
        return None  # counted; the store that keeps the leases is away
    finally:
        leases.waits_no_more(key)
    return None


async def _granted(leases: Leases, lease: Lease) -> bool:
    try:
        return await leases.ask(lease)
    except BaseException as error:
        if may_land(error):
            leases.may_hold(lease)
        raise


async def _found(chain: TierChain, lease: Lease, look: Look) -> bool:
    try:
        found = await look()
    except BaseException:
        chain.leases.give_back(lease)
        raise
    if found:
        chain.leases.give_back(lease)
    return found
