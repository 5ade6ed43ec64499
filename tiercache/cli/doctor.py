"""`tiercache doctor`: whether each tier can be used, and what to do where it cannot."""

from __future__ import annotations

from .failures import No
from .output import AsJson, show_json, show_table
from .source import Config, Namespace, Urls, opened


def doctor(urls: Urls = None, config: Config = None, namespace: Namespace = None, as_json: AsJson = False) -> None:
    """Check each tier: whether it can be used, and what to do where it cannot.

    Exits with 1 when a tier cannot be used.
    """
    with opened(urls, config, namespace) as cache:
        health = cache.chain.health()
    tiers = list(health.values())
    if as_json:
        show_json({"ok": all(tier.ok for tier in tiers), "tiers": tiers})
    else:
        show_table(
            ["tier", "state", "why"],
            [(tier.name, "works" if tier.ok else "fails", tier.error) for tier in tiers],
            styles={"works": "green", "fails": "red"},
        )
    failing = [tier.name for tier in tiers if not tier.ok]
    if failing:
        raise No(f"cannot be used: {', '.join(failing)}")
