"""All pages: what they tell a reader to do is done, and what they show appears; what is not is listed in `unrun.py`."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.docs import unrun
from tests.docs.fences import Block, blocks
from tests.docs.reading import ROOT, TERMINAL, Reader
from tests.docs.unrun import ELSEWHERE, NOT_CODE, NOT_RUN, NOT_TYPED
from tests.test_readme import SERVER, close_clients
from tiercache import DiskBackend, TierChain
from tiercache.packed import PackedBackend

DOCS = ROOT / "docs"
PAGES = sorted([*DOCS.glob("**/*.md"), *ROOT.glob("*.md"), *ROOT.glob("infra/**/README.md")])


def name_of(page: Path) -> str:
    return page.relative_to(DOCS if page.is_relative_to(DOCS) else ROOT).as_posix()


WITH_BLOCKS = [page for page in PAGES if blocks(page)]
FIXTURES = {
    "cli.md": ["stores"],
    "configuration.md": ["secrets"],
    "how-to/choose-tiers.md": ["bucket"],
    "how-to/migrate.md": ["bucket", "langchain_db"],
    "how-to/secure-bucket.md": ["bucket"],
    "packed.md": ["bucket"],
    "transfer.md": ["stores"],
}
"""What else a page's blocks find in their environment; `secrets` and `stores` also say what their names are here."""

PATIENT = {
    "s3://tutorial/tiercache/": "s3://tutorial/tiercache/?timeout=30s",
    "disk://cache.sqlite3": "disk://cache.sqlite3?timeout=30s",
    f'RedisBackend("{SERVER}")': f'RedisBackend("{SERVER}", timeout=30)',
    f'?max_bytes=64MiB {SERVER}"': f'?max_bytes=64MiB {SERVER}?timeout=30s"',
}
"""Deadlines that are not met on a busy machine: what a page shows is what is there when they are."""

NEEDS = {"how-to/migrate.md": ["diskcache", "langchain_classic", "litellm"]}
"""Libraries without which a page is skipped."""

LEAVES: dict[str, Callable[[Reader], bool]] = {
    "configuration.md": lambda reader: all(chain.tiers[0].backend.envelope.sealed for chain in reader.chains),
    "how-to/backend.md": lambda _: TierChain.from_urls("folder:///mnt/cache").tiers[0].name == "folder",
    "how-to/migrate.md": lambda reader: reader.module.answers.stats().stored == 2,
    "planning.md": lambda reader: {"report.html", "plots", "plan.json"} <= set(os.listdir(reader.directory)),
    "transfer.md": lambda reader: DiskBackend(reader.directory / "cache.sqlite3").get("embeddings:en:7") is not None,
}
"""What has to be true at the end of a page, where it shows it without a check."""

RUN = {"python", "toml", *TERMINAL}


@pytest.mark.timeout(600)  # a page starts up to twenty programs
# LangChain's own way to read what its caches wrote, which it calls a beta.
@pytest.mark.filterwarnings("ignore:The function `loads` is in beta")
@pytest.mark.parametrize("page", WITH_BLOCKS, ids=name_of)
def test_what_a_page_says_is_so(
    page: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
    free_port: int,
) -> None:
    name = name_of(page)
    found = [block for block in blocks(page) if not_run(name, block) is None]
    replace = {"5555": str(free_port), **PATIENT}
    for library in NEEDS.get(name, []):
        pytest.importorskip(library)
    for fixture in FIXTURES.get(name, []):
        around = request.getfixturevalue(fixture)
        replace |= around if fixture in ("secrets", "stores") else {}
    if SERVER not in replace and any(SERVER in block.text for block in found):
        replace[SERVER] = request.getfixturevalue("redis_url")
    if any("OpenAI(" in block.text for block in found):
        request.getfixturevalue("llm_provider")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    reader, environment, on_sigterm = Reader(tmp_path, replace), dict(os.environ), signal.getsignal(signal.SIGTERM)
    sys.modules["docs_page"] = reader.module
    try:
        for block in found:
            reader.follow(block)
        assert name not in LEAVES or LEAVES[name](reader)
    finally:
        close_clients(reader.module)
        for value in vars(reader.module).values():
            if isinstance(value, PackedBackend):
                value.close()
        signal.signal(signal.SIGTERM, on_sigterm)
        reader.close()
        del sys.modules["docs_page"]
        os.environ.clear()  # what a page sets holds for that page
        os.environ.update(environment)


def not_run(name: str, block: Block) -> str | None:
    """Why a block is not run here; None: it is."""
    if block.language in NOT_CODE:
        return "what a program prints"
    return ELSEWHERE.get((name, block.language)) or NOT_RUN.get((name, block.first_line))


def unread(name: str, found: list[Block]) -> list[Block]:
    """The blocks of a page that nothing runs, and that are not listed as such."""
    return [block for block in found if not_run(name, block) is None and block.language not in RUN]


@pytest.mark.parametrize("page", WITH_BLOCKS, ids=name_of)
def test_every_block_is_run_or_is_no_code(page: Path) -> None:
    languages = sorted(RUN | NOT_CODE)
    assert unread(name_of(page), blocks(page)) == [], f"their language is none of {languages}; {unrun.__file__}"


def test_what_is_not_run_is_there() -> None:
    there = {name_of(page): blocks(page) for page in WITH_BLOCKS}
    for name, first_line in NOT_RUN:
        assert first_line in [block.first_line for block in there[name]]
    for (name, language), tests in ELSEWHERE.items():
        assert language in [block.language for block in there[name]]
        assert name.rpartition("/")[2] in (ROOT / tests).read_text(encoding="utf-8")
    typed = [line for page in there.values() for block in page for line in block.text.splitlines()]
    for beginning in NOT_TYPED:
        assert any(line.removeprefix("$ ").startswith(beginning) for line in typed), beginning


def test_a_backend_is_sixty_lines() -> None:
    (store,) = [block for block in blocks(DOCS / "how-to/backend.md") if block.title == "folder_backend.py"]
    assert len([line for line in store.text.splitlines() if line.strip()]) <= 60
