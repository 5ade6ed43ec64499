"""`make peers`: known defects of caches, each reproduced by running it, for tiercache and for its peers.

    python benchmarks/peers/run.py [--only cashews:delete-during-load …] [--list] [--write] [--json FILE] [--here]

`--only` takes a library, a row, or library:row, and shows all of what happened. Each cell of the table is a process of
its own, ended when it hangs. Exits with 1 if a row of tiercache failed, whatever the others did.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from subprocess import PIPE, STDOUT, TimeoutExpired, call, run

import home

HANG_SECONDS = 120
MARK = "outcome: "
OURS = "tiercache"


def main(arguments: list[str]) -> int:
    """Run what the arguments ask for, in the environment of the table unless it is to be this one."""
    parser = argparse.ArgumentParser(prog="make peers", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--only", action="append", metavar="LIBRARY:ROW", help="a library, a row, or both; repeatable")
    parser.add_argument("--list", action="store_true", help="print the rows, and end")
    parser.add_argument("--write", action="store_true", help="write docs/peers.md")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the outcomes to this file, too")
    parser.add_argument("--here", action="store_true", help="in the interpreter that runs this, without pip")
    parser.add_argument("--together", action="store_true", help="all in one process, without the guard against hangs")
    parser.add_argument("--cell", nargs=3, metavar=("FILE", "ROW", "SETTING"), help=argparse.SUPPRESS)
    parser.add_argument("--redis", metavar="URL", help="a Redis to use, and to empty; left out: one is started")
    options = parser.parse_args(arguments)
    if options.cell:
        return one_cell(*options.cell, options.redis)
    if not options.here and not home.is_inside():
        home.prepare()
        return call([str(home.PYTHON), __file__, *arguments], env=home.variables())
    sys.path.append(str(home.ROOT / "benchmarks"))
    if options.list:
        import defects  # noqa: F401
        from bench import ROWS

        print("\n".join(f"{row.name:22} {row.title}" for row in ROWS.values()))
        return 0
    return table(options)


def table(options: argparse.Namespace) -> int:
    """Run the cells and show them."""
    import report

    cells, missing = report.cells(options.only or [])
    if not cells:
        raise SystemExit("no such library or row; --list names the rows")
    with redis(options.redis) as url:
        if options.together:
            outcomes = together(cells, url)
        else:
            outcomes = []
            for cell in cells:
                begun = time.monotonic()
                outcomes.append(in_process(cell, url))
                report.progress(outcomes[-1], time.monotonic() - begun)
    about = report.about(missing)
    report.show(outcomes, about, details=bool(options.only))
    if options.json:
        options.json.write_text(json.dumps({"about": about, "outcomes": [vars(one) for one in outcomes]}, indent=1) + "\n")
    if options.write:
        (home.ROOT / "docs" / "peers.md").write_text(report.markdown(outcomes, about), encoding="utf-8")
    return int(any(one.verdict == "fail" and one.library == OURS for one in outcomes))


def in_process(cell, url):  # type: ignore[no-untyped-def]
    """Run a cell in a process of its own."""
    import report

    command = [sys.executable, __file__, "--cell", cell.file, cell.row, cell.setting]
    command += ["--redis", url] if url else []
    try:
        done = run(command, stdout=PIPE, stderr=STDOUT, text=True, timeout=HANG_SECONDS, env=home.variables())
    except TimeoutExpired:
        return report.Ended(**vars(cell), verdict="fail", happened=f"it hung: ended after {HANG_SECONDS} s")
    lines = done.stdout.splitlines()
    for line in reversed(lines):
        if line.startswith(MARK):
            return report.Ended(**vars(cell), **json.loads(line.removeprefix(MARK)))
    last = lines[-1] if lines else "no output"
    return report.Ended(**vars(cell), verdict="fail", happened=f"the process died ({done.returncode}): {last}"[:200])


def together(cells, url):  # type: ignore[no-untyped-def]
    """Run the cells in this process, a few at a time."""
    from concurrent.futures import ThreadPoolExecutor

    import report

    def one(numbered):  # type: ignore[no-untyped-def]
        number, cell = numbered
        where = url and f"{url.rpartition('/')[0]}/{number % 16}"
        begun = time.monotonic()
        ended = report.Ended(**vars(cell), **outcome(cell.file, cell.row, cell.setting, where))
        report.progress(ended, time.monotonic() - begun)
        return ended

    with ThreadPoolExecutor(4) as pool:
        return list(pool.map(one, enumerate(cells)))


def one_cell(file: str, row: str, setting: str, url: str | None) -> int:
    """Run one cell in this process, print how it ended, and leave without waiting for what may hang."""
    warnings.simplefilter("ignore")
    ended = outcome(file, row, setting, url)
    print(MARK + json.dumps(ended), flush=True)
    os._exit(0)


def outcome(file: str, row: str, setting: str, url: str | None) -> dict[str, str]:
    """Run one row for one library in one setting."""
    import defects  # noqa: F401
    import libraries
    from bench import ROWS, Bench
    from library import NotOfferedError

    library, program = libraries.load(file), ROWS[row]
    settings = library.settings.get(program.topic, library.ordinary)
    bench = Bench(library, settings[setting], url)
    try:
        ended = program.run(bench)
    except NotOfferedError as reason:
        return {"verdict": "n/a", "happened": str(reason)}
    except Exception as error:
        return {"verdict": "fail", "happened": f"the row ended with {type(error).__name__}: {error}"[:300]}
    finally:
        bench.close()
    return {"verdict": ended.verdict, "happened": ended.happened}


@contextlib.contextmanager
def redis(url: str | None) -> Iterator[str | None]:
    """Yield the URL of a Redis for the rows; None where there is none."""
    if url:
        yield url
        return
    from tiercache.testing import servers

    try:
        context = servers.redis_server()
        server = context.__enter__()
    except servers.ServerUnavailable as unavailable:
        print(f"rows that need Redis are left out: {unavailable}")
        yield None
        return
    try:
        yield server.url
    finally:
        context.__exit__(None, None, None)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
