"""What a tier costs a month: the figures that were worked out by hand, and what the vendors' own examples say."""

from __future__ import annotations

import math

import pytest

from tiercache.errors import ConfigurationError
from tiercache.objectstore import ClassRules, Prices
from tiercache.pricing import MonthlyCost, billed_bytes, dollars, monthly_cost
from tiercache_azure.classes import RULES as AZURE
from tiercache_gcs.classes import RULES as GCS
from tiercache_s3.classes import RULES as S3

MILLION = 1_000_000
KIB = 1024
PLAIN = ClassRules(store="store", name="PLAIN", prices=Prices(storage=1.0, write=1.0, read=1.0))
COLD = ClassRules(
    store="store", name="COLD", prices=Prices(storage=1.0, write=0.0, read=0.0), min_billable_bytes=4 * KIB, min_days=30
)


def cents(amount: float) -> str:
    return f"{amount:.2f}"


def test_a_million_entries_of_8_kib_in_standard_cost_five_dollars_to_write_and_18_cents_to_store():
    cost = monthly_cost(S3["STANDARD"], entries=MILLION, size="8KiB", reads=MILLION)
    assert (cents(cost.writes), cents(cost.storage), cents(cost.reads)) == ("5.00", "0.18", "0.40")
    assert (cost.retrieval, cost.upload) == (0, 0)


@pytest.mark.parametrize(
    ("rules", "totals"),
    [
        (S3["STANDARD"], ["5.22", "5.58", "9.18"]),
        (S3["STANDARD_IA"], ["11.63", "12.60", "22.29"]),
        (S3["ONEZONE_IA"], ["11.33", "12.30", "21.98"]),
        (S3["EXPRESS_ONEZONE"], ["2.00", "2.03", "2.34"]),
        (GCS["STANDARD"], ["5.19", "5.55", "9.15"]),
        (AZURE["Hot"], ["5.70", "6.10", "10.06"]),
    ],
    ids=lambda value: f"{value.store} {value.name}" if isinstance(value, ClassRules) else "",
)
def test_a_month_of_a_million_entries_at_a_tenth_one_and_ten_reads_each(rules, totals):
    costs = [
        monthly_cost(rules, entries=MILLION, size=8 * KIB, reads=reads * MILLION, lifetime="30d")
        for reads in (0.1, 1, 10)
    ]
    assert [cents(cost.total) for cost in costs] == totals


def test_the_example_of_the_s3_faq_for_express_one_zone():
    cost = monthly_cost(S3["EXPRESS_ONEZONE"], entries=0, size="10KiB", writes=MILLION, reads=9 * MILLION)
    assert [cents(part) for part in (cost.writes, cost.reads, cost.upload, cost.retrieval)] == [
        "1.13",
        "0.27",
        "0.03",
        "0.05",
    ]


def test_the_example_of_the_cloud_storage_documentation():
    cost = monthly_cost(GCS["STANDARD"], entries=50, size="1GiB", writes=10_000, reads=50_000)
    assert [cents(part) for part in (cost.storage, cost.writes, cost.reads)] == ["1.00", "0.05", "0.02"]


def test_the_request_price_decides_for_small_objects():
    usable = [rules for rules in S3.values() if not rules.refused]
    for reads in (0.1, 1, 10):
        cheapest = min(usable, key=lambda one: monthly_cost(one, entries=1, size="8KiB", reads=reads).total)
        assert cheapest.name == "EXPRESS_ONEZONE"  # the dearest a GB-month, and the cheapest a request


@pytest.mark.parametrize(("size", "times"), [(2 * KIB, 64), (8 * KIB, 16), (12 * KIB, 128 / 12), (128 * KIB, 1)])
def test_a_floor_of_128_kib_multiplies_what_small_entries_cost_to_store(size, times):
    assert billed_bytes(S3["STANDARD_IA"], size) == pytest.approx(size * times)


def test_what_is_larger_than_the_floor_is_billed_as_it_is():
    assert billed_bytes(S3["STANDARD_IA"], 200 * KIB) == 200 * KIB


def test_archives_add_40_kib_to_each_object():
    assert billed_bytes(S3["GLACIER"], 8 * KIB) == 48 * KIB


