"""Which model a LangChain `Embeddings` object asks, and what else about it changes the vectors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from langchain_core.embeddings import Embeddings
from pydantic import BaseModel, SecretBytes, SecretStr
from pydantic.fields import FieldInfo

from ...errors import ConfigurationError, UncacheableValue
from ...keys import digest

_NAMES = ("model", "model_name", "model_id")
# Fields of LangChain's own packages that say how the model is reached, not which it is or what it makes of a text.
_TRANSPORT = frozenset(
    {
        *("client", "async_client", "http_client", "http_async_client", "session"),
        *("max_retries", "retry_min_seconds", "retry_max_seconds", "request_timeout", "timeout", "max_concurrency"),
        *("chunk_size", "batch_size", "embed_batch_size", "multi_process", "num_workers"),
        *("show_progress", "show_progress_bar", "verbose", "openai_proxy", "cache_folder", "credentials_profile_name"),
        *("validate_model_on_init", "keep_alive"),
    }
)


def identity_of(
    underlying: Embeddings, model: str | None, params: Mapping[str, Any] | None
) -> tuple[str, dict[str, Any]]:
    """Return the model's name and what else is part of the key; what the caller says goes before what is read.

    Raises:
        ConfigurationError: the caller has to say it.
    """
    kind = type(underlying).__name__
    told = model is not None
    if model is None:
        model = _model_of(underlying)
        if model is None:
            raise ConfigurationError(
                f"which model {kind} asks cannot be read from it: pass model='…', because vectors of two models must "
                "never meet"
            )
    if params is not None:
        return model, dict(params)
    fields = _fields_of(underlying)
    if not told:
        return model, {"langchain.class": kind, **fields}
    stated = _model_of(underlying)  # one name told for two models does not bring their vectors together
    return model, fields if stated in (None, model) else {"langchain.model": stated, **fields}


def _model_of(underlying: Embeddings) -> str | None:
    """Return the one name that the object's fields state."""
    if not isinstance(underlying, BaseModel):
        return None
    names = {getattr(underlying, name) for name in _NAMES if name in type(underlying).model_fields}
    stated = {name for name in names if name is not None}
    if len(stated) != 1:
        return None
    (only,) = stated
    return only if isinstance(only, str) and only else None


def _fields_of(underlying: Embeddings) -> dict[str, Any]:
    """Return the fields that differ from their defaults, so that a release with new fields changes no key."""
    if not isinstance(underlying, BaseModel):
        return {}
    kept = {}
    for name, field in type(underlying).model_fields.items():
        value = getattr(underlying, name)
        if name in _TRANSPORT or name in _NAMES or field.exclude or _says_nothing(value, field):
            continue
        if isinstance(value, (set, frozenset)):
            value = sorted(value, key=repr)
        try:
            digest(value)
        except UncacheableValue:
            raise ConfigurationError(
                f"what the field {name!r} of {type(underlying).__name__} means for the vectors cannot be told: pass "
                "params={…} with all that changes them (params={} for nothing)"
            ) from None
        kept[name] = value
    return kept


def _says_nothing(value: Any, field: FieldInfo) -> bool:
    """Whether the field is empty, as by default, or a secret."""
    if value is None or isinstance(value, (SecretStr, SecretBytes)):
        return True
    if isinstance(value, (dict, list, tuple, set, frozenset)) and not value:
        return True
    return type(value) is type(field.default) and bool(value == field.default)
