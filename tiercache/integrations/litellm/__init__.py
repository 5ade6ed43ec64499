"""LiteLLM on a `Cache`: `install(cache)`, and `litellm.completion`, `acompletion`, `embedding` … are cached.

LiteLLM decides what is looked up and stored. Its keys are made to tell apart what by themselves they do not: servers,
tenants, and parameters that only one provider knows.
"""

from ...errors import MissingExtra

try:
    import litellm  # noqa: F401 - asked for once, here
except ImportError:
    raise MissingExtra("tiercache.integrations.litellm", "litellm") from None

from ..counted import AdapterStats
from .installing import install, uninstall
from .store import LiteLLMStore

__all__ = ["AdapterStats", "LiteLLMStore", "install", "uninstall"]