def test_intelligent_tiering_watches_large_objects_for_a_fee():
    small, large = (monthly_cost(S3["INTELLIGENT_TIERING"], entries=MILLION, size=size) for size in (127 * KIB, 2**17))
    plain = [monthly_cost(S3["STANDARD"], entries=MILLION, size=size).storage for size in (127 * KIB, 2**17)]
    assert (small.storage, large.storage) == (plain[0], pytest.approx(plain[1] + 2.5))


def test_upload_and_retrieval_are_billed_on_the_real_bytes():
    rules = ClassRules(
        store="store",
        name="RULES",
        prices=Prices(storage=0, write=0, read=0, retrieval=1.0, upload=2.0),
        min_billable_bytes=128 * KIB,
    )
    cost = monthly_cost(rules, entries=2**20, size=KIB, reads=2 * 2**20)
    assert (cost.retrieval, cost.upload) == (2.0, 2.0)


def test_each_entry_is_written_once_a_month_when_nothing_else_is_said():
    assert monthly_cost(PLAIN, entries=1000, size=1).writes == 1.0
    assert monthly_cost(PLAIN, entries=1000, size=1, writes=3000).writes == 3.0


@pytest.mark.parametrize(("lifetime", "writes"), [("1d", 30.0), ("15d", 2.0), ("60d", 0.5)])
def test_entries_that_live_shorter_or_longer_are_written_once_a_lifetime(lifetime, writes):
    assert monthly_cost(PLAIN, entries=1000, size=1, lifetime=lifetime).writes == pytest.approx(writes)


def test_what_is_deleted_early_is_billed_until_the_minimum():
    held = monthly_cost(COLD, entries=2**18, size="4KiB", lifetime="30d")
    assert held.storage == 1.0
    # Each of the 30 entries that take one's place in a month is billed for 30 days.
    assert monthly_cost(COLD, entries=2**18, size="4KiB", lifetime="1d").storage == pytest.approx(30.0)
    assert monthly_cost(COLD, entries=2**18, size="4KiB", lifetime="60d").storage == 1.0


def test_overwriting_early_is_billed_for_each_write():
    cost = monthly_cost(COLD, entries=2**18, size="4KiB", writes=2 * 2**18, lifetime="15d")
    assert cost.storage == pytest.approx(1.0 + 2 * 0.5)


def test_the_text_says_what_is_billed_and_the_sum():
    cost = monthly_cost(S3["STANDARD"], entries=MILLION, size="8KiB", reads=MILLION)
    assert str(cost) == "$5.58 a month (storage $0.18, writes $5.00, reads $0.40)"
    assert str(MonthlyCost(storage=0, writes=0, reads=0)) == "$0.00 a month (nothing)"


def test_what_rests_on_an_unconfirmed_price_is_about():
    assert str(monthly_cost(GCS["ARCHIVE"], entries=MILLION, size="8KiB")).startswith("about $50.01 a month")
    assert not monthly_cost(GCS["COLDLINE"], entries=MILLION, size="8KiB").is_estimate  # its reads are, and none are
    assert monthly_cost(GCS["COLDLINE"], entries=MILLION, size="8KiB", reads=1).is_estimate


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (0, "$0.00"),
        (0.00001, "under $0.0001"),
        (0.0032, "$0.0032"),
        (0.005, "$0.01"),
        (0.0954, "$0.10"),
        (1234.5, "$1,234.50"),
    ],
)
def test_amounts_for_people(amount, text):
    assert dollars(amount) == text


def test_a_class_without_prices_says_why():
    with pytest.raises(ConfigurationError, match="choose STANDARD"):
        monthly_cost(S3["SNOW"], entries=1, size=1)


@pytest.mark.parametrize(
    "wrong",
    [
        {"entries": -1},
        {"reads": -1},
        {"writes": -1},
        {"size": 0},
        {"lifetime": "soon"},
        {"entries": math.nan},
        {"reads": math.inf},
        {"writes": math.nan},
        {"entries": "1000"},
        {"entries": None},
        {"entries": 10**400},
    ],
)
def test_what_is_no_number_of_entries_is_refused(wrong):
    with pytest.raises(ConfigurationError):
        monthly_cost(S3["STANDARD"], **{"entries": 1, "size": 1} | wrong)
