"""`StorageClassWarning`: given once for a backend, with the figure in money, where a class does not suit."""

from __future__ import annotations

import time
import warnings
from dataclasses import replace

import pytest

from tiercache import Cache, MemoryBackend, StorageClassRule, StorageClassWarning, Tier, TierChain
from tiercache.entry import Entry, Metadata
from tiercache.objectstore import ObjectInfo, ObjectStore, ObjectStoreBackend
from tiercache.objectstore.advice import ENOUGH
from tiercache.objectstore.classes import advice
from tiercache_azure.classes import RULES as AZURE
from tiercache_gcs.classes import RULES as GCS
from tiercache_s3.classes import RULES as S3

DAY = 86_400.0
KIB = 1024


# The text.


def test_a_minimum_size_is_told_with_its_price_and_the_choice():
    assert advice(S3["STANDARD_IA"], ttl=None, size=8 * KIB) == (
        "S3 STANDARD_IA bills each object as 128 KiB at least: a million entries of 8 KiB cost $1.53 a month to store, "
        "where their bytes alone would cost $0.10. STANDARD stores them for $0.18 and writes them for $5.00, not "
        "$10.00: choose STANDARD, or keep this class for entries over 128 KiB that live 30 days or longer "
        "(see StorageClassRule)."
    )


def test_a_minimum_duration_is_told_with_its_price_and_the_choice():
    assert advice(GCS["NEARLINE"], ttl=DAY, size=100 * KIB) == (
        "Google Cloud Storage NEARLINE bills each object for 30 days at least: a million entries of 100 KiB that live "
        "1 day cost $0.95 to store, where their days alone would cost $0.03. STANDARD stores them for $0.06 and writes "
        "them for $5.00, not $10.00: choose STANDARD, or keep this class for entries that live 30 days or longer "
        "(see StorageClassRule)."
    )


def test_both_are_told_at_once():
    said = advice(S3["GLACIER_IR"], ttl=3600, size=8 * KIB)
    assert "as 128 KiB and for 90 days at least" in said
    assert "entries of 8 KiB that live 1 hour cost $1.46 to store" in said
    assert "their bytes and days alone would cost under $0.0001" in said


def test_a_minimum_that_does_not_hold_everywhere_says_where():
    said = advice(AZURE["Cool"], ttl=None, size=8 * KIB)
    assert "as 128 KiB at least (in accounts made since 2026-07-01, in all from 2027-07-01): a million" in said


def test_what_rests_on_an_unconfirmed_price_is_about():
    said = advice(AZURE["Cool"], ttl=None, size=8 * KIB)
    assert "cost about $1.40 a month" in said
    assert "writes them for about $5.50, not $10.00" in said


def test_a_class_that_is_cheaper_all_the_same_is_not_talked_down():
    said = advice(S3["STANDARD_IA"], ttl=None, size=100 * KIB)
    assert "cost $1.53 a month" in said
    assert said.endswith("over their life this class is the cheaper one even so.")
    assert "choose STANDARD" in advice(S3["STANDARD_IA"], ttl=30 * DAY, size=100 * KIB)  # a month pays no dear write


def test_a_store_of_ones_own_that_has_no_plain_class_says_what_to_keep_there():
    said = advice(replace(S3["GLACIER_IR"], store="Ours", plain=None), ttl=None, size=KIB)
    assert said.endswith("Keep this class for entries over 128 KiB that live 90 days or longer (see StorageClassRule).")


@pytest.mark.parametrize(
    ("rules", "ttl", "size"),
    [
        (S3["STANDARD"], 1.0, 1),
        (S3["STANDARD_IA"], 30 * DAY, 128 * KIB),
        (S3["STANDARD_IA"], None, 200 * KIB),
        (S3["STANDARD_IA"], 30 * DAY - 2, 128 * KIB),  # measured when it was written, a moment after `ttl="30d"`
        (S3["INTELLIGENT_TIERING"], 1.0, 1),  # small objects never tier there, and cost what STANDARD does
        (S3["EXPRESS_ONEZONE"], 1.0, 1),
        (GCS["STANDARD"], 1.0, 1),
        (GCS["ARCHIVE"], None, 1),
        (AZURE["Hot"], 1.0, 1),
        (S3["SNOW"], 1.0, 1),
    ],
)
def test_a_class_that_bills_what_is_there_needs_no_advice(rules, ttl, size):
    assert advice(rules, ttl=ttl, size=size) is None


