"""The positive control of the cancel storm, run with redis-py 4.5.1: its plain client, which the storm must catch.

    python storm_control.py URL WORKERS COUNT PATIENCE SEED

Prints what was seen as JSON.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import sys

import redis
from redis import asyncio as aredis
from storm_workers import KEYS, storm, value


async def main(url: str, workers: int, count: int, patience: float, seed: int) -> None:
    """Storm the client with GET, MGET and SET."""
    client = aredis.Redis.from_url(url, decode_responses=True)

    async def get(dice):
        key = dice.choice(KEYS)
        return {key: await client.get(key)}

    async def get_many(dice):
        keys = dice.sample(KEYS, 20)
        return dict(zip(keys, await client.mget(keys), strict=True))

    async def put(dice):
        key = dice.choice(KEYS)
        await client.set(key, value(key, dice))
        return {}

    seen = await storm([get, get, get_many, put], workers=workers, count=count, patience=patience, seed=seed)
    print(json.dumps({"version": redis.__version__, **dataclasses.asdict(seen)}))
    await client.connection_pool.disconnect()


if __name__ == "__main__":
    place, number, each, seconds, first = sys.argv[1:]
    asyncio.run(main(place, int(number), int(each), float(seconds), int(first)))
