"""The names of segments: read back as they were made, taken for nothing else, in the order of time."""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tiercache import keys
from tiercache.packed import naming
from tiercache.packed.naming import BUCKETS, FOLDER, KEEP, SegmentName, Ulids, bucket_of, longer, object_name, parse

DAY = 86_400
ULID = "01HF7YAT00B7TWJDGHZYW2QB0Q"
NAME = SegmentName("30d", ULID, 1365, 46_506)
TEXT = f"p/_segments/30d/{ULID}-1365-46506"
ALL_BUCKETS = [name for name, _ in BUCKETS] + [KEEP]


# Names


def test_a_name_says_what_a_reader_must_know():
    assert object_name("p/", NAME) == TEXT
    assert parse("p/", TEXT) == NAME


@pytest.mark.parametrize(
    "text",
    [
        "",
        "p/",
        "p/_segments/",
        "p/_segments/30d/",
        TEXT.removeprefix("p/"),
        "q/" + TEXT.removeprefix("p/"),
        "p/" + TEXT,
        TEXT + "/",
        TEXT + "\n",
        TEXT + " ",
        TEXT + "-1",
        TEXT + ".tmp",
        TEXT.lower(),
        TEXT.replace("30d", "30D"),
        TEXT.replace("30d", "31d"),
        TEXT.replace("30d", "030d"),
        TEXT.replace("30d/", ""),
        TEXT.replace("30d/", "30d//"),
        TEXT.replace("_segments", "segments"),
        TEXT.replace(ULID, ULID[:-1]),
        TEXT.replace(ULID, ULID + "0"),
        TEXT.replace(ULID, "8" + ULID[1:]),
        TEXT.replace(ULID, ULID[:-1] + "U"),
        TEXT.replace(ULID, ULID[:-1] + "I"),
        TEXT.replace(ULID, ULID[:-1] + "L"),
        TEXT.replace(ULID, ULID[:-1] + "O"),
        TEXT.replace(ULID, ULID[:-1] + "q"),
        TEXT.replace("1365", "0"),
        TEXT.replace("1365", "01365"),
        TEXT.replace("1365", "+1365"),
        TEXT.replace("1365", "-1365"),
        TEXT.replace("1365", "1_365"),
        TEXT.replace("1365", "١٣٦٥"),
        TEXT.replace("1365", "1365.0"),
        TEXT.replace("1365", ""),
        TEXT.replace("1365", "1" * 11),
        TEXT.replace("46506", "0"),
        TEXT.replace("46506", "046506"),
        TEXT.replace("46506", "1" * 5000),
        TEXT.replace("-46506", ""),
    ],
)
def test_what_is_written_in_any_other_way_is_not_a_segment(text: str):
    assert parse("p/", text) is None


@pytest.mark.parametrize(
    "name",
    [
        NAME._replace(bucket="2d"),
        NAME._replace(bucket=""),
        NAME._replace(ulid=ULID.lower()),
        NAME._replace(ulid=""),
        NAME._replace(ulid=ULID + "-1"),
        NAME._replace(count=0),
        NAME._replace(count=-1),
        NAME._replace(tail=0),
        NAME._replace(tail=10**10),
    ],
)
def test_a_name_that_would_not_be_read_is_not_written(name: SegmentName):
    with pytest.raises(ValueError):
        object_name("p/", name)


# Beside entries in objects of their own


def test_a_listing_of_any_keys_prefix_leaves_segments_out():
    for prefix in ("", "_", "_segments", "_segments/", TEXT):
        listed = keys.listing_prefix(prefix)
        assert not listed.startswith(FOLDER)


# Buckets


@pytest.mark.parametrize(
    ("life", "bucket"),
    [
        (-5, "1d"),
        (0, "1d"),
        (60, "1d"),
        (DAY, "1d"),
        (DAY + 0.001, "7d"),
        (7 * DAY, "7d"),
        (7 * DAY + 1, "30d"),
        (30 * DAY, "30d"),
        (30 * DAY + 1, "90d"),
        (90 * DAY + 1, "365d"),
        (365 * DAY, "365d"),
        (365 * DAY + 1, KEEP),
        (float("inf"), KEEP),
        (None, KEEP),
    ],
)
def test_a_life_is_rounded_up_to_its_bucket(life: float | None, bucket: str):
    assert bucket_of(life) == bucket


