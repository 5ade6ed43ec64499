"""`tiercache warm`: entries come up into the shared fast tiers of a chain."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .failures import Mistake, No
from .moving import unhurry
from .output import AsJson, Yes, agreed, counted, progress, say, show_json, show_table, size
from .source import Config, Namespace, Urls, check_there, opened, said_in

if TYPE_CHECKING:
    from ..cache import Cache
    from ..chain import TierChain
    from ..transfer import WarmReport


def warm(
    urls: Urls = None,
    config: Config = None,
    namespace: Namespace = None,
    keys: Annotated[
        Path | None, typer.Option("--keys", metavar="FILE", help="A file of keys, one a line; - is stdin.")
    ] = None,
    prefix: Annotated[str, typer.Option("--prefix", help="Only keys that start so, as the slowest tier lists.")] = "",
    limit: Annotated[int | None, typer.Option(min=1, help="Entries that come up, at most.")] = None,
    max_bytes: Annotated[
        str | None,
        typer.Option("--max-bytes", help="Bytes that come up, at most: 2GiB. For Redis, which tells no bound."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count what would come up, and copy nothing.")] = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Copy a namespace's entries up from the slowest tier into the faster ones that outlive this command.

    It ends when a faster tier is full to 95 %, as far as that tier tells, or --max-bytes is reached. What is up already
    stays. The memory of your own processes is warmed by `cache.warm(keys)` in them.

    A tier that does not tell what it may hold, as Redis, is not filled unasked: without --max-bytes, --limit or --keys
    the slowest tier is counted first, and --yes, or your answer, is the agreement to all of it.

    Exits with 1 when no entry has such a key.
    """
    if keys is not None and prefix:
        raise Mistake("give --keys or --prefix, not both")
    with opened(urls, config, namespace, makes=True) as cache:
        check_there(cache.chain.tiers[-1:], said_in(urls, config))
        unhurry(cache.chain)
        _without_memory(cache.chain)
        from ..transfer import warm as warm_up

        unbounded = [] if dry_run or max_bytes or limit or keys else _unbounded(cache.chain)
        if unbounded and not yes:
            _ask(cache, prefix, unbounded)
        with progress(bytes_too=True) as bar:
            task: list[Any] = []

            def tell(report: WarmReport) -> None:
                if not task:
                    task.append(bar.add_task("warm", total=report.total, unit="entries"))
                bar.update(task[0], completed=report.examined, moved=report.bytes)

            report = warm_up(
                cache,
                None if keys is None else list(_keys(keys)),
                prefix=prefix,
                limit=limit,
                max_bytes=max_bytes,
                dry_run=dry_run,
                progress=tell,
            )
    if as_json:
        show_json({"dry_run": dry_run, "report": report})
    else:
        came = "would come up" if dry_run else "came up"
        show_table(
            [came, "bytes", "up already", "in no tier"],
            [(f"{report.warmed:,}", size(report.bytes), f"{report.warm:,}", f"{report.missing:,}")],
            numbers=[came, "bytes", "up already", "in no tier"],
        )
    if report.stopped == "full":
        say("the fast tiers have no more room: give them more, or fewer keys", style="yellow")
    elif report.stopped == "limit":
        say("the limit is reached", style="yellow")
    if not report.warmed and not report.warm and report.stopped is None:
        raise No("nothing came up: no entry has such a key")


def _unbounded(chain: TierChain) -> list[str]:
    """The faster tiers of which nobody knows what they may hold."""
    from ..transfer.warming import room_of

    return [tier.label for tier in chain.tiers[:-1] if tier.write != "never" and room_of(tier) is None]


def _ask(cache: Cache, prefix: str, tiers: list[str]) -> None:
    """Show what would come up, and ask.

    Raises:
        Mistake: nobody is there to answer.
        No: the answer is no.
    """
    from ..transfer import warm as warm_up

    report = warm_up(cache, prefix=prefix, dry_run=True)
    if not report.warmed:
        return
    names = " and ".join(tiers)
    say(
        f"{names} {'tells' if len(tiers) == 1 else 'tell'} no bound: --max-bytes 2GiB or --limit N sets one. "
        f"{counted(report.warmed, 'entry')} would come up, {size(report.bytes)} as they are stored"
    )
    if not agreed(f"Bring all of them up into {names}?", yes=False):
        raise No("nothing came up")


def _without_memory(chain: TierChain) -> None:
    """Leave out the memory of this command, which ends with it."""
    for tier in chain.tiers:
        if tier.local:
            tier.write = "never"
    if all(tier.write == "never" for tier in chain.tiers[:-1]):
        raise Mistake(
            "no faster tier outlives this command: name one, such as redis://…, before the slowest; the memory of your "
            "processes is warmed by cache.warm(keys) in them"
        )


def _keys(file: Path) -> Iterator[str]:
    try:
        text = (sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError):
        raise Mistake(f"{file} cannot be read as a list of keys in UTF-8, one a line") from None
    # Not splitlines(): it also breaks at letters that a key may have, such as U+2028.
    yield from (line for line in text.replace("\r\n", "\n").split("\n") if line)
