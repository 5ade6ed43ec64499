"""The names of `LLMCache`'s operations: each is one of `OneKind`'s, for one kind of requests."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, cast

from .kinds import Kind
from .one_kind import OneKind

P = ParamSpec("P")
R = TypeVar("R")


class Named(Generic[P, R]):
    """A method of `OneKind` under the name that it has for a kind; type checkers see its parameters."""

    def __init__(self, kind: Kind, method: Callable[Concatenate[OneKind, P], R]) -> None:
        self._kind = kind
        self._method = method
        self.__doc__ = method.__doc__

    def __get__(self, faces: Any, owner: type[Any]) -> Callable[P, R]:
        if faces is None:
            return cast("Callable[P, R]", self)  # what documentation tools ask for
        return self._method.__get__(faces.of_kind[self._kind])  # type: ignore[no-any-return]


class Faces:
    """The part of `LLMCache` that is about requests. What all these take is said in `OneKind`."""

    of_kind: Mapping[Kind, OneKind]

    # Ask: what is kept, else the provider.
    chat = Named("chat", OneKind.ask)
    achat = Named("chat", OneKind.aask)
    completion = Named("completion", OneKind.ask)
    acompletion = Named("completion", OneKind.aask)
    embedding = Named("embedding", OneKind.ask)
    aembedding = Named("embedding", OneKind.aask)
    response = Named("response", OneKind.ask)
    aresponse = Named("response", OneKind.aask)
    message = Named("message", OneKind.ask)
    amessage = Named("message", OneKind.aask)

    # Get: what is kept, or None.
    get_chat = Named("chat", OneKind.get)
    aget_chat = Named("chat", OneKind.aget)
    get_completion = Named("completion", OneKind.get)
    aget_completion = Named("completion", OneKind.aget)
    get_embedding = Named("embedding", OneKind.get)
    aget_embedding = Named("embedding", OneKind.aget)
    get_response = Named("response", OneKind.get)
    aget_response = Named("response", OneKind.aget)
    get_message = Named("message", OneKind.get)
    aget_message = Named("message", OneKind.aget)

    # Look up: what is kept, and where it came from.
    lookup_chat = Named("chat", OneKind.lookup)
    alookup_chat = Named("chat", OneKind.alookup)
    lookup_completion = Named("completion", OneKind.lookup)
    alookup_completion = Named("completion", OneKind.alookup)
    lookup_embedding = Named("embedding", OneKind.lookup)
    alookup_embedding = Named("embedding", OneKind.alookup)
    lookup_response = Named("response", OneKind.lookup)
    alookup_response = Named("response", OneKind.alookup)
    lookup_message = Named("message", OneKind.lookup)
    alookup_message = Named("message", OneKind.alookup)

    # Set: store an answer that was had elsewhere.
    set_chat = Named("chat", OneKind.set)
    aset_chat = Named("chat", OneKind.aset)
    set_completion = Named("completion", OneKind.set)
    aset_completion = Named("completion", OneKind.aset)
    set_embedding = Named("embedding", OneKind.set)
    aset_embedding = Named("embedding", OneKind.aset)
    set_response = Named("response", OneKind.set)
    aset_response = Named("response", OneKind.aset)
    set_message = Named("message", OneKind.set)
    aset_message = Named("message", OneKind.aset)

    # Invalidate: remove what is kept of a request.
    invalidate_chat = Named("chat", OneKind.invalidate)
    ainvalidate_chat = Named("chat", OneKind.ainvalidate)
    invalidate_completion = Named("completion", OneKind.invalidate)
    ainvalidate_completion = Named("completion", OneKind.ainvalidate)
    invalidate_embedding = Named("embedding", OneKind.invalidate)
    ainvalidate_embedding = Named("embedding", OneKind.ainvalidate)
    invalidate_response = Named("response", OneKind.invalidate)
    ainvalidate_response = Named("response", OneKind.ainvalidate)
    invalidate_message = Named("message", OneKind.invalidate)
    ainvalidate_message = Named("message", OneKind.ainvalidate)
