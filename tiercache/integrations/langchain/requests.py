"""LangChain's texts of a request -> a key: what they do not say about it is added, or there is no key."""

from __future__ import annotations

import builtins
import json
import re
import sys
from typing import Any
from weakref import WeakKeyDictionary

from pydantic import BaseModel

from ...keys import digest

_VERSION = "langchain.llm.1"
_CLASS = re.compile(r"<class '([^']*)'>")
_ADDRESS = re.compile(r"\bat 0x[0-9a-fA-F]+\b")
_schemas: WeakKeyDictionary[type, str] = WeakKeyDictionary()


def key_material(prompt: str, llm_string: str, scope: str) -> str | None:
    """Return a digest of the request; None: it says too little about itself.

    LangChain writes a schema that was given as a class by the class's name alone, so that an edited one would get the
    answers of the old one: its JSON schema is added. A class that its name does not lead to has no key, nor has an
    object that is written by its address in memory, where another process may have another one.
    """
    if _ADDRESS.search(llm_string):
        return None
    try:
        schemas = [_schema_of(name) for name in dict.fromkeys(_CLASS.findall(llm_string))]
    except Exception:  # noqa: BLE001 - a class that cannot tell its schema has no key, and is LangChain's to refuse
        return None
    if None in schemas:
        return None
    return digest(_VERSION, scope, prompt, llm_string, schemas)


def _schema_of(name: str) -> str | None:
    found = _found(name)
    if not isinstance(found, type):
        return None
    if found.__module__ == "builtins":
        return ""
    if not issubclass(found, BaseModel):
        return None
    schema = _schemas.get(found)
    if schema is None:
        schema = _schemas[found] = json.dumps(found.model_json_schema(), sort_keys=True)
    return schema


def _found(name: str) -> Any:
    """Return what the full name of a class leads to, without importing anything."""
    parts = name.split(".")
    for length in range(len(parts) - 1, 0, -1):
        found: Any = sys.modules.get(".".join(parts[:length]))
        if found is not None:
            for part in parts[length:]:
                found = getattr(found, part, None)
            return found
    return getattr(builtins, name, None)
