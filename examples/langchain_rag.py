"""A question answered from documents with LangChain: its answers and its embeddings are kept, an input at a time.

    OPENAI_API_KEY=… python examples/langchain_rag.py          # run it twice: the second run asks nobody

Needs: pip install 'tiercache[langchain]' langchain-openai
"""

from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnablePassthrough
from langchain_core.vectorstores import InMemoryVectorStore
from langchain_openai import ChatOpenAI, OpenAIEmbeddings

from tiercache import Cache
from tiercache.integrations.langchain import CachedEmbeddings, LangChainCache

DOCUMENTS = [
    "Sourdough rises without added yeast: wild yeasts live in its starter.",
    "A stethoscope lets a doctor hear the heart and the lungs.",
    "Bees make honey from nectar, and keep it for the winter.",
]
PROMPT = ChatPromptTemplate.from_template("Answer from this context alone.\n\n{context}\n\nQuestion: {question}")

with Cache(namespace="rag", ttl="30d") as cache:  # memory, and a file in your cache directory
    # check_embedding_ctx_length=False: texts are sent as texts, and tiktoken has nothing to download.
    model = OpenAIEmbeddings(model="text-embedding-3-small", check_embedding_ctx_length=False)
    embeddings = CachedEmbeddings(model, cache)
    documents = InMemoryVectorStore.from_texts(DOCUMENTS, embeddings).as_retriever(search_kwargs={"k": 1})
    chain = (
        {
            "context": documents | (lambda found: "\n".join(document.page_content for document in found)),
            "question": RunnablePassthrough(),
        }
        | PROMPT
        | ChatOpenAI(model="gpt-4o-mini", temperature=0, cache=LangChainCache(cache))
        | StrOutputParser()
    )
    for _ in range(2):
        print(chain.invoke("Why does sourdough rise?"))

    for name, stats in (("documents", embeddings.documents.stats()), ("queries", embeddings.queries.stats())):
        print(f"{name}: {stats.computed} embedded, {stats.hits} known")
