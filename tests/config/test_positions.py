"""The line of everything in a TOML text, compared with what `tomllib` finds there."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tiercache.config.positions import line_of, lines_of

TRICKY = '''\
# [no.table]
a = 1 # b = 2
"q.#]" = "x # ] } = " # comment
'lit.eral' = 'c:\\'

[cache]  # [[x]]
ttl = "30d"
b.c = { d = [1, { e = "]" }, 3], "f" = 2 }
[[tiers]]
url = """
multi "" [x]
\\""" y = 1
"""""
[[tiers.storage_classes]]
storage_class = \'\'\'x
]\'\'\'
[tiers.storage_classes.attributes]
a = 1
[[tiers]]
arr = [
  1, # ]
  [2, 3],
  { x = 1 },
]
d = 2020-01-01 00:00:00
empty = []
none = {}
[ switches . "s3" ]
x = "off"
'''


def paths(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    items: Any = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield (*path, key)
        yield from paths(inner, (*path, key))


def test_all_that_tomllib_finds_has_a_line_and_nothing_else() -> None:
    assert set(lines_of(TRICKY)) == set(paths(tomllib.loads(TRICKY)))


@pytest.mark.parametrize(
    ("path", "start"),
    [
        (("a",), "a = 1"),
        (("q.#]",), '"q.#]"'),
        (("lit.eral",), "'lit.eral'"),
        (("cache",), "[cache]"),
        (("cache", "b", "c", "d", 1, "e"), "b.c ="),
        (("tiers", 0), "[[tiers]]"),
        (("tiers", 0, "url"), "url ="),
        (("tiers", 0, "storage_classes", 0, "storage_class"), "storage_class ="),
        (("tiers", 0, "storage_classes", 0, "attributes", "a"), "a = 1"),
        (("tiers", 1, "arr", 1, 0), "  [2, 3]"),
        (("tiers", 1, "arr", 2, "x"), "  { x"),
        (("tiers", 1, "d"), "d = 2020"),
        (("switches", "s3"), "[ switches"),
        (("switches", "s3", "x"), "x ="),
    ],
)
def test_the_line_is_where_it_stands(path: tuple[str | int, ...], start: str) -> None:
    assert TRICKY.splitlines()[lines_of(TRICKY)[path] - 1].startswith(start)


def test_line_ends_of_windows() -> None:
    assert lines_of("a = 1\r\n\r\nb = 2\r\n") == {("a",): 1, ("b",): 3}


def test_what_has_no_line_has_that_of_the_table_around_it() -> None:
    lines = lines_of("\n[cache]\nttl = 1\n")
    assert line_of(lines, ("cache", "missing")) == 2
    assert line_of(lines, ("nothing",)) == 1


bare = st.from_regex(r"[A-Za-z0-9_-]{1,6}", fullmatch=True)
texts = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=10)
quoted = texts.map(lambda text: '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"')
literal = texts.filter(lambda text: "'" not in text).map(lambda text: f"'{text}'")
multi = texts.map(lambda text: '"""\n' + text.replace("\\", "\\\\").replace('"', '\\"') + '\n # ] "" \n"""')
scalars = st.one_of(st.integers().map(str), st.sampled_from(["true", "1.5e3", "2020-01-01"]), quoted, literal, multi)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda items: "[ # ]\n" + ", # x\n".join(items) + "\n]"),
        st.dictionaries(bare, inner.filter(lambda text: "\n" not in text), max_size=3).map(
            lambda table: "{ " + ", ".join(f"{key} = {value}" for key, value in table.items()) + " }"
        ),
    ),
    max_leaves=6,
)
pairs = st.dictionaries(st.one_of(bare, quoted, literal.filter(lambda text: text != "''")), values, max_size=4)


def written(table: dict[str, str]) -> str:
    return "".join(f"{key} = {value} # [y]\n" for key, value in table.items())


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])  # a busy machine
@given(pairs, st.lists(st.tuples(st.booleans(), bare, pairs), max_size=4))
def test_any_text(first: dict[str, str], tables: list[tuple[bool, str, dict[str, str]]]) -> None:
    text = written(first)
    for array, name, table in tables:
        text += ("[[array]]\n" if array else f'["t{name}".x]\n') + written(table)
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return  # a key twice
    lines = lines_of(text)
    assert set(lines) == set(paths(data))
    assert all(1 <= line <= text.count("\n") + 1 for line in lines.values())
