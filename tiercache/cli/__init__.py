"""The `tiercache` command: one file a command, registered in `app`; see `tiercache --help`."""

from __future__ import annotations

import sys

EXTRA = "the tiercache command needs packages that are not installed: pip install 'tiercache[cli]'"


def main() -> None:
    """Run the command line of this process and exit: what `tiercache` on the command line calls.

    Exit codes: 0 done; 1 the answer is no, or not well; 2 a mistake in options or configuration, or a missing extra;
    3 a store failed on the way; 130 Ctrl-C.
    """
    try:
        import rich  # noqa: F401
        import typer  # noqa: F401
    except ImportError:
        print(EXTRA, file=sys.stderr)
        sys.exit(2)
    from .app import run

    run()
