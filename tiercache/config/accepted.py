"""What an option accepts, by the annotation of the constructor that takes it: one source for URLs, files, variables."""

from __future__ import annotations

import inspect
import types
from collections.abc import Iterable, Mapping, Set
from datetime import date, datetime, time
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec

from ..errors import ConfigurationError
from ..spelling import did_you_mean
from .complaints import Said

_TOML = {bool: "a boolean", int: "a number", float: "a number", str: "text", list: "a list", dict: "a table"}


def parameters(target: type) -> Mapping[str, inspect.Parameter]:
    """Return the parameters of a constructor."""
    return inspect.signature(target).parameters


def converted(
    target: type, options: Mapping[str, Said], taken: Set[str] = frozenset(), others: Iterable[str] = ()
) -> dict[str, Any]:
    """Return the options with the types that the constructor's annotations ask for.

    Args:
        target: the class.
        options: what was said.
        taken: parameters that come from elsewhere.
        others: options that would be right in the same place, for the hint at a misspelt one.

    Raises:
        ConfigurationError: the constructor has no such option, or it takes no such value.
    """
    known = usable(target, taken)
    found: dict[str, Any] = {}
    for name, said in options.items():
        if name not in known:
            hint = did_you_mean(name, [*known, *others])
            raise ConfigurationError(f"{target.__name__} has no option {name!r}{hint}; it takes {', '.join(known)}")
        try:
            found[name] = value_of(said, known[name])
        except msgspec.ValidationError:
            why = _refusal(target, name, said, known[name])
        else:
            continue
        raise ConfigurationError(why)
    return found


def _refusal(target: type, name: str, said: Said, accepted: list[Any]) -> str:
    if isinstance(said.value, str):
        choices = [part for hint in accepted if is_literal(hint) for part in get_args(hint)]
        if choices:
            return f"{name}={said.value!r} must be one of {', '.join(choices)}{did_you_mean(said.value, choices)}"
        if said.lenient:
            return f"{name}={said.value!r} of {target.__name__} must be {wanted(accepted)}"
    return f"{name} of {target.__name__} must be {wanted(accepted)}, not {kind(said.value)}"


def usable(target: type, taken: Set[str] = frozenset()) -> dict[str, list[Any]]:
    """Return the parameters that text can be turned into, and the types that they take."""
    hints = get_type_hints(target.__init__)  # type: ignore[misc]
    found = {name: text_types(hints.get(name)) for name in parameters(target) if name not in taken}
    return {name: kinds for name, kinds in found.items() if kinds}


def text_types(hint: Any) -> list[Any]:
    """Return the types of a parameter that text can be turned into (a clock or a credentials object is none)."""
    if get_origin(hint) in (Union, types.UnionType):
        found = [part for option in get_args(hint) for part in text_types(option)]
        return [*found, None] if found and type(None) in get_args(hint) else found
    is_text = isinstance(hint, type) and issubclass(hint, (str, int, float))  # an int or a bool, an enum of str
    return [hint] if is_text or is_literal(hint) else []


def value_of(said: Said, accepted: list[Any]) -> Any:
    """Return what was said in the type that is accepted. Sizes and durations stay text, which constructors read.

    Raises:
        msgspec.ValidationError: it is of none of the types.
    """
    value = said.value
    if value == "none" and None in accepted and accepted != [str, None]:
        return None
    if said.lenient and bool in accepted and str(value).lower() in ("true", "false"):
        return str(value).lower() == "true"
    if isinstance(value, str) and str in accepted:
        return value
    if isinstance(value, bool) and bool not in accepted:
        raise msgspec.ValidationError("a boolean stands for nothing here")
    return msgspec.convert(value, Union[tuple(accepted)], strict=not said.lenient)  # noqa: UP007 - known only when it runs


def is_literal(hint: Any) -> bool:
    """Whether an annotation lists the texts that it accepts."""
    return get_origin(hint) is Literal and all(isinstance(part, str) for part in get_args(hint))


def wanted(accepted: list[Any]) -> str:
    """Return what an option takes, in words."""
    words = [repr(part) for hint in accepted if is_literal(hint) for part in get_args(hint)]
    if bool in accepted:
        words.append("true or false")
    if float in accepted or int in accepted:
        words.append("a number" if float in accepted else "a whole number")
    if any(isinstance(hint, type) and issubclass(hint, str) for hint in accepted):
        words.append("text")
    if None in accepted and accepted != [str, None]:
        words.append("'none'")
    return " or ".join(words)


def kind(value: Any) -> str:
    """Return what a value of a TOML file is, in words."""
    if isinstance(value, (datetime, date, time)):
        return "a date or time"
    return _TOML.get(type(value), type(value).__name__)
