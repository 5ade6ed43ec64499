"""`StorePolicy`: which answers may be stored, and why the others are refused."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec

from ..errors import ConfigurationError
from ..units import parse_size
from .kinds import Kind
from .verdicts import reasons

Accept = Callable[[Kind, Mapping[str, Any]], bool]
MAX_BYTES = 32 * 2**20
_TOLERABLE = ("truncated", "filtered", "empty")
_encode = msgspec.json.Encoder(enc_hook=lambda value: None).encode


class Policy(Protocol):
    """Anything that judges answers; what it raises counts as `policy_error`, and the answer is not stored."""

    def refusal(self, kind: Kind, answer: Any) -> str | None:
        """Return why an answer must not be stored, as a word to count under; None: it may be."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class StorePolicy:
    """What is stored beside good answers; all of it is refused unless told otherwise.

    Attributes:
        truncated: answers that ended at a limit of length.
        filtered: answers that a content filter cut or withheld, and refusals of the model.
        empty: answers without any content.
        complete: names of endings (`finish_reason`, `stop_reason`, `status`) that mean a complete answer, in addition
            to those that are known. An answer with any other is refused as `unknown_end`: it might be cut.
        max_bytes: answers larger than this, as JSON, are not stored. (Of embeddings each vector is an entry of its
            own, and they are not measured.)
        accept: has the last word on what is good otherwise: called with kind and answer, False refuses it as
            `not_accepted`. What it raises is counted as `policy_error`; the answer is handed through, and not stored.

    Raises:
        ConfigurationError: an attribute has no such value.
    """

    truncated: bool = False
    filtered: bool = False
    empty: bool = False
    complete: tuple[str, ...] = ()
    max_bytes: int | str = MAX_BYTES
    accept: Accept | None = None

    def __post_init__(self) -> None:
        if isinstance(self.complete, str):
            raise ConfigurationError("complete must be a list of names, not one str")
        if self.accept is not None and not callable(self.accept):
            raise ConfigurationError("accept must be a function of kind and answer")
        object.__setattr__(self, "complete", tuple(self.complete))
        object.__setattr__(self, "max_bytes", parse_size(self.max_bytes, "max_bytes"))

    def refusal(self, kind: Kind, answer: Any) -> str | None:
        """Return why an answer must not be stored, as a word to count under; None: it may be.

        Args:
            kind: what was asked.
            answer: the answer as plain data, as JSON gives it.

        Returns:
            `malformed`, `error`, `incomplete`, `unknown_end`, `truncated`, `filtered`, `empty`, `too_large`,
            `not_accepted` or `policy_error`.
        """
        for reason in reasons(kind, answer, self.complete):
            if reason not in _TOLERABLE or not getattr(self, reason):
                return reason
        if kind != "embedding" and _size_of(answer) > self.max_bytes:  # type: ignore[operator]
            return "too_large"
        if self.accept is not None:
            return _asked(self.accept, kind, answer)
        return None


@dataclass(frozen=True, slots=True)
class Guarded:
    """A policy of somebody else's, which must not be in the way of an answer."""

    policy: Policy

    @property
    def max_bytes(self) -> Any:
        """The policy's own, if it has one."""
        return getattr(self.policy, "max_bytes", MAX_BYTES)

    def refusal(self, kind: Kind, answer: Any) -> str | None:
        """Return what the policy says; `policy_error` where it raises, or answers with what is no word."""
        try:
            reason = self.policy.refusal(kind, answer)
        except Exception:  # noqa: BLE001 - counted by the caller under this word
            return "policy_error"
        return reason if reason is None or (isinstance(reason, str) and reason) else "policy_error"


def guarded(policy: Any) -> Policy:
    """Return a policy that raises nothing.

    Raises:
        ConfigurationError: it has no method `refusal`.
    """
    if isinstance(policy, StorePolicy | Guarded):
        return policy
    if not callable(getattr(policy, "refusal", None)) or isinstance(policy, type):
        raise ConfigurationError(
            "policy must be a StorePolicy, or an object with a method refusal(kind, answer); "
            "for a mere predicate there is StorePolicy(accept=…)"
        )
    return Guarded(policy)


def _asked(accept: Accept, kind: Kind, answer: Mapping[str, Any]) -> str | None:
    try:
        return None if accept(kind, answer) else "not_accepted"
    except Exception:  # noqa: BLE001 - as above
        return "policy_error"


def _size_of(answer: Any) -> int:
    try:
        return len(_encode(answer))
    except (ValueError, TypeError, OverflowError, RecursionError):  # lone surrogates, integers beyond 64 bits
        return len(repr(answer))
