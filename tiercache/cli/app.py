"""The commands of `tiercache`, in the order in which `--help` lists them."""

from __future__ import annotations

from typing import Annotated

import typer

from . import bench, copy, demo, doctor, export, import_, inspect, lifecycle, ls, plan, rm, stats, sweep, warm
from .failures import reported

app = typer.Typer(
    name="tiercache",
    help="Look after a tiercache: check its tiers, see what is in it, move it, size it.",
    epilog="Every command takes the cache as URLs, as --config FILE, or from TIERCACHE_URLS or TIERCACHE_CONFIG. "
    "Exit codes: 0 done, 1 the answer is no, 2 a mistake in options or configuration, 3 a store failed or the output "
    "cannot be written, 130 Ctrl-C, 141 nobody reads the output any more.",
    no_args_is_help=True,
    rich_markup_mode=None,  # its boxes take a tenth of a second to import
    pretty_exceptions_enable=False,  # they show local variables, and those hold secrets
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        from .. import __version__

        typer.echo(f"tiercache {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Look after a tiercache: check its tiers, see what is in it, move it, size it."""


app.command("doctor", short_help="Check each tier, and say how to mend it.")(doctor.doctor)
app.command("stats", short_help="What other processes report, summed.")(stats.stats)
app.command("inspect", short_help="One key: each tier's copy of it.")(inspect.inspect)
app.command("ls", short_help="List entries.")(ls.ls)
app.command("rm", short_help="Delete entries; shows first which.")(rm.rm)
app.command("warm", short_help="Bring entries up into fast tiers.")(warm.warm)
app.command("copy", short_help="Copy entries from chain to chain.")(copy.copy)
app.command("export", short_help="Write entries into one file.")(export.export)
app.command("import", short_help="Read entries from such a file.")(import_.import_)
app.command("sweep", short_help="Delete what is expired in the buckets.")(sweep.sweep)
app.add_typer(lifecycle.app, name="lifecycle", short_help="A bucket's rules: show, compare, set them.")
app.command("bench", short_help="Measure this chain, tier by tier.")(bench.bench)
app.command("plan", short_help="Size the tiers by an access log.")(plan.plan)
app.command("demo", short_help="Show what a cache does, with no server.")(demo.demo)


def run() -> None:
    """Run the command line of this process and exit."""
    reported(lambda: app(prog_name="tiercache"))
