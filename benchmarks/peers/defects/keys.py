"""Keys made of arguments: different requests have different keys, equal requests the same."""

from __future__ import annotations

import functools

from bench import Bench, Outcome, judged, row
from library import Cache, NotOfferedError, Request

SEPARATORS = (":", "::", " ", "|", ",", ", ", "', '", "_", "-", "/")
PAIRS: list[tuple[Request, Request]] = [
    ((("x" + mark + "y", "z"), {}), (("x", "y" + mark + "z"), {})) for mark in SEPARATORS
] + [(((1, "z"), {}), (("1", "z"), {})), ((("x", None), {}), (("x", "None"), {})), ((("x", ""), {}), (("x", None), {}))]


@row(
    "key-collision",
    "Two different requests whose joined parts are the same text",
    topic="keys",
    done=f"A cached function that answers with its own arguments is called with {len(PAIRS)} pairs of different "
    "arguments, such as ('x:y', 'z') and ('x', 'y:z'), 1 and '1', None and 'None', and with pairs made for the way in "
    "which the library joins.",
    right="Nobody gets the answer to another request.",
)
def key_collision(bench: Bench) -> Outcome:
    library = bench.library
    texts_only = not library.takes_keywords
    pairs = [] if library.own_requests_only else PAIRS
    if texts_only:
        pairs = [pair for pair in pairs if all(isinstance(part, str) for one in pair for part in one[0])]
    cache = library.keyed(bench)
    wrong = []
    for one, other in pairs + library.collisions:
        if _ask(bench, cache, one) == _ask(bench, cache, other):
            wrong.append(f"{_text(one)} and {_text(other)}")
    count = len(pairs) + len(library.collisions)
    return judged(
        not wrong, f"{len(wrong)} of {count} pairs shared an answer" + f": {'; '.join(wrong[:2])}" * bool(wrong)
    )


@row(
    "keyword-order",
    "Keyword arguments in another order",
    topic="keys",
    done="A cached function is called as f(first=…, second=…) and as f(second=…, first=…); then with two equal dicts "
    "whose items stand in different orders.",
    right="The same key: the second call is a hit. (A miss is not wrong, but is paid for twice.)",
)
def keyword_order(bench: Bench) -> Outcome:
    library = bench.library
    if not library.takes_keywords:
        raise NotOfferedError("its keys are given, not made of arguments")
    cache = library.keyed(bench)
    keywords = library.keyword_request
    turned = dict(reversed(keywords.items()))
    missed = []
    if _ask(bench, cache, ((), keywords)) != _ask(bench, cache, ((), turned)):
        missed.append("keywords")
    name = "messages" if library.own_requests_only else "first"
    one, two = ({**keywords, name: value} for value in _nested(library.own_requests_only))
    if _ask(bench, cache, ((), one)) != _ask(bench, cache, ((), two)):
        missed.append("a dict's items")
    return judged(
        not missed, f"another key for another order of {' and of '.join(missed)}" if missed else "the same key"
    )


def _ask(bench: Bench, cache: Cache, request: Request) -> object:
    args, kwargs = request
    return bench.call(functools.partial(cache.ask, *args, **kwargs))


def _text(request: Request) -> str:
    args, kwargs = request
    return f"({', '.join([*map(repr, args), *(f'{name}={value!r}' for name, value in kwargs.items())])})"


def _nested(listed: bool) -> tuple[object, object]:
    one = {"role": "user", "content": "hello"}
    two = {"content": "hello", "role": "user"}
    return ([one], [two]) if listed else (one, two)
