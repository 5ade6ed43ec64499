"""The commands of `tiercache`, in the order in which `--help` lists them."""

from __future__ import annotations

from typing import Annotated

import typer

from . import bench, copy, demo, doctor, export, import_, lifecycle, sweep, warm
from .failures import reported

app = typer.Typer(
    name="tiercache",
    help="Look after a tiercache: check its tiers, see what is in it, move it, size it.",
    epilog="Every command takes the cache as URLs, as --config FILE, or from TIERCACHE_URLS or TIERCACHE_CONFIG. "
    "Exit codes: 0 done, 1 the answer is no, 2 a mistake in options or configuration, 3 a store failed, 130 Ctrl-C.",
    no_args_is_help=True,
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


app.command("doctor")(doctor.doctor)
app.command("warm")(warm.warm)
app.command("copy")(copy.copy)
app.command("export")(export.export)
app.command("import")(import_.import_)
app.command("sweep")(sweep.sweep)
app.add_typer(lifecycle.app, name="lifecycle")
app.command("bench")(bench.bench)
app.command("demo")(demo.demo)


def run() -> None:
    """Run the command line of this process and exit."""
    reported(lambda: app(prog_name="tiercache"))
