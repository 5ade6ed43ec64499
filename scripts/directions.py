"""Checks that dependencies point one way: the core knows no vendor SDK and no backend, lower rooms no upper ones."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
VENDORS = {"boto3", "botocore", "redis", "google", "azure", "moto"}
# What a backend package may import from the core.
FOR_BACKENDS = {
    "backend",
    "objectstore",
    "objects",
    "mirror",
    "parallel",
    "pricing",
    "entry",
    "envelope",
    "errors",
    "findings",
    "guard",
    "keys",
    "logs",
    "notice",
    "pool",
    "units",
}
# Packages whose files stand on different floors.
STAIRS = {"coherence", "config", "computing", "epochs", "health", "journal", "sealing"}
# From low to high: a room imports only from its own floor or below.
FLOORS = [
    {"errors", "findings", "logs", "noted", "units", "fork", "retries", "this_call", "spelling"},
    {"ticker", "pauses", "waits", "shutdown"},
    {"pricing"},
    {"entry", "keys", "arrays", "pool", "eviction", "breaker"},
    {"savings"},
    {"stats"},
    {
        "extensions",
        "keyring",
        "contents",
        "envelope",
        "sealed",
        "codec",
        "result",
        "storage_class",
        "marks",
        "options",
    },
    {"switches"},
    {"begun", "turns"},
    {"backend", "carrier", "fence", "guard", "journal", "notice"},
    {"flow", "bounded"},
    {"call", "healing"},
    {"slots"},
    {"hits", "recording"},
    {"memory", "disk", "objectstore"},
    {"packed"},
    {"tier"},
    {"singleflight"},
    # of tiercache.config: the package itself stands for its names that are about URLs
    {"complaints", "positions"},
    {"accepted", "discovery", "references", "settings"},
    {"urls"},
    {"config", "toml"},
    {"environment"},
    {"operations"},
    {"table"},
    {"agreement"},
    {"refresher"},
    {"drainer", "missed"},
    {"hearsay", "lease", "telling"},
    {"news"},
    {"listening"},
    {"report_places"},
    {"reports"},
    {"reporting"},
    {"chain"},
    {"flows"},
    {"decorator", "pending"},
    {"upkeep"},
    {"many"},
    {"factories"},
    {"cache"},
    {"loading"},
    {"described"},
    {"transfer", "planning"},
    {"slips"},
    {"llm"},
    {"integrations", "cli"},
]
FLOOR_OF = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}


def imports(path: Path) -> Iterator[tuple[str, int]]:
    """Yield each module that a file imports when it runs (not those for type checkers alone), and the line."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    checking = {
        id(node)
        for branch in ast.walk(tree)
        if isinstance(branch, ast.If) and ast.unparse(branch.test) == "TYPE_CHECKING"
        for node in ast.walk(branch)
    }
    package = path.relative_to(ROOT).with_suffix("").parts[:-1]
    for node in ast.walk(tree):
        if id(node) in checking:
            continue
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            module = ".".join(part for part in (base, node.module) if part)
            if node.level and not node.module:
                yield from ((f"{module}.{alias.name}", node.lineno) for alias in node.names)
            else:
                yield module, node.lineno


def room_of(module: str) -> str | None:
    """Return the room of a core module: `tiercache.flows.read` is in `flows`, `tiercache.health.breaker` is its own."""
    parts = module.split(".")
    if parts[0] != "tiercache" or len(parts) < 2:
        return None
    return parts[2] if parts[1] in STAIRS and len(parts) > 2 else parts[1]


def faults() -> Iterator[str]:
    """Yield each import that points the wrong way."""
    for path in sorted((ROOT / "tiercache").rglob("*.py")):
        relative = path.relative_to(ROOT)
        if "testing" in relative.parts or (relative.name == "__init__.py" and len(relative.parts) == 2):
            continue
        here = room_of(".".join(relative.with_suffix("").parts)) or ""
        if here == "__init__" and relative.parts[1] in STAIRS:
            continue
        if here not in FLOOR_OF:
            yield f"{relative}: give it a floor in {Path(__file__).name}"
            continue
        for module, line in imports(path):
            if module.split(".")[0] in VENDORS or module.startswith("tiercache_"):
                yield f"{relative}:{line}: the core imports {module}"
            room = room_of(module)
            lazy = room == "loading" and here in (
                "chain",
                "cache",
                "switches",
            )  # from_toml, from_env, reload, inside the function
            if room in FLOOR_OF and FLOOR_OF[room] > FLOOR_OF[here] and not lazy:
                yield f"{relative}:{line}: {here} imports {room}, which stands above it"
    for path in sorted((ROOT / "backends").rglob("*.py")):
        own = path.relative_to(ROOT / "backends").parts[0]
        for module, line in imports(path):
            room = room_of(module)
            if room is not None and room not in FOR_BACKENDS:
                yield f"{path.relative_to(ROOT)}:{line}: a backend imports tiercache.{room}"
            if module.startswith("tiercache_") and module.split(".")[0] != own:
                yield f"{path.relative_to(ROOT)}:{line}: {own} imports {module}"


if __name__ == "__main__":
    found = list(faults())
    print("\n".join(found) or "imports point one way")
    sys.exit(bool(found))
