"""The catalogue: the newest record of each key, in whatever order segments come and go, in at most 40 bytes a key."""

from __future__ import annotations

import itertools
import json
import logging
import os
import random
import subprocess
import sys
import threading
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.packed.indexes import at, index, segments, ulid
from tiercache.packed.catalogue import Catalogue, Found
from tiercache.packed.shards import RECORD_BYTES

A, B, C = (bytes([letter]) * 16 for letter in b"abc")


@pytest.fixture
def catalogue() -> Catalogue:
    return Catalogue(1_000_000)


def test_nothing_is_known_of_a_key_that_no_segment_holds(catalogue: Catalogue) -> None:
    catalogue.add(ulid(1), index([at(A)]))
    assert catalogue.find(B) is None


def test_all_fields_of_a_record_come_back_at_their_limits(catalogue: Catalogue) -> None:
    largest = at(A, 2**48 - 1, place=2**32 - 1, gone_at=2**32 - 1, length=2**32 - 1)
    number = catalogue.add(ulid(1), index([largest, at(B, 0, length=0)]))
    assert catalogue.find(A) == Found(2**48 - 1, 2**32 - 1, (2**32 - 1) * 8, 2**32 - 1, number)
    assert catalogue.find(B) == Found(0, 0, 0, 0, number)


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_the_higher_stamp_wins_in_any_order(catalogue: Catalogue, order: tuple[int, ...]) -> None:
    numbers = {nth: catalogue.add(ulid(10 - nth), index([at(A, stamp=nth)])) for nth in order}
    found = catalogue.find(A)
    assert found is not None
    assert (found.stamp, found.segment) == (2, numbers[2])
    assert [catalogue.winners(numbers[nth]) for nth in range(3)] == [0, 0, 1]
    assert len(catalogue) == 1


@pytest.mark.parametrize("order", [(1, 2), (2, 1)])
def test_of_equal_stamps_the_later_segment_wins(catalogue: Catalogue, order: tuple[int, ...]) -> None:
    numbers = {nth: catalogue.add(ulid(nth), index([at(A, stamp=7)])) for nth in order}
    found = catalogue.find(A)
    assert found is not None
    assert found.segment == numbers[2]


def test_a_tombstone_wins_like_any_record(catalogue: Catalogue) -> None:
    catalogue.add(ulid(1), index([at(A, 5)]))
    catalogue.add(ulid(2), index([at(A, 6, length=0)]))
    catalogue.add(ulid(3), index([at(A, 4)]))
    found = catalogue.find(A)
    assert found is not None
    assert (found.stamp, found.length) == (6, 0)


def test_a_segment_added_twice_is_added_once(catalogue: Catalogue) -> None:
    number = catalogue.add(ulid(1), index([at(A), at(B)]))
    assert catalogue.add(ulid(1), index([at(A), at(B)])) == number
    assert (len(catalogue), catalogue.winners(number)) == (2, 2)


def test_an_index_that_is_none_is_refused(catalogue: Catalogue) -> None:
    with pytest.raises(ValueError, match="34 bytes an entry"):
        catalogue.add(ulid(1), b"x" * 33)
    assert catalogue.add(ulid(1), index([at(A)])) == catalogue.add(ulid(1), index([at(A)]))
    assert catalogue.find(A) is not None


def test_a_winner_is_told_from_what_it_replaced(catalogue: Catalogue) -> None:
    old = catalogue.add(ulid(1), index([at(A, 1), at(B, 1)]))
    new = catalogue.add(ulid(2), index([at(A, 2)]))
    assert not catalogue.is_winner(old, at(A, 1))
    assert catalogue.is_winner(old, at(B, 1))
    assert catalogue.is_winner(new, at(A, 2))
    assert not catalogue.is_winner(new, at(A, 2, place=9))
    assert not catalogue.is_winner(new, at(C))
    assert not catalogue.is_winner(2**30, at(A, 2))
    assert (catalogue.winners(old), catalogue.winners(new)) == (1, 1)


# A forgotten segment


