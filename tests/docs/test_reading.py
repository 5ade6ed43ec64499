"""The reader of the pages itself: what a page says wrongly, or shows without a test, does not pass."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.fences import Block, blocks, commands
from tests.docs.reading import Reader
from tests.docs.test_pages import unread
from tiercache.errors import ConfigurationError


@pytest.fixture
def reader(tmp_path: Path):
    reader = Reader(tmp_path, {"THEIRS": "ours"})
    yield reader
    reader.close()


def test_a_command_that_fails_is_told_with_what_it_said(reader: Reader) -> None:
    reader.follow(Block("bash", None, "echo well | grep -q well\n"))
    with pytest.raises(AssertionError, match="no such word"):
        reader.follow(Block("bash", None, "echo no such word; exit 3\n"))
    with pytest.raises(AssertionError, match="exit 1"):
        reader.follow(Block("sh", None, "false | cat\n"))


def test_an_answer_that_is_not_the_one_shown_is_told(reader: Reader) -> None:
    reader.follow(Block("console", None, "$ echo THEIRS and more\nours …\n"))
    with pytest.raises(AssertionError, match="the page shows"):
        reader.follow(Block("console", None, "$ echo THEIRS\ntheirs\n"))


def test_a_file_with_a_mistake_is_no_configuration(reader: Reader) -> None:
    reader.follow(Block("toml", None, '[[tiers]]\nurl = "memory://"\n'))
    with pytest.raises(ConfigurationError, match="line 2"):
        reader.follow(Block("toml", None, '[[tiers]]\nurl = "memory://?max_bites=1"\n'))


def test_a_make_target_that_is_not_there_is_told(reader: Reader) -> None:
    reader.follow(Block("sh", None, "make demo      # a comment\n"))
    with pytest.raises(AssertionError, match="make nothing"):
        reader.follow(Block("sh", None, "make nothing\n"))


def test_a_line_that_goes_on_is_one_command_and_a_comment_is_none() -> None:
    block = Block("bash", None, "# first\necho a \\\n  b\n\necho c  # why\n")
    assert [command.typed for command in commands(block)] == ["echo a \\\n  b", "echo c  # why"]


def test_a_block_in_no_known_language_or_in_none_is_not_passed_over(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "```python\n1\n```\n\n```\nplain\n```\n\n```ruby\nputs\n```\n\n```text\nsaid\n```\n", encoding="utf-8"
    )
    assert [block.text for block in unread("page.md", blocks(page))] == ["plain\n", "puts\n"]
