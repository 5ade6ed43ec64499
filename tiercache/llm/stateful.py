"""Which requests have an answer that depends on more than what they say, so that no cache may give it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_STATE = ("background", "previous_response_id", "conversation", "container", "mcp_servers", "web_search_options")
_CALLERS_TOOLS = ("function", "custom")


def outer_state(request: Mapping[str, Any]) -> str | None:
    """Return what an answer depends on beside the request, as a word to count under; None: nothing known.

    That is a conversation or container at the provider, a job in the background, a tool that the provider runs itself
    (search, code interpreter, MCP, computer): its answer is another one tomorrow.
    """
    for name in _STATE:
        if request.get(name):
            return name
    tools = request.get("tools")
    for tool in tools if isinstance(tools, list) else ():
        kind = tool.get("type") or "custom" if isinstance(tool, Mapping) else None  # Anthropic's have no type
        if kind not in _CALLERS_TOOLS:
            return "hosted_tool"
    return None