def test_a_forgotten_record_is_a_miss_and_never_an_older_one(catalogue: Catalogue) -> None:
    catalogue.add(ulid(1), index([at(A, 1), at(B, 1)]))
    newer = catalogue.add(ulid(2), index([at(A, 2)]))
    catalogue.forget(newer)
    assert catalogue.find(A) is None
    assert catalogue.find(B) is not None
    assert (len(catalogue), catalogue.winners(newer)) == (1, 0)
    assert not catalogue.is_winner(newer, at(A, 2))


def test_any_record_takes_the_place_of_a_forgotten_one(catalogue: Catalogue) -> None:
    catalogue.add(ulid(0), index([at(bytes([n]) * 16) for n in range(100)]))  # so that nothing is cleaned up
    catalogue.forget(catalogue.add(ulid(2), index([at(A, 9)])))
    older = catalogue.add(ulid(1), index([at(A, 1)]))
    found = catalogue.find(A)
    assert found is not None
    assert (found.stamp, found.segment) == (1, older)
    assert (len(catalogue), catalogue.winners(older)) == (101 - (A[0] < 100), 1)


def test_a_forgotten_segment_that_is_added_again_gets_another_number(catalogue: Catalogue) -> None:
    first = catalogue.add(ulid(1), index([at(A)]))
    catalogue.forget(first)
    again = catalogue.add(ulid(1), index([at(A)]))
    assert again != first
    catalogue.forget(first)  # whoever still holds the old number does no harm
    found = catalogue.find(A)
    assert found is not None
    assert found.segment == again


def test_forgetting_twice_or_what_was_never_known_changes_nothing(catalogue: Catalogue) -> None:
    number = catalogue.add(ulid(1), index([at(A)]))
    catalogue.add(ulid(2), index([at(B)]))
    for _ in range(2):
        catalogue.forget(number)
        catalogue.forget(12_345)
    assert len(catalogue) == 1