def test_the_longer_of_two_buckets():
    for n, one in enumerate(ALL_BUCKETS):
        for m, other in enumerate(ALL_BUCKETS):
            assert longer(one, other) == ALL_BUCKETS[max(n, m)]


# ULIDs


def test_a_ulid_tells_its_time_and_is_one():
    ulid = Ulids().new(1_700_000_000.1239)
    assert re.fullmatch(r"[0-7][0-9A-HJKMNP-TV-Z]{25}", ulid)
    assert naming.ulid_time(ulid) == 1_700_000_000.123


def test_a_known_ulid_has_the_time_that_the_specification_gives_it():
    assert naming.ulid_time("01ARYZ6S41TSV4RRFFQ69G5FAV") == 1_469_918_176.385


@pytest.mark.parametrize("text", ["", ULID[1:], ULID + "0", ULID.lower(), "8" + ULID[1:], ULID[:-1] + "\n"])
def test_the_time_of_what_is_no_ulid_is_refused(text: str):
    with pytest.raises(ValueError):
        naming.ulid_time(text)


def test_ulids_ascend_with_time():
    ulids = Ulids()
    minted = [ulids.new(moment / 1000) for moment in range(1_700_000_000_000, 1_700_000_100_000, 777)]
    assert minted == sorted(minted)


def test_the_process_has_one_row_of_ulids():
    minted = [naming.new_ulid(time.time()) for _ in range(1000)]
    assert minted == sorted(set(minted))


@pytest.mark.parametrize("now", [-1.0, 0.0, 1e15])
def test_a_clock_that_is_far_off_makes_ulids_all_the_same(now: float):
    first, second = (ulids := Ulids()).new(now), ulids.new(now)
    assert first < second
    assert 0 <= naming.ulid_time(first) < 2**48 / 1000


def test_two_processes_at_the_same_time_mint_different_ones():
    assert len({Ulids().new(1.7e9) for _ in range(1000)}) == 1000


def test_threads_mint_different_ones():
    ulids, minted = Ulids(), []

    def mint() -> None:
        own = [ulids.new(1.7e9) for _ in range(500)]
        minted.extend(own)
        assert own == sorted(own)

    threads = [threading.Thread(target=mint) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(set(minted)) == 2000


FORK = """
import os
from tiercache.packed.naming import new_ulid

def in_a_child():
    reading, writing = os.pipe()
    if not os.fork():
        os.write(writing, new_ulid(1.7e9).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as answers:
        return answers.read()

print(new_ulid(1.7e9), in_a_child(), in_a_child(), new_ulid(1.7e9))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_child_mints_others_above_those_of_its_parent():
    root = Path(__file__).parent.parent.parent
    ran = subprocess.run([sys.executable, "-c", FORK], cwd=root, capture_output=True, text=True, timeout=60, check=True)
    before, *children, after = ran.stdout.split()
    assert len({before, *children, after}) == 4
    assert all(child > before for child in children)


def test_the_first_ulid_of_a_moment_sorts_before_all_of_it_and_after_all_before():
    first = naming.first_ulid(1_700_000_000.5)
    assert Ulids().new(1_700_000_000.499) < first <= Ulids().new(1_700_000_000.5)
    assert naming.ulid_time(first) == 1_700_000_000.5


def test_the_order_of_names_in_a_bucket_is_that_of_time():
    rng = random.Random(7)
    ulids = Ulids()
    names = [
        object_name("", SegmentName("1d", ulids.new(1.7e9 + n), rng.randrange(1, 10**6), rng.randrange(1, 10**6)))
        for n in range(500)
    ]
    assert names == sorted(names)
