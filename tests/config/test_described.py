"""Every option is described from one source: what takes it."""

from __future__ import annotations

import pytest

from tiercache import Cache, Tier
from tiercache.config.accepted import usable
from tiercache.config.described import Section, described, section, sections
from tiercache.config.discovery import find_backend


@pytest.mark.parametrize("one", sections(), ids=lambda one: one.name)
def test_every_option_has_a_meaning(one: Section) -> None:
    assert one.options
    assert [option.name for option in one.options if not option.meaning or not option.type] == []


def test_no_option_that_can_be_said_in_text_is_left_out() -> None:
    for name, target in (("cache", Cache), ("tier", Tier), ("s3", find_backend("s3"))):
        assert set(usable(target)) <= {option.name for option in section(name).options}


def test_what_is_said_of_an_option() -> None:
    (ttl,) = (option for option in section("cache").options if option.name == "ttl")
    assert (ttl.type, ttl.default, ttl.toml, ttl.variable) == ("a duration", "none", "[cache] ttl", "TIERCACHE_TTL")
    (write,) = (option for option in section("tier").options if option.name == "write")
    assert (write.type, write.url) == ("`through` or `behind` or `never`", "?write=")


def test_several_names_and_several_lines_of_a_docstring() -> None:
    class Documented:
        """What it is.

        Args:
            one, two: what
                both are: really.
            three: another.

        Raises:
            ValueError: never.
        """

    assert described(Documented) == {
        "one": "what both are: really.",
        "two": "what both are: really.",
        "three": "another.",
    }
