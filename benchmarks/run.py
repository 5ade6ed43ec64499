"""`make bench`: tiercache beside its peers, as ratios within one run.

    python benchmarks/run.py [--quick] [--only l1 --only beside-redis …] [--docs] [--json FILE] [--markdown FILE]

`--docs` (`make bench-docs`) keeps the figures in `docs/performance.json` and writes the tables and plots of
`docs/performance.md` from them. With `--only`, the other areas keep the figures that they had.

Exits with 0 also when a bound is missed: a shared machine must not fail a build. The table says what was missed.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import environment

AREAS = {
    "l1": "l1",
    "memory": "memory_footprint",
    "redis": "redis_l2",
    "s3": "s3_l3",
    "gcs": "gcs_l3",
    "azure": "azure_l3",
    "packed": "packed",
    "disk": "disk",
    "stampede": "stampede",
    "coherence": "coherence",
    "llm": "llm",
    "streams": "llm_streams",
    "beside-memory": "beside.on_memory",
    "beside-disk": "beside.on_disk",
    "beside-redis": "beside.on_redis",
    "beside-s3": "beside.on_s3",
    "beside-http": "beside.on_http",
    "beside-langchain": "beside.on_langchain",
    "beside-growth": "beside.growth",
}


def main(arguments: list[str]) -> int:
    """Run what the arguments ask for, in the benchmark's own environment."""
    parser = argparse.ArgumentParser(prog="make bench", description="tiercache beside its peers")
    parser.add_argument("--quick", action="store_true", help="fewer rounds, smaller tables")
    parser.add_argument("--only", action="append", choices=AREAS, metavar="AREA", help=f"one of {', '.join(AREAS)}")
    parser.add_argument(
        "--docs", action="store_true", help="write the figures, tables and plots of docs/performance.md"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to this file, too")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the table as Markdown, too")
    options = parser.parse_args(arguments)
    if not environment.is_inside():
        environment.prepare()
        return environment.run_inside(Path(__file__), arguments)
    return _measure(options)


def _measure(options: argparse.Namespace) -> int:
    import figures
    import peers
    import table
    from harness import Row, Scale

    started = datetime.now(UTC)
    load = os.getloadavg() if hasattr(os, "getloadavg") else None  # before: the benchmark itself keeps a core busy
    for name, reason in peers.missing().items():
        print(f"{name} is not here: {reason}")
    about: dict[str, Any] = {
        "date": started.date().isoformat(),
        "quick": options.quick,
        "load": load and round(load[0], 1),
        "machine": environment.machine(),
        "versions": environment.versions(),
    }
    found: list[Row] = []
    for name in options.only or AREAS:
        module = importlib.import_module(AREAS[name])
        rows: list[Row] = []
        with table.progress(name) as show:
            begun = time.monotonic()
            for row in module.rows(Scale(quick=options.quick)):
                rows.append(row)
                show(row)
        print(f"{name}: {time.monotonic() - begun:.0f} s", flush=True)
        found += rows
        if options.docs:  # at once: what fails later loses nothing
            figures.keep({name: [row.as_dict() for row in rows]}, about)
    table.show(found, about)
    if options.json:
        options.json.write_text(json.dumps(about | {"rows": [row.as_dict() for row in found]}, indent=1) + "\n")
    if options.markdown:
        options.markdown.write_text(table.markdown(found))
    if options.docs:
        import page
        import plots

        plots.draw(figures.read())
        page.write()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
