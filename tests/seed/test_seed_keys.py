"""What the ancestor's own tests promised of keys, kept under today's names."""

from __future__ import annotations

from tiercache.llm import CacheKeyBuilder, chat_key


def test_the_same_chat_request_has_one_key_that_begins_with_its_kind_and_model():
    request = {"model": "gpt-4", "messages": [{"role": "user", "content": "Hello"}]}
    assert chat_key(request) == chat_key(dict(request))
    assert chat_key(request).startswith("chat:gpt-4:")


def test_a_builder_with_parts_and_a_number_gives_a_key_that_begins_with_its_prefix():
    assert CacheKeyBuilder("test").with_part("part1").with_part("part2").add_num(42).build().startswith("test:")
