"""Storage classes: the rules as data, which class an entry gets, and that it keeps it."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import boto3
import pytest
from moto import mock_aws

from tests.support import RemoteBackend
from tiercache import Cache, MemoryBackend, StorageClassRule, Tier, TierChain
from tiercache.entry import Entry, Metadata
from tiercache.errors import BackendUnavailable, ConfigurationError
from tiercache.objectstore import ClassRules, ObjectStoreBackend, Prices, usable
from tiercache_azure.classes import RULES as AZURE
from tiercache_azure.classes import AzureAccessTier
from tiercache_gcs.classes import RULES as GCS
from tiercache_gcs.classes import GCSStorageClass
from tiercache_s3 import S3Backend, S3StorageClass
from tiercache_s3.classes import RULES as S3

BUCKET = "bucket"
OTHER = "other-bucket"
COLD = "GLACIER_IR"
LARGE = b"x" * (256 * 1024)
SESSION = boto3.session.Session()
TABLES = [(S3, S3StorageClass), (GCS, GCSStorageClass), (AZURE, AzureAccessTier)]
EVERY_RULE = [rules for table, _ in TABLES for rules in table.values()]


def entry(payload=b"payload", now=1_700_000_000.0, ttl=None, **fields):
    expires_at = None if ttl is None else now + ttl
    return Entry(payload, Metadata(key="k", created_at=now, expires_at=expires_at, size=len(payload), **fields))


# The tables.


@pytest.mark.parametrize(("table", "names"), TABLES)
def test_every_class_of_the_vendor_has_rules(table, names):
    assert list(table) == [rules.name for rules in table.values()]
    assert set(table) == {name.value for name in names}
    assert [name.is_usable for name in names] == [not table[name].refused for name in names]


@pytest.mark.parametrize("rules", EVERY_RULE, ids=lambda rules: f"{rules.store}-{rules.name}")
def test_what_can_be_written_has_prices_and_sources_and_the_rest_a_choice(rules):
    if rules.refused:
        assert "; choose " in f"; {rules.refused}" or " and choose " in rules.refused
        choice = rules.refused.rpartition("choose ")[2].partition(",")[0]
        (table,) = [table for table, _ in TABLES if rules in table.values()]
        assert not table[choice].refused
    else:
        assert rules.prices is not None
        assert rules.sources
        assert not rules.archived
    assert (rules.plain is None) == (rules.min_billable_bytes == rules.min_days == 0 and not rules.refused)


def test_unconfirmed_prices_are_names_of_prices():
    assert {price for rules in EVERY_RULE for price in rules.unconfirmed} <= set(Prices.__dataclass_fields__)


def test_archives_are_those_that_must_be_restored():
    assert [rules.name for rules in EVERY_RULE if rules.archived] == ["GLACIER", "DEEP_ARCHIVE", "Archive"]


def test_the_tables_need_no_sdk():
    script = (
        "import sys\n"
        "for sdk in ('boto3', 'botocore', 'google.cloud.storage', 'azure.storage.blob'): sys.modules[sdk] = None\n"
        "from tiercache_s3.classes import RULES as a\n"
        "from tiercache_gcs.classes import RULES as b\n"
        "from tiercache_azure.classes import RULES as c\n"
        "print(len(a), len(b), len(c))\n"
    )
    root = Path(__file__).parents[1]
    path = f"{root}:{root / 'backends'}"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True, env={"PYTHONPATH": path}
    )
    assert done.stdout.split() == [str(len(S3)), str(len(GCS)), str(len(AZURE))]


@pytest.mark.parametrize(
    ("table", "name", "said"),
    [
        (S3, "GLACIER", "'GLACIER' cannot serve a cache: its objects must be restored"),
        (S3, "SNOW", "choose STANDARD"),
        (S3, "glacier", "'glacier' is unknown to S3; choose one of STANDARD, STANDARD_IA"),
        (S3, 5, "access_tier of type int is unknown to S3"),
        (GCS, "REGIONAL", "choose STANDARD"),
        (AZURE, "Archive", "up to 15 hours; choose Cold"),
        (AZURE, "P30", "choose Hot"),
        (AZURE, "Smart", "choose Hot"),
        (AZURE, "STANDARD", "unknown to Azure; choose one of Hot, Cool, Cold"),
        ({}, "STANDARD", "this store has no storage classes; leave access_tier out"),
    ],
)
def test_what_cannot_be_written_is_refused_with_a_choice(table, name, said):
    with pytest.raises(ConfigurationError) as caught:
        usable(table, name, "access_tier")
    assert said in str(caught.value)
    assert "access_tier" in str(caught.value)


def test_every_class_of_google_answers_at_once():
    assert usable(GCS, GCSStorageClass.ARCHIVE).min_days == 365


def test_no_bucket_takes_express_beside_another_class():
    assert usable(S3, "EXPRESS_ONEZONE", beside="EXPRESS_ONEZONE").exclusive
    for name, beside in (("EXPRESS_ONEZONE", "STANDARD"), ("STANDARD", "EXPRESS_ONEZONE")):
        with pytest.raises(ConfigurationError, match="make a backend for each"):
            usable(S3, name, beside=beside)


# Which class a rule gives an entry.

NOW = 1_700_000_000.0
DAY = 86_400.0


@pytest.mark.parametrize(
    ("conditions", "suits", "does_not"),
    [
        ({"min_bytes": "2KiB"}, entry(b"x" * 2048), entry(b"x" * 2047)),
        ({"min_ttl": "90d"}, entry(ttl=90 * DAY), entry(ttl=89 * DAY)),
        ({"min_ttl": "90d"}, entry(), entry(ttl=DAY)),
        ({"min_ttl": "2d"}, entry(ttl=DAY, stale_until=NOW + 2 * DAY), entry(ttl=DAY, stale_until=NOW + 1.5 * DAY)),
        ({"tag": "cold"}, entry(tags=("a", "cold")), entry(tags=("colder",))),
        ({"attributes": {"kind": "chat"}}, entry(attributes={"kind": "chat", "n": 1}), entry(attributes={"n": 1})),
        ({"attributes": {"kind": None}}, entry(attributes={"kind": None}), entry()),
    ],
)
def test_a_condition_holds_or_not(conditions, suits, does_not):
    rule = StorageClassRule(COLD, **conditions)
    assert rule.holds(suits, NOW)
    assert not rule.holds(does_not, NOW)


def test_all_conditions_must_hold():
    rule = StorageClassRule(COLD, min_bytes=3, tag="cold")
    assert rule.holds(entry(b"xxx", tags=("cold",)), NOW)
    assert not rule.holds(entry(b"xx", tags=("cold",)), NOW)
    assert not rule.holds(entry(b"xxx"), NOW)


def test_a_rule_without_conditions_holds_for_all():
    assert StorageClassRule(COLD).holds(entry(), NOW)


def test_a_life_that_was_measured_a_moment_later_is_not_too_short():
    assert StorageClassRule(COLD, min_ttl="90d").holds(entry(ttl=90 * DAY), NOW + 5)


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        ((5,), {}),
        (("",), {}),
        ((COLD,), {"min_bytes": "big"}),
        ((COLD,), {"min_ttl": 0}),
        ((COLD,), {"tag": ["cold"]}),
        ((COLD,), {"attributes": ["kind"]}),
    ],
)
def test_a_condition_that_is_none_is_refused(arguments, options):
    with pytest.raises(ConfigurationError):
        StorageClassRule(*arguments, **options)


# On a store.


@pytest.fixture
def aws():
    with mock_aws():
        client = SESSION.client("s3", region_name="us-east-1", aws_access_key_id="test", aws_secret_access_key="test")
        client.create_bucket(Bucket=BUCKET)
        client.create_bucket(Bucket=OTHER)
        yield client


@pytest.fixture
def made():
    backends = []
    yield backends
    for backend in backends:
        backend.close()


def s3(made, bucket=BUCKET, **options):
    made.append(
        S3Backend(
            bucket,
            region="us-east-1",
            access_key_id="test",
            secret_access_key="test",
            timeout=60,
            typical_entry_bytes="1MiB",  # what these tests store is small: they are not about the warning
            **options,
        )
    )
    return made[-1]


def class_of(aws, key, bucket=BUCKET):
    return aws.head_object(Bucket=bucket, Key=f"default:{key}").get("StorageClass", "STANDARD")


def test_an_entry_goes_to_the_class_that_set_names(aws, made):
    with Cache(TierChain(MemoryBackend(), s3(made), strict=True)) as cache:
        cache.set("plain", b"v")
        cache.set("cold", b"v", storage_class=COLD)
        assert (class_of(aws, "plain"), class_of(aws, "cold")) == ("STANDARD", COLD)


async def test_so_does_every_other_way_to_write(aws, made):
    cache = Cache(TierChain(s3(made), strict=True))

    @cache.cached(storage_class="ONEZONE_IA", key=lambda: "function")
    def function():
        return b"v"

    await cache.aset("aset", b"v", storage_class=S3StorageClass.ONEZONE_IA)
    cache.set_many({"set_many": b"v"}, storage_class="ONEZONE_IA")
    await cache.aset_many({"aset_many": b"v"}, storage_class="ONEZONE_IA")
    cache.get_or_set("get_or_set", lambda: b"v", storage_class="ONEZONE_IA")
    await cache.aget_or_set("aget_or_set", lambda: b"v", storage_class="ONEZONE_IA")
    function()
    keys = ["aset", "set_many", "aset_many", "get_or_set", "aget_or_set", "function"]
    assert {class_of(aws, key) for key in keys} == {"ONEZONE_IA"}
    assert cache.metadata("aset").storage_class == "ONEZONE_IA"
    await cache.aclose()


def test_the_first_rule_that_holds_decides_and_none_leaves_the_default(aws, made):
    rules = [
        StorageClassRule(COLD, min_bytes="128KiB", min_ttl="90d"),
        StorageClassRule("ONEZONE_IA", tag="again"),
        StorageClassRule("STANDARD_IA", min_bytes="128KiB"),
    ]
    tier = Tier(s3(made, storage_class="INTELLIGENT_TIERING"), storage_classes=rules)
    with Cache(TierChain(tier, strict=True), ttl="90d") as cache:
        cache.set("large", LARGE, tags=["again"])
        cache.set("tagged", b"v", tags=["again"])
        cache.set("short", LARGE, ttl="30d")
        cache.set("other", b"v")
        assert [class_of(aws, key) for key in ("large", "tagged", "short", "other")] == [
            COLD,
            "ONEZONE_IA",
            "STANDARD_IA",
            "INTELLIGENT_TIERING",
        ]


def test_what_set_names_comes_before_the_rules(aws, made):
    tier = Tier(s3(made), storage_classes=[StorageClassRule(COLD)])
    with Cache(TierChain(tier, strict=True)) as cache:
        cache.set("k", b"v", storage_class="STANDARD")
        assert class_of(aws, "k") == "STANDARD"


def test_a_rule_counts_the_life_that_the_tier_allows(aws, made):
    tier = Tier(s3(made), max_ttl="30d", storage_classes=[StorageClassRule(COLD, min_ttl="90d")])
    with Cache(TierChain(tier, strict=True)) as cache:
        cache.set("k", b"v", ttl="1w")
        cache.set("for ever", b"v")
        assert [class_of(aws, key) for key in ("k", "for%20ever")] == ["STANDARD", "STANDARD"]


def test_rules_hold_for_promotions_and_the_class_below_does_not_come_along(aws, made):
    lower = s3(made, OTHER)
    upper = Tier(s3(made), name="upper", storage_classes=[StorageClassRule("ONEZONE_IA", tag="again")])
    with Cache(TierChain(lower, strict=True)) as cache:
        cache.set("plain", b"v", storage_class=COLD)
        cache.set("tagged", b"v", storage_class=COLD, tags=["again"])
        both = Cache(TierChain(upper, lower, strict=True))
        assert (both.get("plain"), both.get("tagged")) == (b"v", b"v")
        assert both.drain()
        assert (class_of(aws, "plain"), class_of(aws, "tagged")) == ("STANDARD", "ONEZONE_IA")
        assert class_of(aws, "plain", OTHER) == COLD


@pytest.mark.parametrize("first", [True, False], ids=["found in memory", "found in the store"])
def test_touch_keeps_the_class(aws, made, first):
    with Cache(TierChain(MemoryBackend(), s3(made), strict=True), ttl="90d") as cache:
        cache.set("k", b"v", storage_class=COLD)
        if not first:
            cache.chain.memory.clear()
        assert cache.touch("k", "120d")
        assert class_of(aws, "k") == COLD
        cache.chain.memory.clear()
        assert cache.lookup("k").ttl > 100 * DAY


async def test_atouch_keeps_the_class_of_each_tier(aws, made):
    chain = TierChain(MemoryBackend(), Tier(s3(made), name="near"), Tier(s3(made, OTHER), name="far"), strict=True)
    cache = Cache(chain)
    await cache.aset("k", b"v", storage_class=COLD)
    backend = chain.tiers[2].backend
    backend.put("default:k", Entry(b"v", Metadata(key="default:k", created_at=time.time(), size=1)))
    assert await cache.atouch("k", "120d")
    assert (class_of(aws, "k"), class_of(aws, "k", OTHER)) == (COLD, "STANDARD")
    await cache.aclose()


def test_touch_of_an_object_that_was_archived_writes_the_tiers_own_class(aws, made):
    with Cache(TierChain(MemoryBackend(), s3(made), strict=True)) as cache:
        cache.set("k", b"v")
        raw = aws.get_object(Bucket=BUCKET, Key="default:k")
        body = raw["Body"].read()
        aws.put_object(Bucket=BUCKET, Key="default:k", Body=body, Metadata=raw["Metadata"], StorageClass="DEEP_ARCHIVE")
        assert cache.touch("k", "1d")
        assert class_of(aws, "k") == "STANDARD"


def test_tiers_without_classes_ignore_the_class(aws, made):
    remote = RemoteBackend(time.time)
    with Cache(TierChain(MemoryBackend(), remote, s3(made), strict=True)) as cache:
        cache.set("k", b"v", storage_class=COLD)
        assert cache.get("k") == b"v"
        assert cache.chain.memory.get("default:k").storage_class is None
        assert class_of(aws, "k") == COLD


class OtherVendor(RemoteBackend):
    """Stands for an object store with classes of its own: keeps what it was asked for."""

    rules = GCS
    storage_class = "NEARLINE"
    get_tells_class = True

    def get(self, key, *, deadline=None):
        found = super().get(key, deadline=deadline)
        told = found is not None and self.get_tells_class
        return found.with_metadata(storage_class=self.class_of(key)) if told else found

    def head(self, key, *, deadline=None):
        self._enter("head")
        found = self.entries.get(key)
        return None if found is None else found.with_metadata(storage_class=self.class_of(key)).metadata

    def class_of(self, key):
        return self.entries[key].storage_class or self.storage_class


def test_touch_asks_a_store_for_the_class_only_where_it_has_not_read_it():
    other = OtherVendor(time.time)
    cache = Cache(TierChain(MemoryBackend(), other))
    cache.set("k", b"v")
    other.trace.clear()
    assert cache.touch("k", "1d")
    assert other.trace == ["remote.head", "remote.put"]
    cache.chain.memory.clear()
    other.trace.clear()
    assert cache.touch("k", "1d")
    assert other.trace == ["remote.get", "remote.put"]


def test_touch_asks_for_the_class_where_a_get_does_not_tell_it():
    other = OtherVendor(time.time)
    other.get_tells_class = False
    cache = Cache(TierChain(other, strict=True))
    cache.set("k", b"v", storage_class="COLDLINE")
    other.trace.clear()
    assert cache.touch("k", "1d")
    assert other.trace == ["remote.get", "remote.head", "remote.put"]
    assert other.class_of("default:k") == "COLDLINE"


def test_a_store_that_does_not_answer_does_not_keep_a_touch_from_the_others():
    other = OtherVendor(time.time)
    cache = Cache(TierChain(MemoryBackend(), other))
    cache.set("k", b"v")
    other.break_down()
    assert cache.touch("k", "1d")
    assert cache.lookup("k").ttl > 0
    cache.chain.strict = True
    with pytest.raises(BackendUnavailable):
        cache.touch("k", "1d")


def test_a_store_that_does_not_know_the_class_uses_its_own(aws, made):
    other = OtherVendor(time.time)
    with Cache(TierChain(Tier(other, storage_classes=[StorageClassRule("ARCHIVE", tag="t")]), s3(made))) as cache:
        cache.set("k", b"v", storage_class=COLD)
        cache.set("tagged", b"v", storage_class=COLD, tags=["t"])
        cache.set("both", b"v", storage_class="STANDARD")
        asked = [other.entries[f"default:{key}"].storage_class for key in ("k", "tagged", "both")]
        assert asked == [None, "ARCHIVE", "STANDARD"]
        assert [class_of(aws, key) for key in ("k", "tagged", "both")] == [COLD, COLD, "STANDARD"]


# What is refused.


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("GLACIER", "must be restored"),
        ("SNOW", "choose STANDARD"),
        ("COLD", "unknown to S3; choose one of STANDARD"),
        ("EXPRESS_ONEZONE", "make a backend for each"),
        (5, "not of type int"),
    ],
)
def test_a_class_that_no_tier_can_take_is_refused_at_once(made, name, said):
    cache = Cache(TierChain(MemoryBackend(), s3(made)))
    calls = [
        lambda: cache.set("k", b"v", storage_class=name),
        lambda: cache.set_many({"k": b"v"}, storage_class=name),
        lambda: cache.get_or_set("k", lambda: b"v", storage_class=name),
        lambda: cache.cached(storage_class=name),
    ]
    for call in calls:
        with pytest.raises(ConfigurationError) as caught:
            call()
        assert said in str(caught.value)
    assert cache.get("k") is None
    assert cache.chain.memory.get("default:k") is None


def test_the_error_names_the_classes_of_every_tier(made):
    cache = Cache(TierChain(OtherVendor(time.time), s3(made)))
    with pytest.raises(ConfigurationError) as caught:
        cache.set("k", b"v", storage_class="Cool")
    assert "unknown to Google Cloud Storage; choose one of STANDARD, NEARLINE" in str(caught.value)
    assert "nor to S3; choose one of" in str(caught.value)


def test_a_tier_that_is_only_read_refuses_no_class(made):
    express = Tier(s3(made, storage_class="EXPRESS_ONEZONE"), name="express", write="never")
    assert TierChain(express, Tier(s3(made, OTHER), name="plain")).check_class(COLD) == COLD


def test_a_bucket_for_other_classes_keeps_to_its_own(made):
    express = Tier(s3(made, storage_class="EXPRESS_ONEZONE"), name="express")
    plain = Tier(s3(made, OTHER), name="plain")
    chain = TierChain(express, plain)
    asked = Entry(b"v", Metadata(key="k", created_at=1.0, size=1), storage_class=chain.check_class(COLD))
    assert [tier.takes(asked, 1.0).storage_class for tier in (express, plain)] == [None, COLD]
    both = chain.check_class("EXPRESS_ONEZONE")
    assert [tier.takes(asked.in_class(both), 1.0).storage_class for tier in (express, plain)] == [both, None]


def test_a_chain_without_classes_says_so():
    cache = Cache(TierChain(MemoryBackend()))
    with pytest.raises(ConfigurationError, match="no tier of this chain has storage classes; leave storage_class out"):
        cache.set("k", b"v", storage_class="STANDARD")


def test_a_cache_that_is_switched_off_takes_any_class(monkeypatch):
    monkeypatch.setenv("TIERCACHE_DISABLED", "1")
    Cache(TierChain(MemoryBackend())).set("k", b"v", storage_class="STANDARD_IA")
    assert Cache().get_or_set("k", lambda: 1, storage_class="STANDARD_IA") == 1


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ([StorageClassRule("GLACIER")], "must be restored"),
        ([StorageClassRule(COLD), StorageClassRule("Cool")], "storage_classes='Cool' is unknown to S3"),
        ([StorageClassRule("EXPRESS_ONEZONE")], "make a backend for each"),
        (["GLACIER_IR"], "holds a str"),
        ("GLACIER_IR", "must be a list"),
        (StorageClassRule(COLD), "must be a list"),
    ],
)
def test_a_rule_that_the_tier_cannot_follow_is_refused_when_it_is_made(made, rules, said):
    with pytest.raises(ConfigurationError) as caught:
        Tier(s3(made), storage_classes=rules)
    assert said in str(caught.value)


def test_a_rule_on_a_tier_without_classes_is_refused():
    with pytest.raises(ConfigurationError, match="a MemoryBackend has no storage classes"):
        Tier(MemoryBackend(), storage_classes=[StorageClassRule(COLD)])


def test_a_backend_that_is_used_alone_checks_the_class_too(made):
    asked = entry(now=time.time()).in_class("GLACIER")
    with pytest.raises(ConfigurationError, match="must be restored"):
        s3(made).put("k", asked)


def test_a_store_of_another_person_that_has_other_rules_is_left_alone():
    class Store(RemoteBackend):
        rules = ("allow", "deny")

    assert Tier(Store(time.time)).classes is None


def test_a_store_without_classes_takes_none(made):
    with pytest.raises(ConfigurationError, match="no storage classes"):
        Tier(RemoteBackend(time.time)).check_class("STANDARD")
    assert ObjectStoreBackend.rules == {}


def test_the_fields_of_an_entry_go_on_when_its_metadata_change():
    asked = entry().in_class(COLD)
    assert asked.with_metadata(expires_at=1.0).storage_class == COLD
    assert ClassRules(store="s", name="n").prices is None
