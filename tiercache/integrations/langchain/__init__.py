"""LangChain on a `Cache`: answers of models, bytes by key, and embeddings an input at a time.

from langchain_core.globals import set_llm_cache
set_llm_cache(LangChainCache(cache))                     # or ChatOpenAI(cache=LangChainCache(cache))
embeddings = CachedEmbeddings(OpenAIEmbeddings(), cache)
store = LangChainByteStore(cache)                        # a ByteStore, for what takes one
"""

from ...errors import MissingExtra

try:
    import langchain_core  # noqa: F401 - asked for once, here
except ImportError:
    raise MissingExtra("tiercache.integrations.langchain", "langchain") from None

from ..counted import AdapterStats
from .cache import LangChainCache
from .embeddings import CachedEmbeddings
from .store import LangChainByteStore

__all__ = ["AdapterStats", "CachedEmbeddings", "LangChainByteStore", "LangChainCache"]
