"""A FastAPI app that answers questions, whole and streamed, with a cache between it and OpenAI.

    OPENAI_API_KEY=… PORT=8000 python examples/fastapi_app.py
    curl -N 'localhost:8000/ask?question=Why' 'localhost:8000/stream?question=Why' localhost:8000/savings

Needs: pip install 'tiercache[llm]' openai fastapi uvicorn
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse
from openai import AsyncOpenAI

from tiercache import Cache
from tiercache.integrations.http import async_client

MODEL = "gpt-4o-mini"


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with Cache(namespace="app", ttl="12h") as cache, AsyncOpenAI(http_client=async_client(cache)) as openai:
        app.state.cache, app.state.openai = cache, openai
        yield


app = FastAPI(lifespan=lifespan)


def asked(question: str) -> dict[str, Any]:
    return {"model": MODEL, "messages": [{"role": "user", "content": question}]}


@app.get("/ask")
async def ask(question: str, request: Request) -> dict[str, Any]:
    reply = await request.app.state.openai.chat.completions.with_raw_response.create(**asked(question))
    answer = reply.parse()
    return {"answer": answer.choices[0].message.content, "cache": reply.headers["x-tiercache"]}


@app.get("/stream")
async def stream(question: str, request: Request) -> StreamingResponse:
    chunks = await request.app.state.openai.chat.completions.create(**asked(question), stream=True)

    async def texts() -> AsyncIterator[str]:
        async for chunk in chunks:
            if chunk.choices and chunk.choices[0].delta.content:
                yield chunk.choices[0].delta.content

    return StreamingResponse(texts(), media_type="text/plain")


@app.get("/savings")
async def savings(request: Request) -> dict[str, float]:
    saved = request.app.state.cache.stats().savings.total
    return {"calls": saved.calls, "tokens": saved.input_tokens + saved.output_tokens, "usd": saved.usd}


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(os.environ.get("PORT", "8000")), log_level="warning")
