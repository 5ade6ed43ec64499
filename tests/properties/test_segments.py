"""Any records and any names: what is written is read back, and segments and entries are never taken for each other."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.packed.segments import tail_of
from tests.properties.values import TEXTS
from tiercache import keys
from tiercache.objectstore.listing import ours
from tiercache.objectstore.objects import ObjectInfo
from tiercache.packed import segment
from tiercache.packed.naming import BUCKETS, FOLDER, KEEP, SegmentName, Ulids, bucket_of, object_name, parse
from tiercache.packed.segment import Record

DAY = 86_400
ALL_BUCKETS = [name for name, _ in BUCKETS] + [KEEP]
NAMES = st.builds(
    SegmentName,
    st.sampled_from(ALL_BUCKETS),
    st.text("0123456789ABCDEFGHJKMNPQRSTVWXYZ", min_size=25, max_size=25).map(lambda text: "7" + text),
    st.integers(1, 9_999_999_999),
    st.integers(1, 9_999_999_999),
)
PREFIXES = st.sampled_from(["", "p/", "a/b.c/", "_segments/", "with space/", "p/_segments/1d/"])
KEYS = st.one_of(
    TEXTS.filter(bool),
    NAMES.map(lambda name: object_name("", name)),
    TEXTS.map(lambda text: FOLDER + text),
    st.integers(1, 400).map(lambda count: "_segments/30d/" * count),
)
RECORDS = st.lists(
    st.tuples(
        TEXTS.filter(bool), st.integers(0, 2**48 - 1), st.integers(0, 2**32 - 1), st.binary(max_size=50), st.booleans()
    ),
    min_size=1,
    max_size=60,
    unique_by=lambda fields: fields[0],
).map(lambda rows: [_record(*fields) for fields in rows])


def _record(key: str, stamp: int, gone_at: int, data: bytes, kept: bool) -> Record:
    digest = segment.digest_of(key)
    return Record(digest, stamp, gone_at, data, key) if kept and data else Record(digest, stamp, gone_at, b"", "")


@given(records=RECORDS)
def test_every_record_is_read_back(records: list[Record]):
    built = segment.build(records)
    tail = tail_of(built)
    assert tail.index == built.index
    names = segment.read_keys(built.body[tail.keys_at : tail.keys_at + tail.keys_bytes], tail)
    found = [
        Record(one.digest, one.stamp, one.gone_at, built.body[one.offset :][: one.length] if one.length else b"", key)
        for one, key in zip(segment.located(tail.index), names, strict=True)
    ]
    assert found == sorted(records)


@given(records=RECORDS, strangers=st.lists(TEXTS | st.binary(min_size=16, max_size=16), max_size=20))
def test_what_is_found_is_what_is_there(records: list[Record], strangers: list[str | bytes]):
    index = segment.build(records).index
    there = {one.digest: one for one in segment.located(index)}
    assert set(there) == {one.digest for one in records}
    for digest in [*there, *(segment.digest_of(one) if isinstance(one, str) else one for one in strangers)]:
        assert segment.find(index, digest) == there.get(digest)


@given(records=RECORDS)
def test_the_same_records_are_the_same_segment(records: list[Record]):
    assert segment.build(records) == segment.build(list(records))


@given(prefix=PREFIXES, name=NAMES)
def test_every_name_is_read_back(prefix: str, name: SegmentName):
    assert parse(prefix, object_name(prefix, name)) == name


@given(prefix=PREFIXES, one=NAMES, other=NAMES)
def test_two_segments_never_have_one_name(prefix: str, one: SegmentName, other: SegmentName):
    assert (object_name(prefix, one) == object_name(prefix, other)) == (one == other)


@given(prefix=PREFIXES, text=st.text("0123456789-/ADZdkeps_gmnt", max_size=60) | TEXTS)
def test_what_is_read_is_what_would_be_written(prefix: str, text: str):
    for name in (text, prefix + text, prefix + FOLDER + text):
        found = parse(prefix, name)
        assert found is None or object_name(prefix, found) == name


@given(name=NAMES)
def test_a_segment_is_never_taken_for_an_entry(name: SegmentName):
    text = object_name("", name)
    assert keys.key_of(text) is None
    assert not keys.is_cut(text)
    assert ours([ObjectInfo("p/" + text, 1, None, 0.0)], "p/", "") == []


@given(key=KEYS)
def test_an_entry_is_never_taken_for_a_segment(key: str):
    name = keys.object_name(key)
    assert not name.startswith(FOLDER)
    assert parse("", name) is None
    assert parse("p/", "p/" + name) is None


@given(life=st.floats(0, 400 * DAY))
def test_no_bucket_ends_before_a_life_in_it(life: float):
    bucket = bucket_of(life)
    assert bucket == KEEP or dict(BUCKETS)[bucket] >= life


@given(steps=st.lists(st.floats(-1e6, 1e6), max_size=50))
def test_ulids_ascend_however_the_clock_goes(steps: list[float]):
    ulids, now, minted = Ulids(), 1.7e9, []
    for step in steps:
        now += step
        minted.append(ulids.new(now))
    assert minted == sorted(set(minted))
