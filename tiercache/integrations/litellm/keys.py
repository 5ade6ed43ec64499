"""Keys for LiteLLM that tell apart what its own do not: servers, tenants, and parameters of one provider alone.

LiteLLM's key is a digest of the parameters that OpenAI knows, written one after the other in the order of the call.
Here all of a call counts, unless it is known not to change the answer.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from uuid import uuid4
from weakref import WeakKeyDictionary

from litellm.caching.caching import Cache as TheirCache
from litellm.types.utils import all_litellm_params

from ...errors import UncacheableValue
from ...keys import digest

_INSIGNIFICANT = frozenset({"original_function", "parent_otel_span", "litellm_params", "timeout"})
_CONTENT = frozenset(
    {
        "assistant_continue_message",
        "bos_token",
        "custom_prompt_dict",
        "ensure_alternating_roles",
        "eos_token",
        "final_prompt_value",
        "guardrails",
        "initial_prompt_value",
        "litellm_system_prompt",
        "merge_reasoning_content_in_choices",
        "mock_response",
        "output_vector_size",
        "prompt_environment",
        "prompt_id",
        "prompt_label",
        "prompt_variables",
        "prompt_version",
        "roles",
        "supports_system_message",
        "user_continue_message",
    }
)
"""What LiteLLM counts among its own parameters although it changes what is sent, or what comes back."""
_SERVER = ("api_base", "api_version", "custom_llm_provider", "region_name")
_CREDENTIALS = (
    "api_key",
    "client_id",
    "headers",
    "litellm_credential_name",
    "provider_specific_header",
    "tenant_id",
)
_MORE_CREDENTIALS = re.compile(
    r"(anthropic|azure|openai|chatgpt|github_copilot|token_exchange)_|(client_secret|use_xai_oauth)$"
)
"""Further ones among LiteLLM's own parameters, by how they begin."""
_OF_A_CLIENT = (
    *("base_url", "api_key", "auth_token", "organization", "project"),
    *("_api_key_provider", "_azure_ad_token", "_azure_ad_token_provider"),
)
_OF_ITS_RELEASE = ("x-stainless-", "user-agent", "accept", "content-type")
_METADATA = ("metadata", "litellm_metadata")
_OWN = frozenset(all_litellm_params) - _CONTENT | _INSIGNIFICANT
_OWN_PREFIX = "_litellm_"
_functions: WeakKeyDictionary[Any, str] = WeakKeyDictionary()
_PLAIN = (str, int, float, bool, bytes, type(None))


class ScopedCache(TheirCache):
    """LiteLLM's cache, which asks its `.cache` for what a call of `litellm.completion` and others needs.

    Args:
        scope: `"auth"`: callers with different credentials never share answers; `"shared"`: they do; any other text:
            that of the tenant.
        options: as for `litellm.Cache`.
    """

    def __init__(self, *, scope: str, **options: Any) -> None:
        self._scope = scope
        super().__init__(**options)

    def get_cache_key(self, **kwargs: Any) -> str:
        """Return `namespace:digest:LiteLLM's own key`; the order of the arguments does not matter."""
        control, metadata = kwargs.get("cache") or {}, kwargs.get("metadata") or {}
        namespace = control.get("namespace") or metadata.get("redis_namespace") or self.namespace
        material = digest_of(kwargs, self._scope)
        kwargs["cache"] = {**control, "namespace": f"{namespace}:{material}" if namespace else material}
        key: str = super().get_cache_key(**dict(sorted(kwargs.items())))
        return key


def digest_of(call: Mapping[str, Any], scope: str) -> str:
    """Return a digest of all arguments that may change the answer, and of who asks whom."""
    counted = {
        name: _plain(value)
        for name, value in call.items()
        if value is not None and name not in _OWN and not name.startswith(_OWN_PREFIX)
    }
    material = (_who(call, scope), counted)
    try:
        return digest(*material)
    except UncacheableValue:  # too deep: as LiteLLM writes it
        return digest(repr(material))


def _who(call: Mapping[str, Any], scope: str) -> list[Any]:
    """Return server and tenant; where a router chose among deployments of one model, they are its business."""
    if _is_routed(call):
        return ["routed", "" if scope == "auth" else scope]
    server = [_plain(call.get(name)) for name in _SERVER]
    return [server, _credentials(call) if scope == "auth" else scope]


def _credentials(call: Mapping[str, Any]) -> list[Any]:
    more = sorted(name for name in call if name in _OWN and _MORE_CREDENTIALS.match(name) and call[name] is not None)
    named = [[name, _identity(call[name])] for name in more]
    return [[_plain(call.get(name)) for name in _CREDENTIALS], named, _of_client(call.get("client"))]


def _of_client(client: Any) -> list[Any]:
    """Return whom an SDK's client that the caller brings asks, and as whom."""
    given = [[name, getattr(client, name, None)] for name in _OF_A_CLIENT]
    headers = getattr(client, "default_headers", None)
    if isinstance(headers, Mapping):
        pairs = [[name.lower(), value] for name, value in headers.items() if isinstance(value, str)]  # not: Omit()
        given += sorted(pair for pair in pairs if not pair[0].startswith(_OF_ITS_RELEASE))
    return [[name, _identity(value)] for name, value in given if value is not None]


def _identity(value: Any) -> Any:
    """Return what tells one credential from another; a function that gets tokens is nobody's but its own."""
    if not callable(value):
        return _plain(value if isinstance(value, (*_PLAIN, Mapping, list, tuple)) else str(value))
    try:
        return _functions.setdefault(value, uuid4().hex)
    except TypeError:  # it cannot be told apart from others
        return uuid4().hex


def _is_routed(call: Mapping[str, Any]) -> bool:
    inner = call.get("litellm_params") or {}
    return any((source.get(name) or {}).get("model_group") for source in (call, inner) for name in _METADATA)


def _plain(value: Any) -> Any:
    """Return plain data that is the same for equal values, in every process."""
    if isinstance(value, _PLAIN):
        return value
    if isinstance(value, Mapping):
        return {key if isinstance(key, _PLAIN) else repr(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, type) and hasattr(value, "model_json_schema"):
        return [value.__qualname__, value.model_json_schema()]
    if hasattr(value, "model_dump"):
        return _plain(value.model_dump())
    return repr(value)
