"""`tiercache lifecycle`: the rules by which a bucket deletes what is expired: show them, compare them, set them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .failures import Mistake, No
from .output import AsJson, Yes, agreed, say, show, show_json, show_table
from .source import Config, Namespace, Urls, opened

if TYPE_CHECKING:
    from ..cache import Cache
    from ..objectstore import LifecycleChange
    from ..tier import Tier

app = typer.Typer(
    help="Lifecycle rules: the bucket itself deletes what is expired, for nothing. Show, compare, set them.",
    no_args_is_help=True,
)
ExpireAfter = Annotated[
    str | None,
    typer.Option(
        "--expire-after",
        metavar="DURATION",
        help="How long after its writing an object goes, such as 30d: the longest ttl, with stale_for, or more. Left "
        "out: the configuration's ttl; on Google by each entry's own expiry. Packed segments need none.",
    ),
]
Subscription = Annotated[
    str | None,
    typer.Option("--subscription", envvar="AZURE_SUBSCRIPTION_ID", help="Azure: the storage account's subscription."),
]
Group = Annotated[
    str | None,
    typer.Option("--resource-group", envvar="AZURE_RESOURCE_GROUP", help="Azure: the storage account's group."),
]
Management = Annotated[
    str | None, typer.Option("--management-url", help="Azure: of its Resource Manager, in sovereign clouds.")
]


@app.command("show")
def show_rules(
    urls: Urls = None,
    config: Config = None,
    subscription: Subscription = None,
    resource_group: Group = None,
    management_url: Management = None,
    as_json: AsJson = False,
) -> None:
    """Show the rules of each bucket, and which of them are this cache's."""
    from .examination.rules import rules_of

    place = _place(subscription, resource_group, management_url)
    with opened(urls, config, makes=True) as cache:
        found = {tier.label: rules_of(tier.backend, **_for(tier, place)) for tier in _tiers(cache)}
    if as_json:
        rules = {name: [{"ours": ours, "rule": rule} for ours, rule in each] for name, each in found.items()}
        show_json({"tiers": [{"tier": name, "rules": each} for name, each in rules.items()]})
        return
    for name, each in found.items():
        if not each:
            show(f"{name}: no rules; what is expired stays until a sweep")
            continue
        show(f"{name}:")
        rows = [("this cache's" if ours else "another's", json.dumps(rule, default=str)) for ours, rule in each]
        show_table(["whose", "rule"], rows)


@app.command("diff")
def diff(
    urls: Urls = None,
    config: Config = None,
    namespace: Namespace = None,
    expire_after: ExpireAfter = None,
    subscription: Subscription = None,
    resource_group: Group = None,
    management_url: Management = None,
    as_json: AsJson = False,
) -> None:
    """Show what `apply` would change, and change nothing. Exits with 1 when there is something."""
    place = _place(subscription, resource_group, management_url)
    with opened(urls, config, namespace, makes=True) as cache:
        changes = {tier.label: _change(cache, tier, expire_after, dry_run=True, place=place) for tier in _tiers(cache)}
    _tell(changes, as_json=as_json)
    if any(changes.values()):
        raise No("the rules are not as they should be: tiercache lifecycle apply")


@app.command("apply")
def apply(
    urls: Urls = None,
    config: Config = None,
    namespace: Namespace = None,
    expire_after: ExpireAfter = None,
    subscription: Subscription = None,
    resource_group: Group = None,
    management_url: Management = None,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Set the rules that delete what is expired, after showing them. Rules of others are kept.

    It takes an operator's credentials, which a cache's own should not be.
    """
    place = _place(subscription, resource_group, management_url)
    with opened(urls, config, namespace, makes=True) as cache:
        tiers = _tiers(cache)
        changes = {tier.label: _change(cache, tier, expire_after, dry_run=True, place=place) for tier in tiers}
        if any(changes.values()):
            _warn(tiers, expire_after)
            if not as_json:
                _tell(changes, as_json=False)
            if not agreed("Set these rules?", yes=yes):
                raise No("nothing was changed")
            for tier in tiers:
                if changes[tier.label]:
                    changes[tier.label] = _change(cache, tier, expire_after, dry_run=False, place=place)
    if as_json:
        _tell(changes, as_json=True)
    else:
        applied = [name for name, change in changes.items() if change.applied]
        show(f"set: {', '.join(applied)}" if applied else "the rules are as they should be")


def _tiers(cache: Cache) -> list[Tier]:
    from .examination.rules import has_rules

    found = [tier for tier in cache.chain.tiers if has_rules(tier.backend)]
    if not found:
        raise Mistake("no tier of this cache is in an object store; lifecycle rules are for s3://, gs:// and az://")
    return found


def _change(
    cache: Cache, tier: Tier, expire_after: str | None, *, dry_run: bool, place: dict[str, Any]
) -> LifecycleChange:
    from ..errors import ConfigurationError
    from .examination.rules import change_of

    life = min((each for each in (cache.ttl, tier.max_ttl) if each is not None), default=None)
    try:
        return change_of(tier.backend, expire_after=expire_after, life=life, dry_run=dry_run, **_for(tier, place))
    except ConfigurationError as error:
        if expire_after is None and "expire_after" in str(error):
            raise Mistake(f"{error}: --expire-after 30d, for example") from None
        raise


def _place(subscription: str | None, resource_group: str | None, management_url: str | None) -> dict[str, Any]:
    given = {"subscription_id": subscription, "resource_group": resource_group, "management_url": management_url}
    return {name: value for name, value in given.items() if value}


def _for(tier: Tier, place: dict[str, Any]) -> dict[str, Any]:
    return place if tier.backend.scheme.startswith("az") else {}


def _warn(tiers: Sequence[Tier], expire_after: str | None) -> None:
    from ..packed import PackedBackend
    from .examination.rules import BY_AGE

    for tier in tiers:
        own_times = isinstance(tier.backend, PackedBackend) or (tier.backend.scheme == "gs" and expire_after is None)
        if not own_times and tier.max_ttl is None:
            say(f"{tier.label}: {BY_AGE}", style="yellow")
        if not getattr(getattr(tier.backend, "inner", tier.backend), "prefix", ""):
            say(
                f"{tier.label} has no prefix: the rules are for the whole bucket, and what others keep in it",
                style="yellow",
            )


def _tell(changes: dict[str, LifecycleChange], *, as_json: bool) -> None:
    if as_json:
        show_json({"tiers": [{"tier": name, "change": change} for name, change in changes.items()]})
        return
    for name, change in changes.items():
        show(f"{name}: {change}")