def test_numbers_that_have_been_used_up_begin_anew_and_leave_out_those_in_use(
    catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tiercache.packed.catalogue._NUMBERS", 3)
    numbers = [catalogue.add(ulid(nth), index([at(bytes([nth]) * 16)])) for nth in range(3)]
    catalogue.forget(numbers[1])
    assert catalogue.add(ulid(9), index([at(A)])) == numbers[1]
    with pytest.raises(OverflowError, match="compact"):
        catalogue.add(ulid(10), index([at(B)]))


def test_memory_is_given_back_when_much_is_gone(catalogue: Catalogue) -> None:
    numbers = [catalogue.add(*segment) for segment in segments(40_000)]
    before = catalogue.nbytes()
    for number in numbers[:-2]:
        catalogue.forget(number)
    assert len(catalogue) == catalogue.winners(numbers[-1]) + catalogue.winners(numbers[-2])
    assert catalogue.nbytes() < before / 8


# When it is full


def test_a_full_catalogue_leaves_new_keys_out_and_updates_known_ones() -> None:
    catalogue = Catalogue(2)
    catalogue.add(ulid(1), index([at(A), at(B)]))
    assert not catalogue.full
    number = catalogue.add(ulid(2), index([at(B, 2), at(C, 2)]))
    found = catalogue.find(B)
    assert found is not None
    assert found.segment == number
    assert catalogue.find(C) is None
    assert catalogue.full
    assert (len(catalogue), catalogue.winners(number)) == (2, 1)


def test_a_full_catalogue_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    catalogue = Catalogue(1)
    with caplog.at_level(logging.WARNING, logger="tiercache"):
        for number in range(3):
            catalogue.add(ulid(number), index([at(bytes([number]) * 16), at(bytes([number + 9]) * 16)]))
    assert len(caplog.records) == 1
    assert "max_entries=1" in caplog.text
    assert "computed again" in caplog.text


def test_what_was_forgotten_makes_room() -> None:
    catalogue = Catalogue(1)
    catalogue.forget(catalogue.add(ulid(1), index([at(A)])))
    catalogue.add(ulid(2), index([at(B)]))
    assert catalogue.find(B) is not None
    assert not catalogue.full


@pytest.mark.parametrize(("stamp", "is_found"), [(4, False), (5, False), (6, True)])
def test_an_older_record_is_not_taken_for_the_newest_after_a_newer_one_was_left_out(stamp: int, is_found: bool) -> None:
    catalogue = Catalogue(1)
    first = catalogue.add(ulid(1), index([at(A)]))
    catalogue.add(ulid(2), index([at(B, 5, length=0)]))  # left out: the tombstone of B
    catalogue.forget(first)
    catalogue.add(ulid(3), index([at(B, stamp)]))
    assert (catalogue.find(B) is not None) is is_found


@pytest.mark.parametrize("most", [0, -1])
def test_a_catalogue_of_nothing_is_refused(most: int) -> None:
    with pytest.raises(ValueError, match="max_entries"):
        Catalogue(most)


# What it looks like


def test_digests_are_all_that_find_finds(catalogue: Catalogue) -> None:
    numbers = [catalogue.add(*segment) for segment in segments(5_000, each=500)]
    catalogue.forget(numbers[3])
    listed = dict(catalogue.digests())
    assert len(listed) == len(catalogue) == 4_500
    assert all(catalogue.find(digest) == found for digest, found in listed.items())


def test_digests_go_on_while_the_catalogue_grows_and_shrinks(catalogue: Catalogue) -> None:
    few, many = list(segments(700, each=700)), list(segments(20_000, seed=2))
    first = catalogue.add(*few[0])
    digests = catalogue.digests()
    seen = [next(digests)[0] for _ in range(5)]
    numbers = [catalogue.add(f"x{name}", body) for name, body in many]
    seen += [next(digests)[0] for _ in range(1_000)]
    for number in numbers:
        catalogue.forget(number)
    seen += [digest for digest, _ in digests]
    assert len(seen) == len(set(seen))
    assert {digest for digest, found in catalogue.digests() if found.segment == first} <= set(seen)


def test_its_repr_shows_no_digest(catalogue: Catalogue) -> None:
    catalogue.add(ulid(1), index([at(A)]))
    assert repr(catalogue) == "<Catalogue: 1 of 1000000 entries, 1 segments>"


def test_a_digest_that_also_stands_across_two_records_is_found_where_it_belongs(catalogue: Catalogue) -> None:
    # The fields of one record and the digest of the next hold, out of step, the digest that is looked for.
    sought = bytes([0, 0, 0, 100, 0, 0, 0]) + bytes(9)
    stamps = {bytes(16): 3, bytes(15) + b"\1": 4, sought: 7}
    catalogue.add(ulid(1), index([at(digest, stamp) for digest, stamp in stamps.items()]))
    assert {digest: found.stamp for digest, found in catalogue.digests()} == stamps
    assert [found and found.stamp for found in map(catalogue.find, stamps)] == [3, 4, 7]
    assert catalogue.find(bytes(6) + bytes(9) + b"\2") is None


# Memory


@pytest.mark.parametrize("entries", [10_000, 40_000, pytest.param(1_000_000, marks=pytest.mark.slow)])
def test_an_entry_takes_at_most_40_bytes(entries: int) -> None:
    catalogue = Catalogue(entries)
    for name, body in segments(entries):
        catalogue.add(name, body)
    assert len(catalogue) == entries
    assert entries * RECORD_BYTES < catalogue.nbytes() <= 40 * entries


def measure(entries: int) -> dict[str, int]:
    """What a catalogue allocates, and what it says of that."""
    given = list(segments(entries))
    catalogue = Catalogue(entries)
    tracemalloc.start()
    for name, body in given:
        catalogue.add(name, body)
    allocated, peak = tracemalloc.get_traced_memory()
    names = sum(sys.getsizeof(name) for name, _ in given)  # they were there before
    return {"allocated": allocated + names, "peak": peak + names, "said": catalogue.nbytes()}


@pytest.mark.parametrize("entries", [10_000, 45_000])
def test_what_it_says_of_its_memory_is_what_python_allocates(entries: int) -> None:
    # In a process of its own: threads of other tests allocate as well.
    program = f"import json; from tests.packed.test_catalogue import measure; print(json.dumps(measure({entries})))"
    root = Path(__file__).parent.parent.parent
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(root), str(root / "backends")])}
    done = subprocess.run(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, check=True, cwd=root, env=env, timeout=100
    )
    found = json.loads(done.stdout)
    assert found["allocated"] <= 40 * entries
    assert abs(found["allocated"] - found["said"]) < 0.03 * found["said"]
    assert found["peak"] <= 44 * entries  # growing does not hold everything twice


