"""`make peers`: known defects of caches, each reproduced by running it, for tiercache and for its peers.

    python benchmarks/peers/run.py [--only cashews:delete-during-load …] [--list] [--write] [--json FILE] [--here]
    python benchmarks/peers/run.py --only tiercache --earlier FILE --json FILE --write    # the page, tiercache anew

`--only` takes a library, a row, or library:row, and says what was done, too. A library's rows run in a process of its
own, which is ended and started anew when it hangs. Exits with 1 if a row of tiercache failed, whatever the others did.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import queue
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from subprocess import call
from typing import TYPE_CHECKING

import home

if TYPE_CHECKING:
    from report import Cell, Ended

OURS = "tiercache"


def main(arguments: list[str]) -> int:
    """Run what the arguments ask for, in the environment of the table unless it is to be this one."""
    parser = argparse.ArgumentParser(prog="make peers", description="known defects of caches, run")
    parser.add_argument("--only", action="append", metavar="LIBRARY:ROW", help="a library, a row, or both; repeatable")
    parser.add_argument("--list", action="store_true", help="print the rows, and end")
    parser.add_argument("--write", action="store_true", help="write docs/peers.md")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the outcomes to this file, too")
    parser.add_argument("--earlier", type=Path, metavar="FILE", help="outcomes of a --json, for what is not run now")
    parser.add_argument("--here", action="store_true", help="in the interpreter that runs this, without pip")
    parser.add_argument("--together", action="store_true", help="all in one process, without the guard against hangs")
    parser.add_argument("--redis", metavar="URL", help="a Redis to use, and to EMPTY; left out: one is started")
    parser.add_argument("--worker", metavar="FILE", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.write and options.only and not options.earlier:
        parser.error("--write with --only writes a page of these rows alone: give the others with --earlier")
    if not options.here and not options.worker and not home.is_inside():
        home.prepare()
        return call([str(home.PYTHON), __file__, *arguments], env=home.variables())
    if options.worker:
        import worker

        worker.serve(options.worker, options.redis)
    if options.list:
        import report

        print("\n".join(f"{row.name:22} {row.title}" for row in report.ROWS.values()))
        return 0
    return table(options)


def table(options: argparse.Namespace) -> int:
    """Run the cells and show them."""
    import report

    cells, missing = report.cells(options.only or [])
    if not cells:
        raise SystemExit("no such library or row; --list names the rows")
    with redis(options.redis) as url:
        outcomes = (together if options.together else one_by_one)(cells, url)
    about = report.about(missing)
    if options.earlier:
        outcomes = report.merged(json.loads(options.earlier.read_text())["outcomes"], outcomes)
    report.show(outcomes, about, details=bool(options.only))
    if options.json:
        found = {"about": about, "outcomes": [vars(one) for one in outcomes]}
        options.json.write_text(json.dumps(found, indent=1) + "\n")
    if options.write:
        (home.ROOT / "docs" / "peers.md").write_text(report.markdown(outcomes, about), encoding="utf-8")
    return int(any(one.verdict == "fail" and one.library == OURS for one in outcomes))


def one_by_one(cells: list[Cell], url: str | None) -> list[Ended]:
    """Run the cells one after another, a process for each library."""
    import report
    from worker import Worker

    outcomes: list[Ended] = []
    workers: dict[str, Worker] = {}
    for cell in cells:
        if cell.file not in workers:
            for other in workers.values():
                other.end()
            workers[cell.file] = Worker(cell.file, url)
        begun = time.monotonic()
        outcomes.append(report.Ended(**vars(cell), **workers[cell.file].run(cell.row, cell.setting)))
        report.progress(outcomes[-1], time.monotonic() - begun)
    for one in workers.values():
        one.end()
    return outcomes


def together(cells: list[Cell], url: str | None) -> list[Ended]:
    """Run the cells in this process, four at a time; no two that run have one database of the Redis."""
    import report
    from worker import outcome

    free: queue.Queue[int] = queue.Queue()  # the one that was left longest ago comes first
    for number in range(16):
        free.put(number)

    def run(cell: Cell) -> Ended:
        begun, database = time.monotonic(), free.get()
        where = url and f"{url.rpartition('/')[0]}/{database}"
        ended = report.Ended(**vars(cell), **outcome(cell.file, cell.row, cell.setting, where))
        free.put(database)
        report.progress(ended, time.monotonic() - begun)
        return ended

    with ThreadPoolExecutor(4) as pool:
        return list(pool.map(run, cells))


@contextlib.contextmanager
def redis(url: str | None) -> Iterator[str | None]:
    """Yield the URL of a Redis for the rows; None where there is none."""
    from tiercache.testing import servers

    if url:
        yield url
        return
    with contextlib.ExitStack() as stack:
        try:
            server = stack.enter_context(servers.redis_server())
        except servers.ServerUnavailable as unavailable:
            print(f"rows that need Redis are left out: {unavailable}")
            server = None
        yield server and server.url


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