# When it is given.


class Bucket(ObjectStore):
    """Takes every object and keeps none; counts them by class."""

    def __init__(self):
        self.asked = []

    def write(self, upload, *, if_absent, if_match, deadline):
        self.asked.append(upload.storage_class)
        return True

    def read(self, name, *, limit, deadline):
        return None

    def read_range(self, name, start, length, *, deadline):
        return None

    def stat(self, name, *, deadline):
        return None

    def remove(self, name, *, deadline):
        raise NotImplementedError

    def remove_many(self, versions, *, deadline):
        return {}

    def list_page(self, prefix, token, *, after=None, limit=None, deadline):
        return list[ObjectInfo](), None

    def probe(self, prefix, *, deadline):
        raise NotImplementedError

    def close(self):
        pass


class Backend(ObjectStoreBackend):
    scheme = "bucket"
    rules = S3

    def __init__(self, storage_class="STANDARD_IA", **options):
        super().__init__(Bucket(), **options)
        self.storage_class = storage_class


@pytest.fixture
def said():
    """The storage class warnings of a test, in their order."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", StorageClassWarning)
        yield caught


def entry(size=KIB, ttl=None, key="k"):
    now = time.time()
    payload = bytes(range(256)) * (size // 256)
    expires_at = None if ttl is None else now + ttl
    return Entry(payload, Metadata(key=key, created_at=now, expires_at=expires_at, codec="ndarray", size=size))


def test_a_cache_says_it_when_it_is_made_and_points_at_the_callers_line(said):
    Cache(TierChain(MemoryBackend(), Backend()), ttl="90d")
    assert [warning.category for warning in said] == [StorageClassWarning]
    assert said[0].filename == __file__
    assert "a million entries of 8 KiB cost $1.53 a month" in str(said[0].message)


def test_it_is_said_once_for_a_backend(said):
    backend = Backend()
    Cache(backend, ttl="1h").set("k", b"v")
    Cache(backend, namespace="other").set("k", b"v", ttl="1s")
    backend.put("k", entry())
    assert len(said) == 1
    Cache(Backend())
    assert len(said) == 2


def test_the_ttl_is_the_caches_capped_by_the_tiers(said):
    backend = Backend(typical_entry_bytes="1MiB")
    Cache(TierChain(Tier(backend, max_ttl="7d")), ttl="90d")
    assert "that live 7 days" in str(said[0].message)


def test_a_cache_without_a_ttl_counts_entries_that_never_expire(said):
    Cache(Backend("GLACIER_IR", typical_entry_bytes="1MiB"))
    assert not said


def test_entries_as_large_as_the_minimum_are_not_warned_of(said):
    Cache(Backend(typical_entry_bytes="128KiB"), ttl="30d").set("k", entry(256 * KIB).payload)
    assert not said


def test_a_tier_that_is_only_read_is_not_warned_of(said):
    Cache(TierChain(Tier(Backend(), write="never")))
    assert not said


def test_a_ttl_of_one_call_that_is_too_short_is_said_when_it_is_written(said):
    cache = Cache(Backend("GLACIER_IR", typical_entry_bytes="1MiB"), ttl="90d")
    payload = entry(256 * KIB).payload
    cache.set("k", payload)
    assert not said
    cache.set("k", payload, ttl="2d")
    assert "entries of 1 MiB that live 2 days cost" in str(said[0].message)
    assert said[0].filename == __file__
    assert len(said) == 1


def test_a_backend_that_is_used_alone_says_it_at_the_first_put_that_shows_it(said):
    backend = Backend()
    backend.put("k", entry(256 * KIB, ttl=90 * DAY))
    assert not said
    backend.put("k", entry())
    assert said[0].filename == __file__
    assert "entries of 8 KiB cost" in str(said[0].message)


def test_what_is_said_goes_by_the_class_that_the_entry_asks_for(said):
    cache = Cache(Backend("STANDARD"), ttl="1h")
    cache.set("k", b"v")
    assert not said
    cache.set("k", b"v", storage_class="ONEZONE_IA")
    assert str(said[0].message).startswith("S3 ONEZONE_IA bills each object as 128 KiB and for 30 days at least")


def test_an_entry_that_is_gone_already_says_nothing(said):
    Backend(typical_entry_bytes="1MiB").put("k", entry(256 * KIB, ttl=-5))
    assert not said


def test_the_size_is_the_mean_of_what_was_written_when_there_is_enough_of_it(said):
    backend = Backend(typical_entry_bytes="1MiB")
    for number in range(ENOUGH - 1):
        backend.put("k", entry(20 * KIB, key="k"))
        assert not said, number
    backend.put("k", entry(20 * KIB))
    assert "a million entries of 20.1 KiB cost" in str(said[0].message)  # with their envelopes


def test_a_cache_that_is_made_later_knows_the_mean_too(said):
    backend = Backend("STANDARD", typical_entry_bytes="1KiB")
    for _ in range(ENOUGH):
        backend.put("k", entry(200 * KIB))
    backend.storage_class = "STANDARD_IA"
    Cache(backend, ttl="60d")
    assert not said


def test_it_is_a_user_warning_that_can_be_silenced():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", StorageClassWarning)
        Cache(Backend())
    assert issubclass(StorageClassWarning, UserWarning)


def test_where_warnings_are_errors_every_entry_is_written_all_the_same(caplog):
    backend = Backend(typical_entry_bytes="1MiB")
    cache = Cache(TierChain(backend, strict=True))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cache.set_many({str(number): entry(256 * KIB).payload for number in range(40)}, ttl="1h")
    assert len(backend.objects.asked) == 40
    assert [record.name for record in caplog.records] == ["tiercache"]
    assert "that live 60 minutes cost" in caplog.text


def test_a_rule_that_takes_all_entries_is_what_counts(said):
    Cache(TierChain(Tier(Backend("STANDARD"), storage_classes=[StorageClassRule("GLACIER_IR")])), ttl="1h")
    assert len(said) == 1
    assert "GLACIER_IR" in str(said[0].message)


def test_a_rule_that_puts_all_entries_into_a_class_that_suits_says_nothing(said):
    some = StorageClassRule("GLACIER_IR", min_bytes="128KiB")
    Cache(TierChain(Tier(Backend("STANDARD_IA"), storage_classes=[some, StorageClassRule("STANDARD")])), ttl="1h")
    assert said == []


def test_nothing_is_refused(said):
    cache = Cache(TierChain(Backend("GLACIER_IR"), strict=True), ttl="1s")
    cache.set("k", b"v")
    assert cache.chain.tiers[0].backend.objects.asked == [None]
    assert len(said) == 1


# Entries that are packed into segments.


def test_packed_segments_are_judged_by_their_size_and_not_by_that_of_an_entry(said):
    backend = Backend("STANDARD_IA")
    backend.advise(90 * DAY, object_bytes=8 * 2**20)
    assert said == []


def test_packed_segments_whose_entries_live_too_short_are_warned_of(said):
    backend = Backend("STANDARD_IA")
    backend.advise(DAY, object_bytes=8 * 2**20)
    assert [str(warning.message) for warning in said] == [
        "S3 STANDARD_IA bills each object for 30 days at least: a million entries of 8 KiB in segments of 8 MiB that "
        "live 1 day cost $0.10 to store, where their days alone would cost $0.0032. STANDARD stores them for $0.01 and "
        "writes them for $0.0049, not $0.01: choose STANDARD, or keep this class for segments over 128 KiB that live "
        "30 days or longer (see StorageClassRule)."
    ]


def test_packed_segments_that_are_smaller_than_the_minimum_are_warned_of(said):
    Backend("STANDARD_IA").advise(90 * DAY, object_bytes=64 * KIB)
    assert "as 128 KiB at least: a million entries of 8 KiB in segments of 64 KiB cost $0.19" in str(said[0].message)


def test_packed_segments_of_just_the_minimum_suit(said):
    Backend("STANDARD_IA").advise(90 * DAY, object_bytes=128 * KIB)
    assert said == []


def test_the_class_that_a_rule_puts_packed_entries_into_is_what_counts(said):
    backend = Backend("STANDARD")
    backend.advise(30 * DAY, object_bytes=8 * 2**20)
    assert said == []
    backend.advise(30 * DAY, "GLACIER_IR", object_bytes=8 * 2**20)
    assert "GLACIER_IR bills each object for 90 days at least" in str(said[0].message)


def test_the_few_objects_beside_packed_segments_say_nothing(said):
    backend = Backend("STANDARD_IA")
    backend.advise(None, object_bytes=8 * 2**20)
    for _ in range(ENOUGH + 1):
        backend.put("k", entry(ttl=60))
    assert said == []
