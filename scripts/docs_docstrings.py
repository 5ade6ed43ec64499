"""A griffe extension: what a docstring says of several parameters (`one, two: text`) becomes an entry each."""

from __future__ import annotations

import re
from typing import Any

from griffe import Extension

_GROUP = re.compile(r"^( {4})((?:\*{0,2}\w+, )+\*{0,2}\w+): (.*(?:\n {5,}\S.*)*)", re.MULTILINE)
_SECTION = re.compile(r"^(?:Args|Attributes):\n(?: {4}.*\n?|\n(?= {4}))*", re.MULTILINE)


class OneEach(Extension):
    """Splits what is said of several names."""

    def on_object(self, *, obj: Any, **_: Any) -> None:
        """Rewrite the docstring of a module, class, function or attribute before it is parsed."""
        if obj.docstring is not None:
            obj.docstring.value = split(obj.docstring.value)


def split(docstring: str) -> str:
    """Return the docstring with an entry for each name."""
    return _SECTION.sub(lambda section: _GROUP.sub(_each, section[0]), docstring)


def _each(group: re.Match[str]) -> str:
    return "\n".join(f"{group[1]}{name}: {group[3]}" for name in group[2].split(", "))
