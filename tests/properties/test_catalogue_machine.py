"""The catalogue against a dict: whatever comes, goes and comes again, in any order, it holds the newest of each key."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule

from tests.packed.indexes import index, ulid
from tests.properties.scale import SCALE
from tiercache.packed.catalogue import Catalogue, Found
from tiercache.packed.segment import Located

# Few keys with few different bytes: they share shards, and stand out of step in one another.
digests = st.lists(st.sampled_from([0, 1, 255]), min_size=3, max_size=3).map(
    lambda drawn: bytes([drawn[0], *[0] * 7, drawn[1], *[0] * 6, drawn[2]])
)
records = st.builds(
    Located,
    digest=digests,
    stamp=st.integers(0, 4),
    gone_at=st.sampled_from([0, 1, 2**32 - 1]),
    offset=st.integers(0, 300).map(lambda units: units * 8),
    length=st.sampled_from([0, 1, 256]),
)
contents = st.lists(records, max_size=12, unique_by=lambda record: record.digest)


@dataclass(frozen=True)
class Held:
    """The newest record of a key, and the segment in which it lies."""

    record: Located
    ulid: str
    number: int

    @property
    def order(self) -> tuple[int, str]:
        return self.record.stamp, self.ulid

    @property
    def found(self) -> Found:
        return Found(*self.record[1:], segment=self.number)


class CatalogueMachine(RuleBasedStateMachine):
    """Segments are added, added again and forgotten. A small table splits and joins its shards all the time."""

    made = Bundle("made")

    def __init__(self) -> None:
        super().__init__()
        self.catalogue = Catalogue(1_000)
        self.held: dict[bytes, Held] = {}
        self.numbers: dict[str, int] = {}
        self.used: set[int] = set()

    @initialize()
    def shards_are_small(self) -> None:
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr("tiercache.packed.shards.MOST", 4)

    def teardown(self) -> None:
        self.patch.undo()
        super().teardown()

    @rule(target=made, number=st.integers(0, 40), content=contents)
    def make(self, number: int, content: list[Located]) -> tuple[str, list[Located]]:
        return ulid(number), content

    @rule(segment=made)
    def add(self, segment: tuple[str, list[Located]]) -> None:
        name, content = segment
        number = self.catalogue.add(name, index(content))
        if name in self.numbers:
            assert number == self.numbers[name]
            return
        assert number not in self.used
        self.used.add(number)
        self.numbers[name] = number
        for record in content:
            self.held[record.digest] = newest(self.held.get(record.digest), Held(record, name, number))

    @rule(segment=made)
    def forget(self, segment: tuple[str, list[Located]]) -> None:
        number = self.numbers.pop(segment[0], None)
        self.catalogue.forget(number if number is not None else 9_999)
        self.held = {digest: held for digest, held in self.held.items() if held.number != number}

    @rule(digest=digests)
    def find(self, digest: bytes) -> None:
        held = self.held.get(digest)
        assert self.catalogue.find(digest) == (held and held.found)

    @rule(segment=made)
    def judge(self, segment: tuple[str, list[Located]]) -> None:
        number = self.numbers.get(segment[0], 9_999)
        for record in segment[1]:
            held = self.held.get(record.digest)
            is_newest = held is not None and (held.record, held.number) == (record, number)
            assert self.catalogue.is_winner(number, record) == is_newest

    @invariant()
    def it_holds_what_the_model_holds(self) -> None:
        listed = list(self.catalogue.digests())
        assert len(listed) == len(self.catalogue) == len(self.held)
        assert dict(listed) == {digest: held.found for digest, held in self.held.items()}

    @invariant()
    def it_counts_the_winners_of_each_segment(self) -> None:
        for number in self.used:
            assert self.catalogue.winners(number) == sum(held.number == number for held in self.held.values())


def newest(old: Held | None, new: Held) -> Held:
    return new if old is None or new.order > old.order else old


TestCatalogueMachine = CatalogueMachine.TestCase
TestCatalogueMachine.settings = settings(max_examples=60 * SCALE, stateful_step_count=40)


@given(
    content=st.lists(contents, max_size=8),
    order=st.randoms(use_true_random=False),
    most=st.integers(1, 30),
)
def test_the_order_in_which_segments_come_does_not_matter(
    content: list[list[Located]], order: random.Random, most: int
) -> None:
    segments = [(ulid(nth), index(records)) for nth, records in enumerate(content)]
    catalogue, other = Catalogue(1_000), Catalogue(1_000)
    assert by_name(catalogue, segments) == by_name(other, order.sample(segments, len(segments)))
    # A full one leaves keys out, which ones depends on the order; what it has of a key is the newest all the same.
    small = Catalogue(most)
    everything = by_name(Catalogue(1_000), segments)
    kept = by_name(small, order.sample(segments, len(segments)))
    assert kept.items() <= everything.items()
    assert len(kept) == min(most, len(everything))


def by_name(catalogue: Catalogue, segments: Sequence[tuple[str, bytes]]) -> dict[bytes, tuple[str, Found]]:
    names = {catalogue.add(name, body): name for name, body in segments}
    return {digest: (names[found.segment], found._replace(segment=0)) for digest, found in catalogue.digests()}