# Threads


def at_once(*work: Callable[[], None]) -> None:
    failures: list[BaseException] = []

    def run(one: Callable[[], None]) -> None:
        try:
            one()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(one,)) for one in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    if failures:
        raise failures[0]


@pytest.fixture
def hasty() -> object:
    """Threads take turns a thousand times as often."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(5e-6)
    yield
    sys.setswitchinterval(usual)


@pytest.mark.usefixtures("hasty")
def test_readers_find_what_is_there_while_others_add_and_forget(catalogue: Catalogue) -> None:
    stays = list(segments(2_000, each=500, seed=3))
    comes_and_goes = list(segments(20_000, each=1_000, seed=4))
    numbers = {catalogue.add(f"stays{name}", body) for name, body in stays}
    sought = [digest for digest, _ in catalogue.digests()]
    done = threading.Event()
    missed: list[bytes] = []

    def read() -> None:
        while not done.is_set():
            for digest in random.sample(sought, 200):
                found = catalogue.find(digest)
                if found is None or found.segment not in numbers:
                    missed.append(digest)

    def change() -> None:
        try:
            for turn in range(3):
                added = [catalogue.add(f"{turn}{name}", body) for name, body in comes_and_goes]
                for number in added:
                    catalogue.forget(number)
        finally:
            done.set()

    at_once(read, read, change)
    assert missed == []
    assert len(catalogue) == 2_000


@pytest.mark.usefixtures("hasty")
def test_a_key_that_is_moved_from_segment_to_segment_is_found_at_any_moment(catalogue: Catalogue) -> None:
    body = index([at(bytes([n]) * 16) for n in range(200)])
    older = catalogue.add(ulid(0), body)
    done = threading.Event()
    missed = 0

    def read() -> None:
        nonlocal missed
        while not done.is_set():
            missed += catalogue.find(A) is None

    def move() -> None:
        nonlocal older
        try:
            for turn in range(1, 200):
                newer = catalogue.add(ulid(turn), body)
                catalogue.forget(older)
                older = newer
        finally:
            done.set()

    at_once(read, move)
    assert missed == 0


@pytest.mark.usefixtures("hasty")
def test_several_threads_that_add_the_same_segments_agree(catalogue: Catalogue) -> None:
    draw = random.Random(5)
    keys = [draw.randbytes(16) for _ in range(400)]
    given = [
        (ulid(nth), index(at(key, draw.randrange(9)) for key in sorted(draw.sample(keys, 100)))) for nth in range(60)
    ]
    numbers: list[dict[str, int]] = [{}, {}, {}]

    def add(into: dict[str, int], order: int) -> None:
        for name, body in random.Random(order).sample(given, len(given)):
            into[name] = catalogue.add(name, body)

    at_once(*[lambda into=into, order=order: add(into, order) for order, into in enumerate(numbers)])
    alone = Catalogue(1_000_000)
    expected = {alone.add(name, body): name for name, body in given}
    names = {number: name for name, number in numbers[0].items()}
    assert numbers[0] == numbers[1] == numbers[2]
    assert {digest: (found.stamp, names[found.segment]) for digest, found in catalogue.digests()} == {
        digest: (found.stamp, expected[found.segment]) for digest, found in alone.digests()
    }
    assert sum(map(catalogue.winners, names)) == len(catalogue) == len(alone)
