"""Which requests bring a batch: near records in one, far ones apart, a whole segment where nothing in it is far."""

from __future__ import annotations

import random

import pytest

from tests.packed.objects import entry, packed
from tiercache.packed.ranges import GAP_BYTES, Wanted, gap_of, plan
from tiercache.pricing import GB
from tiercache_s3.classes import RULES


def records(*offsets, segment=1, length=100):
    return [Wanted(b"%016d" % offset, segment, offset, length) for offset in offsets]


def test_records_with_at_most_the_gap_between_them_are_one_request():
    assert [(one.start, one.length) for one in plan(records(0, 600), 500)] == [(0, 700)]
    assert [(one.start, one.length) for one in plan(records(0, 601), 500)] == [(0, 100), (601, 100)]


def test_the_order_in_which_they_are_asked_for_does_not_matter():
    assert plan(records(900, 0, 450), 400) == plan(records(0, 450, 900), 400)


def test_records_of_two_segments_are_two_requests():
    assert len(plan([*records(0), *records(100, segment=2)], 500)) == 2


def test_every_hundredth_record_of_a_segment_brings_the_whole_of_it():
    step = GAP_BYTES // 100
    [one] = plan(records(*range(0, 16 * GAP_BYTES, 100 * step), length=step), GAP_BYTES)
    assert one.length > 15 * GAP_BYTES


def test_each_record_is_cut_out_of_what_was_read():
    [one] = plan(records(10, 200, length=5), 500)
    data = bytes(range(10, 205))
    assert dict(one.parts(data)) == {b"%016d" % 10: data[:5], b"%016d" % 200: data[190:195]}


@pytest.mark.parametrize("name", ["STANDARD_IA", "ONEZONE_IA", "GLACIER_IR"])
def test_where_reading_bytes_is_billed_no_gap_costs_more_than_a_request(name):
    prices = RULES[name].prices
    assert gap_of(RULES[name]) / GB * prices.retrieval <= prices.read / 1000
    assert gap_of(RULES[name]) < GAP_BYTES == gap_of(RULES["STANDARD"])


def test_far_records_of_a_stored_segment_are_asked_for_apart(objects):
    backend = packed(objects, segment_bytes="8MiB")
    noise, filler = random.Random(7), [f"n:filler:{number}" for number in range(40)]
    for key in ["n:first", *filler, "n:last"]:
        backend.put(key, entry(key, noise.randbytes(32 * 1024), codec="x"))
    backend.flush()
    assert len(objects.segments()) == 1
    with objects.counted() as calls:
        assert len(backend.get_many(["n:first", "n:last"])) == 2
    assert calls == {"read_range": 2}
    with objects.counted() as calls:
        assert len(backend.get_many(["n:first", *filler, "n:last"])) == 42
    assert calls == {"read_range": 1}
