"""LangGraph on a `Cache`: what nodes wrote is not computed again.

graph = builder.compile(cache=LangGraphCache(cache))     # nodes with a CachePolicy
"""

from ...errors import MissingExtra

try:
    import langgraph.cache.base  # noqa: F401 - asked for once, here
except ImportError:
    raise MissingExtra("tiercache.integrations.langgraph", "langgraph") from None

from ..counted import AdapterStats
from .cache import LangGraphCache

__all__ = ["AdapterStats", "LangGraphCache"]
