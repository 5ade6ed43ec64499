"""The reference of the `tiercache` command as Markdown, made from the commands themselves (for `tables.py`)."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_type_hints

import typer

from tiercache.cli.app import app

NAME = "tiercache"
_COMPLETION = {"install_completion", "show_completion", "help"}


def reference() -> str:
    """Return a section for each command, in the order of `--help`."""
    group: Any = typer.main.get_command(app)
    return "\n\n".join(section for name, command in group.commands.items() for section in _sections(name, command))


def _sections(name: str, command: Any, above: str = NAME) -> Iterator[str]:
    path = f"{above} {name}"
    if hasattr(command, "commands"):
        yield f"## `{path}`\n\n{inspect.cleandoc(command.help or '')}"
        for each, inner in command.commands.items():
            yield from _sections(each, inner, path)
        return
    level = "##" if above == NAME else "###"
    yield f"{level} `{path}`\n\n```text\n{path} {_usage(command)}\n```\n\n{_text(command)}\n\n{_options(command)}"


def _usage(command: Any) -> str:
    arguments = [each for each in command.params if each.param_type_name == "argument"]
    return " ".join(["[OPTIONS]", *map(_argument, arguments)])


def _argument(argument: Any) -> str:
    name = argument.metavar or argument.name.upper()
    shown = f"{name}..." if argument.nargs != 1 else name
    return shown if argument.required else f"[{shown}]"


def _text(command: Any) -> str:
    return inspect.cleandoc(command.help or "").split("\f")[0]


def _options(command: Any) -> str:
    hints = get_type_hints(inspect.unwrap(command.callback))
    rows = ["| option | what |", "| --- | --- |"]
    for each in command.params:
        if each.name not in _COMPLETION:
            rows.append(f"| {_heads(each, hints.get(each.name))} | {_told(each)} |")
    return "\n".join(rows)


def _heads(parameter: Any, hint: Any) -> str:
    if parameter.param_type_name == "argument":
        return f"`{_argument(parameter)}`"
    value = "" if hint is bool else f" {parameter.metavar or _kind(hint)}"
    names = sorted([*parameter.opts, *parameter.secondary_opts], key=len, reverse=True)
    return ", ".join(f"`{name}{value}`" for name in names)


def _kind(hint: Any) -> str:
    """What stands for a value of the type."""
    kinds = get_args(hint) or (hint,)
    return "FILE" if Path in kinds else "N" if {int, float} & set(kinds) else "TEXT"


def _told(parameter: Any) -> str:
    text = (parameter.help or "").replace("|", "\\|")
    if parameter.default not in (None, False, (), "") and not callable(parameter.default):
        text += f" (default: `{parameter.default}`)"
    if getattr(parameter, "envvar", None):
        text += f" (or the variable `{parameter.envvar}`)"
    return text
