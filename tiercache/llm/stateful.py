"""Which requests have an answer that depends on more than what they say, so that no cache may give it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_STATE = (
    "background",
    "previous_response_id",
    "conversation",
    "container",
    "mcp_servers",
    "web_search_options",
    "data_sources",
    "search_parameters",  # xAI
    "plugins",  # OpenRouter
    "enable_search",  # Qwen
)
_MODELS_THAT_SEARCH = ("-search-preview", "-search-api", "-deep-research", ":online")
_CALLERS_TOOLS = ("function", "custom")
_CALLERS_TOOLS_AT_ANTHROPIC = ("bash_", "text_editor_", "memory_")  # a version follows; the caller carries them out


def outer_state(request: Mapping[str, Any]) -> str | None:
    """Return what an answer depends on beside the request, as a word to count under; None: nothing known.

    That is a conversation, container or prompt at the provider, a job in the background, a tool that the provider runs
    itself (search, code interpreter, MCP, computer), a model that searches: its answer is another one tomorrow.
    """
    for name in _STATE:
        value = request.get(name)
        if value or isinstance(value, Mapping):  # an object without fields asks for it with all defaults
            return name
    if isinstance(request.get("prompt"), Mapping):  # of the Responses API; that of a completion is text
        return "stored_prompt"
    model = request.get("model")
    if isinstance(model, str) and any(part in model for part in _MODELS_THAT_SEARCH):
        return "search_model"
    tools = request.get("tools")
    if isinstance(tools, list) and not all(map(_is_callers, tools)):
        return "hosted_tool"
    return None


def _is_callers(tool: Any) -> bool:
    kind = tool.get("type") or "custom" if isinstance(tool, Mapping) else None  # Anthropic's have no type
    return kind in _CALLERS_TOOLS or (isinstance(kind, str) and kind.startswith(_CALLERS_TOOLS_AT_ANTHROPIC))
