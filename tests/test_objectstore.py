"""`ObjectStoreBackend` on a dict: what it asks of a store, and what it makes of the answers."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from contextlib import nullcontext
from dataclasses import replace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiercache import envelope, keys
from tiercache.entry import Entry, Metadata
from tiercache.errors import (
    BackendTimeout,
    BackendUnavailable,
    ConfigurationError,
    CorruptEntry,
    EntryTooLarge,
    PartialFailure,
    UnknownFormat,
)
from tiercache.objectstore import ObjectInfo, ObjectStore, ObjectStoreBackend, check_size
from tiercache.objectstore.faults import Refused
from tiercache.objectstore.mirror import ITEMS, from_user_metadata, to_user_metadata
from tiercache.objectstore.ranges import range_header


class DictStore(ObjectStore):
    """Objects in a dict, in listings of a hundred, with a count of the calls."""

    lists_from = True

    def __init__(self):
        self.objects = {}
        self.calls = Counter()
        self.lock = threading.RLock()
        self.versions = 0

    def read(self, name, *, limit, deadline):
        self.calls["GET"] += 1
        found = self.objects.get(name)
        if found is None or found[0].archived:
            return None
        check_size(found[0].size, limit)
        return found

    def read_range(self, name, start, length, *, deadline):
        range_header(start, length)
        self.calls["GET"] += 1
        found = self.objects.get(name)
        return None if found is None or found[0].archived else found[1][start : start + length]

    def stat(self, name, *, deadline):
        self.calls["HEAD"] += 1
        found = self.objects.get(name)
        return None if found is None else found[0]

    def write(self, upload, *, if_absent, if_match, deadline):
        self.calls["PUT"] += 1
        name, body, user_metadata = upload.name, upload.body, upload.user_metadata
        with self.lock:
            found = self.objects.get(name)
            if if_absent and found is not None:
                return False
            if if_match is not None and (found is None or found[0].etag != if_match):
                return False
            self.versions += 1
            info = ObjectInfo(name, len(body), f"v{self.versions}", "HOT", 1_700_000_000.0, False, dict(user_metadata))
            self.objects[name] = info, body
            return True

    def remove(self, name, *, deadline):
        self.calls["DELETE"] += 1
        self.objects.pop(name, None)

    def remove_many(self, versions, *, deadline):
        self.calls["DELETE many"] += 1
        failed = {}
        for name, etag in versions.items():
            found = self.objects.get(name)
            if etag is not None and found is not None and found[0].etag != etag:
                failed[name] = Refused("changed")
            else:
                self.objects.pop(name, None)
        return failed

    def list_page(self, prefix, token, *, after=None, limit=None, deadline):
        self.calls["LIST"] += 1
        after = max(after or "", token or "")
        names = sorted(name for name in list(self.objects) if name.startswith(prefix) and name > after)
        size = min(limit or 100, 100)
        page = [replace(self.objects[name][0], user_metadata=None) for name in names[:size]]
        return page, names[size - 1] if len(names) > size else None

    def probe(self, prefix, *, deadline):
        self.calls["LIST"] += 1

    def close(self):
        pass

    def change(self, name, body=None, **info):
        """Change an object beside the backend."""
        old, data = self.objects.get(name, (ObjectInfo(name, 0), b""))
        data = data if body is None else body
        self.objects[name] = replace(old, size=len(data), **info), data


@pytest.fixture
def store():
    return DictStore()


@pytest.fixture
def backend(store, clock):
    backend = ObjectStoreBackend(store, prefix="cache", max_concurrency=4, max_entry_bytes="1MiB", clock=clock)
    yield backend
    backend.close()


def entry(key, payload=b"payload", **fields):
    fields = {"created_at": 1_700_000_000.0, "size": len(payload)} | fields
    return Entry(payload, Metadata(key=key, **fields))


EXPIRED = {"expires_at": 1_699_999_999.0}


# Requests


def test_a_read_a_write_and_a_head_are_one_request_each(backend, store):
    backend.put("k", entry("k"))
    backend.get("k")
    backend.head("k")
    assert store.calls == {"PUT": 1, "GET": 1, "HEAD": 1}


def test_a_delete_is_a_head_and_a_delete_and_of_nothing_a_head(backend, store):
    backend.put("k", entry("k"))
    backend.delete("k")
    backend.delete("k")
    assert store.calls == {"PUT": 1, "HEAD": 2, "DELETE": 1}


def test_delete_many_sends_as_many_requests_as_the_store_needs(backend, store):
    store.bulk_delete = 100
    assert backend.delete_many([f"k{number}" for number in range(250)]) == 250
    assert store.calls == {"DELETE many": 3}


def test_clear_lists_and_deletes_in_bulk_without_reading_anything(backend, store):
    long = [f"{'é' * 400}{number}" for number in range(3)]
    for key in ["a", "b", *long]:
        backend.put(key, entry(key))
    store.calls.clear()
    assert backend.clear() == 5
    assert store.calls == {"LIST": 1, "DELETE many": 1}


def test_clear_of_a_prefix_that_no_name_holds_reads_the_keys_that_are_as_long(backend, store):
    start = "k" * 2000
    for key in (start + "a", start + "b", "k" * 850):
        backend.put(key, entry(key))
    assert backend.clear(start + "a") == 1
    assert sorted(key for key, _ in backend.scan()) == ["k" * 850, start + "b"]


def test_scan_reads_only_the_objects_whose_names_were_cut(backend, store):
    long = "é" * 400
    for key in ("short", long):
        backend.put(key, entry(key))
    store.calls.clear()
    assert {key for key, _ in backend.scan()} == {"short", long}
    assert store.calls == {"LIST": 1, "GET": 1}


def test_a_full_scan_heads_each(backend, store):
    for key in ("a", "b"):
        backend.put(key, entry(key, expires_at=1_800_000_000.0))
    store.calls.clear()
    assert [metadata.expires_at for _, metadata in backend.scan(full=True)] == [1_800_000_000.0] * 2
    assert store.calls == {"LIST": 1, "HEAD": 2}


# Names


@pytest.mark.parametrize(("prefix", "becomes"), [("", ""), ("a", "a/"), ("a/b/", "a/b/")])
def test_a_prefix_ends_in_a_slash(store, prefix, becomes):
    assert ObjectStoreBackend(store, prefix=prefix).prefix == becomes


@pytest.mark.parametrize("prefix", ["/a", "/", "a//b", "a/../b", "./a", "ä", "a\nb", "x" * 115])
def test_a_prefix_that_could_not_be_listed_or_is_too_long_is_refused(store, prefix):
    with pytest.raises(ConfigurationError, match="prefix"):
        ObjectStoreBackend(store, prefix=prefix)


def test_scan_and_clear_leave_other_peoples_objects_alone(backend, store):
    others = ["cache/_meta/epoch", "cache/deeper/key", "cache/_meta/~x", "cachekey", "cache/a b", "elsewhere"]
    for name in others:
        store.change(name, b"theirs")
    backend.put("mine", entry("mine"))
    assert [key for key, _ in backend.scan()] == ["mine"]
    assert backend.clear() == 1
    assert sorted(store.objects) == sorted(others)


@pytest.fixture(params=["scan", "sweep", "clear"])
def through(request):
    """A function that goes through all objects of a backend."""
    return {"scan": lambda backend: list(backend.scan())}.get(request.param, lambda b: getattr(b, request.param)())


def test_a_store_that_lists_more_than_it_was_asked_for_shows_and_loses_nothing_of_others(backend, store, through):
    backend.put("k", entry("k"))
    store.change("theirs", user_metadata={"tiercache-version": "1", "created": "1.0", "expires": "2.0"})
    list_page = store.list_page
    store.list_page = lambda prefix, token, **options: list_page("", token, **options)
    assert [key for key, _ in backend.scan()] == ["k"]
    through(backend)
    assert "theirs" in store.objects


@pytest.mark.parametrize("token", ["x", ""])
def test_a_listing_that_does_not_go_on_ends(backend, store, through, token):
    asked = []
    store.list_page = lambda prefix, following, **_: (asked.append(following) or [], token)
    with pytest.raises(BackendUnavailable, match="does not go on") if token else nullcontext():
        through(backend)
    assert asked == ([None, "x"] if token else [None])


def test_a_scan_leaves_out_a_cut_name_that_is_not_its_entrys(backend, store):
    key = "é" * 400
    backend.put(key, entry(key))
    name = "cache/" + keys.object_name(key)
    store.change(name[:-1] + ("0" if name[-1] != "0" else "1"), store.objects[name][1])
    assert [key for key, _ in backend.scan()] == [key]


def test_a_listing_tells_size_and_class_and_when_it_was_written(backend):
    backend.put("k", entry("k"))
    [(_, listed)] = backend.scan()
    head = backend.head("k")
    assert (listed.stored_size, listed.etag, listed.storage_class) == (head.stored_size, head.etag, "HOT")
    assert (listed.created_at, listed.expires_at) == (1_700_000_000.0, None)


# Reads


def test_a_read_reports_the_stores_etag_and_class_and_keeps_the_bytes(backend, store):
    backend.put("k", entry("k"))
    got = backend.get("k")
    info, body = store.objects["cache/k"]
    assert (got.metadata.etag, got.metadata.storage_class, got.metadata.stored_size) == (info.etag, "HOT", len(body))
    assert got.wire == body


def test_an_object_under_another_keys_name_is_corrupt(backend, store):
    backend.put("a", entry("a"))
    info, body = store.objects["cache/a"]
    store.objects["cache/b"] = replace(info, name="cache/b"), body
    with pytest.raises(CorruptEntry):
        backend.get("b")
    with pytest.raises(CorruptEntry):
        backend.head("b")


def test_an_archived_object_is_a_miss_that_can_be_replaced_and_deleted(backend, store):
    backend.put("k", entry("k", b"old"))
    store.change("cache/k", archived=True)
    assert backend.get("k") is None
    assert backend.head("k") is None
    assert list(backend.scan()) == []
    assert backend.put("k", entry("k", b"new"), if_absent=True) is True
    store.change("cache/k", archived=True)
    assert backend.delete("k") is False
    assert store.objects == {}


def test_an_object_larger_than_any_entry_is_corrupt(backend, store):
    store.change("cache/k", bytes(3 * 2**20))
    with pytest.raises(CorruptEntry, match="max_entry_bytes"):
        backend.get("k")


def test_a_larger_payload_than_allowed_is_not_decompressed(backend, store):
    large = entry("k", bytes(2 * 2**20))
    store.change("cache/k", envelope.encode(large))
    assert len(store.objects["cache/k"][1]) < 2**20
    with pytest.raises(CorruptEntry):
        backend.get("k")


# Writes


def test_sixteen_mebibytes_are_taken_unless_another_limit_is_given(store):
    assert ObjectStoreBackend(store).max_entry_bytes == 16 * 2**20


def test_a_larger_payload_is_refused_before_any_request(backend, store):
    with pytest.raises(EntryTooLarge, match="max_entry_bytes"):
        backend.put("k", entry("k", bytes(2**20 + 1)))
    assert store.calls == {}


def test_bytes_that_were_read_under_another_key_are_not_stored(backend, store):
    other = envelope.decode(envelope.encode(entry("other")))
    with pytest.raises(CorruptEntry):
        backend.put("k", Entry(other.payload, entry("k").metadata, other.wire))
    assert store.calls == {}


def test_a_put_takes_one_condition(backend):
    with pytest.raises(ConfigurationError, match="not both"):
        backend.put("k", entry("k"), if_absent=True, if_match="v1")


@pytest.mark.parametrize("state", ["expired", "damaged"])
def test_if_absent_over_what_is_unusable_costs_a_head_and_a_conditional_put(backend, store, state):
    backend.put("k", entry("k", **EXPIRED))
    if state == "damaged":
        store.change("cache/k", b"damaged", user_metadata={})
    store.calls.clear()
    assert backend.put("k", entry("k", b"new"), if_absent=True) is True
    assert store.calls["PUT"] == 2
    assert store.calls["HEAD"] == 1
    assert backend.get("k").payload == b"new"


def test_if_absent_leaves_an_entry_of_a_later_release_in_place(backend, store):
    backend.put("k", entry("k"))
    later = {"tiercache-version": "9"}
    store.change("cache/k", user_metadata=later)
    assert backend.put("k", entry("k", b"new"), if_absent=True) is False
    with pytest.raises(UnknownFormat):
        backend.head("k")


def test_if_absent_loses_against_who_replaces_the_expired_entry_first(backend, store):
    backend.put("k", entry("k", **EXPIRED))
    looked = store.stat

    def stat_and_lose(name, *, deadline):
        info = looked(name, deadline=deadline)
        store.change(name, envelope.encode(entry("k", b"theirs")), etag="theirs")
        return info

    store.stat = stat_and_lose
    assert backend.put("k", entry("k", b"ours"), if_absent=True) is False
    assert backend.get("k").payload == b"theirs"


def test_if_absent_writes_when_what_stood_in_the_way_goes(backend, store):
    backend.put("k", entry("k"))
    store.stat = lambda name, *, deadline: store.objects.pop(name) and None
    assert backend.put("k", entry("k", b"ours"), if_absent=True) is True


def test_a_write_without_a_condition_that_is_not_made_is_an_error(backend, store):
    store.write = lambda *_, **__: False
    with pytest.raises(BackendUnavailable):
        backend.put("k", entry("k"))


@pytest.mark.parametrize("state", ["expired", "damaged"])
def test_delete_of_what_no_read_returns_removes_it_and_says_false(backend, store, state):
    backend.put("k", entry("k", **EXPIRED))
    if state == "damaged":
        store.change("cache/k", b"damaged", user_metadata={})
    assert backend.delete("k") is False
    assert store.objects == {}


# The mirror


def test_the_mirror_tells_the_metadata_in_readable_items(backend, store):
    metadata = {"expires_at": 1_700_000_100.5, "stale_until": 1_700_000_200.0, "as_of": 1_699_999_990.0}
    fields = {"codec": "msgpack", "tags": ("doc:7",), "attributes": {"model": "größe", "price": 0.5}}
    backend.put("k", entry("k", b"words " * 1000, **metadata, **fields))
    mirror = store.objects["cache/k"][0].user_metadata
    digest = mirror.pop("key-digest")
    assert len(digest) == 32
    assert mirror == {
        "tiercache-version": "1",
        "created": "1700000000.0",
        "expires": "1700000100.5",
        "stale-until": "1700000200.0",
        "as-of": "1699999990.0",
        "codec": "msgpack",
        "encoding": "zstd",
        "size": "6000",
        "tags": '["doc:7"]',
        "attributes": '{"model":"gr\\u00f6\\u00dfe","price":0.5}',
    }


def test_the_model_stands_in_an_item_of_its_own(backend, store):
    backend.put("k", entry("k", attributes={"model": "gpt-4o", "price": 0.5}))
    mirror = store.objects["cache/k"][0].user_metadata
    assert (mirror["model"], mirror["attributes"]) == ("gpt-4o", '{"model":"gpt-4o","price":0.5}')
    assert backend.head("k").attributes == {"model": "gpt-4o", "price": 0.5}


def test_tags_too_large_for_the_mirror_are_left_out_of_it_and_head_reads_the_envelope(backend, store):
    tags = tuple(f"document:{number}" for number in range(300))
    backend.put("k", entry("k", tags=tags, attributes={"model": "m"}))
    mirror = store.objects["cache/k"][0].user_metadata
    assert mirror["omitted"] == "tags"
    assert mirror["attributes"] == '{"model":"m"}'
    store.calls.clear()
    assert backend.head("k") == backend.get("k").metadata
    assert backend.head("k").tags == tags


def test_deleting_an_entry_with_an_incomplete_mirror_does_not_read_its_body(backend, store):
    backend.put("k", entry("k", attributes={"text": "x" * 5000}))
    assert backend.delete("k") is True
    assert store.calls["GET"] == 0


def test_an_entry_copied_without_its_user_metadata_is_whole(backend, store):
    backend.put("k", entry("k", tags=("t",)))
    store.change("cache/k", user_metadata={})
    assert backend.head("k") == backend.get("k").metadata
    assert backend.delete("k") is True


def test_items_are_known_in_any_case_of_letters(backend, store):
    backend.put("k", entry("k"))
    mirror = store.objects["cache/k"][0].user_metadata
    store.change("cache/k", user_metadata={name.title(): text for name, text in mirror.items()})
    assert backend.head("k") is not None
    assert store.calls["GET"] == 0


@pytest.mark.parametrize(
    ("item", "text"),
    [("created", "yesterday"), ("created", "nan"), ("expires", "inf"), ("size", "x"), ("tags", "[1]"), ("tags", "{")],
)
def test_a_damaged_mirror_is_a_corrupt_entry(backend, store, item, text):
    backend.put("k", entry("k"))
    store.objects["cache/k"][0].user_metadata[item] = text
    with pytest.raises(CorruptEntry):
        backend.head("k")


times = st.floats(allow_nan=False, allow_infinity=False)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=300)
metadata = st.builds(
    Metadata,
    key=texts.filter(bool),
    created_at=times,
    expires_at=st.none() | times,
    stale_until=st.none() | times,
    as_of=st.none() | times,
    codec=texts.filter(bool),
    encoding=st.sampled_from(["", "zstd"]),
    size=st.integers(0, 2**40),
    tags=st.lists(texts, max_size=5).map(tuple),
    attributes=st.dictionaries(
        texts, st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats() | texts, max_size=5
    ),
    key_id=st.none() | texts.filter(bool),
)


def test_the_documented_items_are_those_that_are_written():
    everything = Metadata(
        key="k",
        created_at=1.0,
        expires_at=2.0,
        stale_until=3.0,
        as_of=0.5,
        codec="bytes",
        encoding="zstd",
        size=1,
        tags=("t",),
        attributes={"model": "m"},
        key_id="1",
    )
    written = to_user_metadata(everything, 2048).keys() | to_user_metadata(everything, 1024).keys()
    too_much = msgspec.structs.replace(everything, tags=("t" * 3000,))
    assert set(ITEMS) == written | to_user_metadata(too_much, 2048).keys()


@given(metadata, st.sampled_from([1024, 2048, 8192]))
def test_a_mirror_fits_its_limit_is_printable_and_tells_the_metadata_or_that_it_does_not(metadata, limit):
    mirror = to_user_metadata(metadata, limit)
    assert sum(len(name) + len(text) for name, text in mirror.items()) <= limit
    assert all(text.isascii() and text.isprintable() and text == text.strip() for text in mirror.values())
    told = from_user_metadata(mirror, metadata.key)
    omitted = mirror.get("omitted", "").split(",")
    assert told.complete is ("omitted" not in mirror)
    for field in ("created_at", "expires_at", "stale_until", "as_of", "size"):
        assert getattr(told.metadata, field) == getattr(metadata, field)
    for item, field in (("codec", "codec"), ("tags", "tags"), ("attributes", "attributes"), ("key-id", "key_id")):
        if item not in omitted:
            assert getattr(told.metadata, field) == getattr(metadata, field)


# Batches


def test_a_batch_keeps_what_arrived_before_its_deadline(backend, store):
    backend.put_many({key: entry(key) for key in "abc"})
    read, never = store.read, threading.Event()

    def read_or_wait(name, *, limit, deadline):
        if name == "cache/b":
            never.wait(30)
        return read(name, limit=limit, deadline=deadline)

    store.read = read_or_wait
    with pytest.raises(PartialFailure) as caught:
        backend.get_many(["a", "b", "c"], deadline=time.monotonic() + 0.3)
    never.set()
    assert sorted(caught.value.results) == ["a", "c"]
    assert {key: type(error) for key, error in caught.value.failed.items()} == {"b": BackendTimeout}


def test_a_batch_asks_for_no_more_than_one_round_of_a_store_that_is_down(backend, store):
    def down(name, *, limit, deadline):
        store.calls["GET"] += 1
        raise BackendUnavailable("down")

    store.read = down
    wanted = [f"k{number}" for number in range(500)]
    with pytest.raises(PartialFailure) as caught:
        backend.get_many(wanted)
    assert sorted(caught.value.failed) == sorted(wanted)
    assert store.calls["GET"] < 20


def test_one_bad_key_does_not_end_a_batch(backend, store):
    wanted = [f"k{number}" for number in range(100)]
    backend.put_many({key: entry(key) for key in wanted})
    for key in wanted[:50]:
        store.change(f"cache/{key}", b"damaged")
    with pytest.raises(PartialFailure) as caught:
        backend.get_many(wanted)
    assert sorted(caught.value.failed) == sorted(wanted[:50])
    assert sorted(caught.value.results) == sorted(wanted[50:])


def test_an_entry_too_large_is_named_by_the_batch_and_the_others_are_stored(backend):
    with pytest.raises(PartialFailure) as caught:
        backend.put_many({"big": entry("big", bytes(2**20 + 1)), "small": entry("small")})
    assert {key: type(error) for key, error in caught.value.failed.items()} == {"big": EntryTooLarge}
    assert backend.get("small") is not None


def test_a_configuration_error_ends_a_batch_as_itself(backend, store):
    def misconfigured(name, *, limit, deadline):
        raise ConfigurationError("no such bucket")

    store.read = misconfigured
    with pytest.raises(ConfigurationError, match="no such bucket"):
        backend.get_many(["a", "b"])


def test_delete_many_names_the_keys_of_the_requests_that_failed_and_of_those_after(backend, store):
    store.bulk_delete = 2
    answers = [{}, BackendUnavailable("down"), {}]

    def remove_many(versions, *, deadline):
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    store.remove_many = remove_many
    with pytest.raises(PartialFailure) as caught:
        backend.delete_many(["a", "b", "c", "d", "e", "f"])
    assert caught.value.results == 2
    assert sorted(caught.value.failed) == ["c", "d", "e", "f"]
    assert len(answers) == 1


def test_clear_names_the_keys_that_could_not_be_deleted(backend, store):
    backend.put_many({key: entry(key) for key in "ab"})
    store.remove_many = lambda versions, *, deadline: {"cache/a": BackendUnavailable("busy")}
    with pytest.raises(PartialFailure) as caught:
        backend.clear()
    assert (list(caught.value.failed), caught.value.results) == (["a"], 1)


async def test_more_awaited_batches_than_threads_do_not_wait_for_each_other(store):
    backend = ObjectStoreBackend(store, max_concurrency=2)
    backend.put_many({key: entry(key) for key in "abc"})
    found = await asyncio.wait_for(asyncio.gather(*(backend.aget_many(["a", "b", "c"]) for _ in range(20))), 60)
    assert all(sorted(each) == ["a", "b", "c"] for each in found)
    backend.close()


# Deadlines


def test_each_request_gets_the_time_that_an_operation_has(backend, store):
    seen = []
    store.read = lambda name, *, limit, deadline: seen.append(deadline)
    backend.timeout = 50.0
    before = time.monotonic()
    backend.get("k")
    backend.get("k", deadline=before + 7)
    backend.get_many(["k"], deadline=before + 1000)
    backend.timeout = None
    backend.get("k")
    assert before + 50 <= seen[0] < before + 60
    assert seen[1] == before + 7
    assert before + 50 <= seen[2] < before + 60
    assert seen[3] is None


@pytest.mark.parametrize("operation", ["get", "head", "delete", "get_many", "delete_many"])
def test_after_its_deadline_an_operation_sends_nothing(backend, store, operation):
    argument = ["k"] if operation.endswith("many") else "k"
    with pytest.raises(BackendTimeout):
        getattr(backend, operation)(argument, deadline=time.monotonic() - 1)
    assert store.calls == {}


@pytest.mark.parametrize("concurrency", [0, -1, 1.5, True])
def test_concurrency_is_a_positive_number(store, concurrency):
    with pytest.raises(ConfigurationError, match="max_concurrency"):
        ObjectStoreBackend(store, max_concurrency=concurrency)
