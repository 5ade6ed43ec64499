"""Which requests depend on more than what they say, so that a stored answer might be the wrong one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...llm.kinds import Kind

_FIELDS = (
    "background",  # answered later, by another request
    "previous_response_id",
    "conversation",
    "container",
    "mcp_servers",
    "web_search_options",
    "data_sources",
)
_OF_THE_CALLER = ("function", "custom")
_OF_THE_CALLER_AT_ANTHROPIC = ("bash_", "text_editor_", "memory_")  # a version follows; the client carries them out


def reason_to_pass(kind: Kind, request: Mapping[str, Any]) -> str | None:
    """Return why a request passes the cache by, in a word; None: it does not.

    The provider looks something up for it (hosted tools, search models), or goes by what it remembers
    (conversations, containers, stored prompts). Tools that the caller carries out are no reason.
    """
    for name in _FIELDS:
        if request.get(name):
            return name
    if kind == "response" and request.get("prompt"):
        return "stored_prompt"
    model = request.get("model")
    if kind in ("chat", "response") and isinstance(model, str) and "-search-" in model:
        return "search_model"
    tools = request.get("tools")
    if isinstance(tools, list) and not all(map(_is_of_the_caller, tools)):
        return "hosted_tool"
    return None


def _is_of_the_caller(tool: Any) -> bool:
    if not isinstance(tool, Mapping):
        return False
    kind = tool.get("type", "custom")
    return kind in _OF_THE_CALLER or (isinstance(kind, str) and kind.startswith(_OF_THE_CALLER_AT_ANTHROPIC))
