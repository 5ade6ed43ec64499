"""One file a library: how its documentation says that it is used, its strongest setting for each problem included."""

from __future__ import annotations

import importlib

from library import Library

FILES = ("tiercache", "cashews", "aiocache", "dogpile", "key_value", "diskcache", "litellm")


def load(file: str) -> Library:
    """Return the library of a file; ImportError where it is not installed."""
    library: Library = importlib.import_module(f"libraries.on_{file}").LIBRARY
    return library
