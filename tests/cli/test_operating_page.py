"""The commands on the page about operating do what it says, one after the other."""

from __future__ import annotations

import re
import shlex
import uuid
from pathlib import Path

import pytest

from tiercache import Cache, TierChain

from .conftest import Run

PAGE = Path(__file__).parents[2] / "docs/operating.md"
SHELL = re.compile(r"^```sh\n(.*?)^```", re.DOTALL | re.MULTILINE)


@pytest.mark.slow
def test_the_commands_of_the_page_run(run: Run, redis_url: str) -> None:
    url = f"{redis_url}?prefix={uuid.uuid4().hex}:&timeout=5s"
    with Cache(TierChain.from_urls("memory://", url, report=True), namespace="search", ttl="1h") as cache:
        cache.set("doc:7", {"title": "Bees"}, tags=["bees"], attributes={"tenant": "ada"})
        assert cache.chain.reporter is not None
        cache.chain.reporter.write()
        lines = [line for block in SHELL.findall(PAGE.read_text("utf-8")) for line in block.splitlines()]
        commands = [shlex.split(line)[1:] for line in lines if line.startswith("tiercache ")]

        ran = {" ".join(command): run(*command, env={"TIERCACHE_URLS": url}) for command in commands}

        assert len(ran) == len(commands) == 8
        assert "Bees" in ran["inspect search:doc:7 --value"].out
        assert cache.chain.tiers[1].backend.get("search:doc:7") is None
