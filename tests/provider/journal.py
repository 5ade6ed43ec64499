"""What arrived at the provider: a request, and of which kind it is."""

from __future__ import annotations

import json
import re
import threading
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from urllib.parse import parse_qs, urlsplit

_KNOWN = re.compile(
    r"^(?:/api|/openai)?(?:/v1|/deployments/(?P<deployment>[^/]+))?"
    r"/(?P<name>chat/completions|completions|responses|embeddings|messages)$"
)
_KINDS = {
    "chat/completions": "chat",
    "completions": "completion",
    "responses": "response",
    "embeddings": "embedding",
    "messages": "message",
}


@dataclass
class Request:
    """One request, as it came; `done` is set when its answer is written, or can no longer be (`broken`)."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    number: int = 0
    done: threading.Event = field(default_factory=threading.Event)
    broken: bool = False
    chunks_sent: int = 0

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, str]:
        return {name: values[-1] for name, values in parse_qs(urlsplit(self.target).query).items()}

    @cached_property
    def json(self) -> Any:
        """The body, parsed; None where it is no JSON."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None

    @cached_property
    def kind(self) -> str:
        """`chat`, `completion`, `response`, `message`, `embedding`, or `other`."""
        found = _KNOWN.match(self.path)
        if self.method != "POST" or found is None or not isinstance(self.json, dict):
            return "other"
        return _KINDS[found["name"]]

    @property
    def deployment(self) -> str | None:
        """The deployment that an Azure path names."""
        found = _KNOWN.match(self.path)
        return found["deployment"] if found else None

    @property
    def stream(self) -> bool:
        return self.kind != "other" and self.json.get("stream") is True
