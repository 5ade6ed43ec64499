"""The tutorial, the how-tos and the explanations: what they tell a reader to do is done, and what they show appears."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.docs.fences import Block, blocks
from tests.docs.reading import Reader
from tests.test_readme import SERVER, close_clients

DOCS = Path(__file__).parent.parent.parent / "docs"
PAGES = sorted(page for room in ("tutorial", "how-to", "explanation") for page in DOCS.glob(f"{room}/*.md"))
FIXTURES = {
    "how-to/choose-tiers.md": ["bucket"],
    "how-to/migrate.md": ["bucket", "langchain_db"],
    "how-to/secure-bucket.md": ["bucket"],
}
"""What else a page's blocks find in their environment."""

PATIENT = {
    "s3://tutorial/tiercache/": "s3://tutorial/tiercache/?timeout=30s",
    "disk://cache.sqlite3": "disk://cache.sqlite3?timeout=30s",
    f'RedisBackend("{SERVER}")': f'RedisBackend("{SERVER}", timeout=30)',
    f'?max_bytes=64MiB {SERVER}"': f'?max_bytes=64MiB {SERVER}?timeout=30s"',
}
"""Deadlines that are not met on a busy machine: what a page shows is what is there when they are."""

NEEDS = {"how-to/migrate.md": ["diskcache", "langchain_classic", "litellm"]}
"""Libraries without which a page is skipped."""

LEAVES = {"how-to/migrate.md": lambda page: page["answers"].stats().stored == 2}
"""What has to be true of a page's names at its end, where the page shows it without a check."""

NOT_RUN: dict[tuple[str, str], str] = {}
"""(page, first line of a block) -> why nobody runs it."""

RUN = {"python", "console", "toml", "yaml"}
NOT_CODE = {"text", "json"}


@pytest.mark.timeout(600)  # a page starts up to twenty programs
# LangChain's own way to read what its caches wrote, which it calls a beta.
@pytest.mark.filterwarnings("ignore:The function `loads` is in beta")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(DOCS).as_posix())
def test_what_a_page_says_is_so(
    page: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
    free_port: int,
) -> None:
    name = page.relative_to(DOCS).as_posix()
    found = blocks(page)
    replace = {"5555": str(free_port), **PATIENT}
    if any(SERVER in block.text for block in found):
        replace[SERVER] = request.getfixturevalue("redis_url")
    for library in NEEDS.get(name, []):
        pytest.importorskip(library)
    for fixture in FIXTURES.get(name, []):
        request.getfixturevalue(fixture)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    reader, environment = Reader(tmp_path, replace), dict(os.environ)
    sys.modules["docs_page"] = reader.module
    try:
        for block in found:
            if not_run(name, block) is None:
                reader.follow(block)
        assert name not in LEAVES or LEAVES[name](vars(reader.module))
    finally:
        close_clients(reader.module)
        reader.close()
        del sys.modules["docs_page"]
        os.environ.clear()  # what a page sets holds for that page
        os.environ.update(environment)


def not_run(name: str, block: Block) -> str | None:
    """Why a block is not run; None: it is."""
    return NOT_RUN.get((name, block.first_line))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(DOCS).as_posix())
def test_every_block_is_run_or_is_no_code(page: Path) -> None:
    assert {block.language for block in blocks(page)} <= RUN | NOT_CODE


def test_what_is_not_run_is_there() -> None:
    for name, first_line in NOT_RUN:
        assert first_line in [block.first_line for block in blocks(DOCS / name)]


def test_a_backend_is_sixty_lines() -> None:
    (store,) = [block for block in blocks(DOCS / "how-to/backend.md") if block.title == "folder_backend.py"]
    assert len([line for line in store.text.splitlines() if line.strip()]) <= 60
