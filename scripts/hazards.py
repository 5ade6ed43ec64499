"""Checks that nothing in the tree turns bytes into code: no pickle and its kin, no eval, no unsafe loader."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
ROOMS = ("tiercache", "backends", "examples", "benchmarks", "scripts", "infra")
MODULES = {
    "pickle": "runs what it reads",
    "_pickle": "runs what it reads",
    "cPickle": "runs what it reads",
    "cloudpickle": "runs what it reads",
    "dill": "runs what it reads",
    "joblib": "reads pickles",
    "jsonpickle": "runs what it reads",
    "marshal": "crashes on, and runs, what it reads",
    "shelve": "reads pickles",
    "code": "runs text",
    "codeop": "runs text",
    "pandas.io.pickle": "reads pickles",
}
CALLS = {"eval", "exec", "compile", "__import__"}
LOADERS = {"Loader", "UnsafeLoader", "FullLoader", "CLoader", "CFullLoader", "CUnsafeLoader"}
# By path and name: what is allowed, and why.
ALLOWED = {
    ("tiercache/config/discovery.py", "__import__"),  # the module of a built-in backend, by its own constant
    ("benchmarks/peers/defects/stored.py", "pickle"),  # shows that other caches load what somebody planted
}


def faults() -> Iterator[str]:
    """Yield each use of something that runs what it reads."""
    for room in ROOMS:
        for path in sorted((ROOT / room).rglob("*.py")):
            relative = path.relative_to(ROOT).as_posix()
            tree = ast.parse(path.read_text(encoding="utf-8"))
            for line, name, why in _found(tree):
                if (relative, name) not in ALLOWED:
                    yield f"{relative}:{line}: {name} {why}"


def _found(tree: ast.AST) -> Iterator[tuple[int, str, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _module(node.lineno, alias.name)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield from _module(node.lineno, node.module or "")
            for alias in node.names:
                yield from _module(node.lineno, f"{node.module}.{alias.name}")
        elif isinstance(node, ast.Call):
            yield from _call(node)


def _module(line: int, name: str) -> Iterator[tuple[int, str, str]]:
    for module in {name, name.split(".")[0]} & MODULES.keys():
        yield line, module, MODULES[module]


def _call(node: ast.Call) -> Iterator[tuple[int, str, str]]:
    name = _dotted(node.func)
    last = name.rpartition(".")[2]
    arguments = [*node.args, *(keyword.value for keyword in node.keywords)]
    if name in CALLS or name in {f"builtins.{call}" for call in CALLS}:
        yield node.lineno, last, "runs text"
    if last in ("import_module", "__import__") and node.args and isinstance(node.args[0], ast.Constant):
        yield from _module(node.lineno, str(node.args[0].value))
    if name in ("yaml.load", "yaml.load_all") and not any("Safe" in _dotted(one) for one in arguments):
        yield node.lineno, name, "makes any object: call yaml.safe_load"
    if last in ("unsafe_load", "full_load", "read_pickle"):
        yield node.lineno, last, "makes any object"
    if any(_dotted(one).rpartition(".")[2] in LOADERS for one in arguments if name.startswith("yaml.")):
        yield node.lineno, name, "has a loader that makes any object"
    for keyword in node.keywords:
        if keyword.arg == "allow_pickle" and not (isinstance(keyword.value, ast.Constant) and not keyword.value.value):
            yield node.lineno, "allow_pickle", "reads pickles"
    if name == "torch.load":
        yield node.lineno, name, "reads pickles"


def _dotted(node: ast.AST) -> str:
    """Return `a.b.c` for names and attributes, else nothing."""
    if isinstance(node, ast.Name):
        return node.id
    return f"{_dotted(node.value)}.{node.attr}" if isinstance(node, ast.Attribute) else ""


if __name__ == "__main__":
    found = list(faults())
    print("\n".join(found) or "nothing runs what it reads")
    sys.exit(bool(found))
