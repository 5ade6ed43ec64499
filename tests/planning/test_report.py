"""Traffic, cost, lifetimes and the sentences that follow from them; plots and the page."""

from __future__ import annotations

import dataclasses
import itertools
import re
import sys
from dataclasses import replace
from html.parser import HTMLParser
from math import inf
from xml.etree import ElementTree as ET

import pytest

from tiercache import Cache, EvictionPolicy, MemoryBackend, TierChain
from tiercache.errors import ConfigurationError, MissingExtra
from tiercache.planning import Assumptions, load, plan
from tiercache.planning.advice import best_policy, best_size
from tiercache.planning.costs import ONE, PACKED, Stored, class_costs, stored
from tiercache.planning.lifetimes import lifetimes
from tiercache.planning.simulation import Curve, simulate
from tiercache.planning.traffic import ENVELOPE_BYTES, MEMORY, REDIS, STORE, traffic
from tiercache.pricing import monthly_cost

from .traces import trace_of, write_log, zipf

MONTH = 30 * 86_400.0


@pytest.fixture(scope="module")
def planned(tmp_path_factory):
    path = write_log(tmp_path_factory.mktemp("plan") / "log.csv", zipf(30_000, 3_000, 0.9), every=20.0)
    with path.open("a") as file:
        file.write("SECRET,broken,line\n")
    return plan([path])


# Traffic


def test_each_read_is_answered_by_one_tier_or_computed():
    trace = trace_of(zipf(20_000, 2_000, 0.8), itertools.repeat(1000), every=60)
    flows = traffic(trace, EvictionPolicy.LRU, 100_000, 800_000)
    memory, redis, store = flows.tiers
    assert [one.tier for one in flows.tiers] == [MEMORY, REDIS, STORE]
    assert redis.reads == pytest.approx(memory.reads - memory.hits)
    assert store.reads == pytest.approx(redis.reads - redis.hits)
    assert flows.computed == pytest.approx(store.reads - store.hits)
    assert 0 < store.hits < redis.hits + memory.hits
    assert memory.reads == pytest.approx(20_000 * MONTH / trace.span)


def test_memory_before_the_store_has_the_hits_of_its_curve():
    trace = trace_of(zipf(20_000, 2_000, 0.8), itertools.repeat(1000))
    flow = traffic(trace, EvictionPolicy.SIEVE, 300_000).of(MEMORY)
    (curve,) = simulate(trace, [EvictionPolicy.SIEVE], sizes=[300_000])
    assert flow.hits / flow.reads == pytest.approx(curve.hit_ratio[0])


def test_what_expires_is_computed_again_and_leaves_the_store():
    trace = trace_of([1] * 100, itertools.repeat(1000), every=60)
    for place in range(100):
        trace.lives[place] = 600.0
    flows = traffic(trace, EvictionPolicy.LRU, None)
    assert flows.computed * trace.span / MONTH == pytest.approx(10)
    assert flows.entries == pytest.approx(1.0, abs=0.01)
    assert flows.entry_bytes == 1000 + ENVELOPE_BYTES
    assert stored(trace, flows).lifetime == 600.0


def test_entries_that_never_expire_grow_at_the_pace_of_the_second_half():
    trace = trace_of([*range(500), *[1] * 500, *range(1000, 1200), *[1] * 800], itertools.repeat(1000), every=432)
    held = stored(trace, traffic(trace, EvictionPolicy.LRU, None))
    days = trace.span / 86_400
    assert held.entries == pytest.approx(700 + 200 / (days / 2) * (30 - days) / 2, rel=0.02)
    assert held.lifetime is None


# Cost


def test_costs_are_those_of_the_price_list():
    held = Stored(entries=1e6, entry_bytes=8192, reads=2e6, hits=1.5e6, writes=5e5, lifetime=None)
    costs = class_costs(held, store="s3", segment="8MiB", flush_after=60, processes=1)
    assert [one.total for one in costs] == sorted(one.total for one in costs)
    assert {one.layout for one in costs} == {ONE, PACKED}
    (plain,) = [one for one in costs if (one.storage_class, one.layout) == ("STANDARD", ONE)]
    from tiercache_s3 import S3Backend

    known = monthly_cost(S3Backend.rules["STANDARD"], entries=1e6, size=8192, reads=2e6, writes=5e5)
    assert plain.total == pytest.approx(known.total)


def test_segments_are_no_larger_than_what_is_written_in_their_time():
    held = Stored(entries=1e4, entry_bytes=1000, reads=1e5, hits=1e5, writes=43_200, lifetime=None)
    (slow,), (large,) = (
        [
            one
            for one in class_costs(held, store="s3", segment="8MiB", flush_after=wait, processes=1)
            if (one.storage_class, one.layout) == ("STANDARD", PACKED)
        ]
        for wait in (60, 86_400)
    )
    assert slow.requests > large.requests, "one entry a minute is one object a minute"


@pytest.mark.parametrize("store", ["s3", "gs", "az"])
def test_each_object_store_has_a_choice(store):
    held = Stored(entries=1e5, entry_bytes=4000, reads=1e5, hits=1e5, writes=1e5, lifetime=30 * 86_400.0)
    costs = class_costs(held, store=store, segment="8MiB", flush_after=60, processes=2)
    assert any(one.choosable for one in costs)


def test_a_store_without_classes_is_refused():
    held = Stored(entries=1, entry_bytes=1, reads=1, hits=1, writes=1, lifetime=None)
    with pytest.raises(ConfigurationError, match="s3, gs or az"):
        class_costs(held, store="memory", segment="8MiB", flush_after=60, processes=1)


# Lives


def test_the_shortest_ttl_that_keeps_the_hits_is_chosen():
    keys = [key for key in range(2000) for _ in range(4)]  # each four times, ten seconds apart, and never again
    found = lifetimes(trace_of(keys, every=10.0))
    assert found.chosen.ttl == 60.0
    assert found.chosen.kept == 1.0
    assert found.without == 0.75
    assert found.repeats == (10.0, 10.0, 10.0)


def test_a_ttl_counts_from_the_store_not_from_the_last_use():
    found = lifetimes(trace_of([1] * 1000, every=30.0))
    by_ttl = {one.ttl: one for one in found.tried}
    assert by_ttl[60.0].hit_ratio == pytest.approx(0.5)
    assert by_ttl[300.0].hit_ratio == pytest.approx(0.9)


def test_no_ttl_is_chosen_that_the_log_is_too_short_for():
    found = lifetimes(trace_of([*range(1000), *range(1000)], every=60.0))
    assert found.chosen is None
    assert all(one.ttl < 60_000 for one in found.tried)


# Advice


def curve(policy, *ratios):
    sizes = tuple(2**30 << place for place in range(len(ratios)))
    return Curve(EvictionPolicy(policy), sizes, ratios, (0.0,) * len(ratios))


def test_lru_is_kept_where_no_other_policy_is_clearly_better():
    assert best_policy([curve("s3fifo", 0.503, 0.6), curve("lru", 0.5, 0.6)]).policy == "lru"
    assert best_policy([curve("s3fifo", 0.55, 0.6), curve("lru", 0.5, 0.6)]).policy == "s3fifo"


def test_lfu_is_not_chosen_for_a_hair_for_it_never_forgets():
    assert best_policy([curve("lfu", 0.552), curve("s3fifo", 0.55), curve("lru", 0.5)]).policy == "s3fifo"


def test_the_size_is_the_knee_against_the_price():
    size = best_size([curve("lru", 0.1, 0.5, 0.6, 0.65, 0.66, 0.66)], memory_price=4.0, processes=1)
    assert size.bytes == 4 * 2**30
    assert size.usd == 16.0
    assert size.next_gain == pytest.approx(0.05)


def test_memory_that_costs_next_to_nothing_is_not_saved():
    size = best_size([curve("lru", 0.1, 0.5, 0.6, 0.65, 0.66, 0.66)], memory_price=0.01, processes=1)
    assert size.bytes == 16 * 2**30, "99 % of the hits of the largest"


# All of it


def test_a_plan_says_what_to_choose_with_figures(planned):
    memory, redis, store, ttl, computing = planned.advice
    assert re.match(r"Memory: \S+ MiB with eviction='\w+' answers \d+\.\d% of the reads", memory)
    assert redis.startswith("Redis: ")
    assert re.match(r"Store: STANDARD, (packed|one object each) \(s3(\+packed)?://\), costs \$[\d.]+ a month", store)
    assert "half of the repeated reads come within" in ttl
    assert computing.startswith("Computing: ")


def test_bad_lines_are_in_the_plan_without_their_content(planned):
    assert planned.log.left_out == {"its time is no Unix time and no ISO date": 1}
    assert "line 30002" in planned.log.told
    assert "SECRET" not in repr(planned)


def test_what_a_cache_recorded_can_be_planned_with(tmp_path):
    chain = TierChain(MemoryBackend(max_entries=50), record=tmp_path / "accesses.csv")
    with Cache(chain, ttl="1h") as cache:
        for key in zipf(3_000, 300, 0.9):
            cache.get_or_set(f"key-{key}", lambda: b"x" * 500)
        hits = cache.stats().hits
    trace, _ = load([tmp_path / "accesses.csv"])
    assert trace.requests == 3_000
    (same,) = simulate(trace, [EvictionPolicy.LRU], sizes=[50], by_entries=True)
    assert same.hit_ratio[0] == pytest.approx(hits / 3_000, abs=0.0005)
    assert stored(trace, traffic(trace, EvictionPolicy.LRU, None)).lifetime == pytest.approx(3600, abs=1)


def test_logs_of_several_processes_are_read_together(tmp_path):
    keys = zipf(4_000, 300, 0.9)
    one = write_log(tmp_path / "one.csv", keys[::2], every=2.0)
    two = write_log(tmp_path / "two.csv", keys[1::2], every=2.0)
    trace, _ = load([one, two])
    assert trace.requests == 4_000
    assert list(trace.times) == sorted(trace.times)
    assert trace.entries == len(set(keys))


def test_a_recorded_sample_counts_for_all(tmp_path):
    path = write_log(tmp_path / "log.csv", zipf(4_000, 300, 0.9))
    path.write_text("# tiercache accesses sample=0.25\n" + path.read_text())
    trace, _ = load([path])
    assert trace.rate == 0.25
    assert trace.requests == 16_000


@pytest.mark.parametrize(
    "wrong", [{"memory_price": -1}, {"processes": 0}, {"segment": "much"}, {"flush_after": 0}, {"redis_price": inf}]
)
def test_an_assumption_that_is_none_is_refused(wrong):
    with pytest.raises(ConfigurationError):
        Assumptions(**wrong)


# Plots


def test_the_plots_are_written_twice_and_are_the_same_each_time(planned, tmp_path):
    pytest.importorskip("matplotlib")
    from tiercache.planning.figures import write_plots

    first, second = (write_plots(planned, tmp_path / name) for name in ("first", "second"))
    names = [path.name for path in first]
    assert names == [f"{name}.{form}" for name in ("hit-ratio", "tiers", "cost", "ttl") for form in ("png", "svg")]
    for one, other in zip(first, second, strict=True):
        assert one.read_bytes() == other.read_bytes()
        if one.suffix == ".svg":
            ET.fromstring(one.read_text())
        else:
            assert one.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("most", [0.0009, 0.018, 0.03, 95.0, 14_274.0, 8_000_000.0])
def test_amounts_below_the_bill_do_not_run_into_each_other(planned, most):
    pytest.importorskip("matplotlib")
    from tiercache.planning.figures import _cost, _figure

    bill = replace(planned.classes[0], total=most, storage=most / 2, requests=most / 2, other=0.0)
    with _figure() as (figure, axes):
        _cost(replace(planned, classes=(bill,)), axes)
        figure.canvas.draw()
        labels = axes.get_xticklabels()
        boxes = [label.get_window_extent() for label in labels]
    assert len({label.get_text() for label in labels}) == len(labels) >= 3
    assert all(left.x1 < right.x0 for left, right in itertools.pairwise(boxes))


def test_no_name_of_a_curve_stands_in_the_title():
    pytest.importorskip("matplotlib")
    from tiercache.planning.figures import _figure, _label_curves

    ratios = {
        "lru": [0.38, 0.43, 0.44, 0.44, 0.60, 0.78, 0.88, 0.94, 0.97, 0.98, 0.99, 0.99],
        "lfu": [0.38, 0.46, 0.48, 0.50, 0.82, 0.85, 0.92, 0.96, 0.98, 0.98, 0.99, 0.99],
        "fifo": [0.35, 0.40, 0.42, 0.41, 0.54, 0.71, 0.83, 0.91, 0.95, 0.98, 0.99, 0.99],
        "sieve": [0.37, 0.41, 0.44, 0.44, 0.63, 0.83, 0.91, 0.95, 0.97, 0.98, 0.99, 0.99],
        "s3fifo": [0.38, 0.45, 0.48, 0.49, 0.78, 0.84, 0.91, 0.95, 0.98, 0.98, 0.99, 0.99],
    }
    sizes = tuple(2**power for power in range(11, 23))
    curves = [Curve(EvictionPolicy(name), sizes, tuple(ratio), (0.0,) * 12) for name, ratio in ratios.items()]
    with _figure() as (figure, axes):
        axes.set_xscale("log", base=2)
        axes.set_ylim(0, 100)
        axes.set_xlim(sizes[0], sizes[-1])
        for curve in curves:
            axes.plot(sizes, [100 * one for one in curve.hit_ratio])
        _label_curves(curves, axes)
        figure.canvas.draw()
        top = axes.get_window_extent().y1
        assert {text.get_text(): text.get_window_extent().y1 <= top + 5 for text in axes.texts} == dict.fromkeys(
            ratios, True
        )


@pytest.mark.parametrize("ratio", [0.2, 0.6, 1.0])
def test_a_curve_at_the_top_leaves_its_name_room(planned, ratio):
    pytest.importorskip("matplotlib")
    from tiercache.planning.figures import _figure, _hit_ratio

    ratios = tuple(ratio * min(1.0, place / 4) for place in range(12))
    sizes = tuple(2**20 << place for place in range(12))
    curves = [Curve(policy, sizes, ratios, (0.0,) * 12) for policy in EvictionPolicy]
    memory = dataclasses.replace(planned.memory, bytes=sizes[-1], hit_ratio=ratio)
    with _figure() as (figure, axes):
        _hit_ratio(dataclasses.replace(planned, curves=curves, memory=memory), axes)
        figure.canvas.draw()
        frame = axes.get_window_extent()
        for text in axes.texts:
            assert text.get_window_extent().y1 <= frame.y1, text.get_text()
            assert text.get_window_extent().x1 <= frame.x1, text.get_text()
        assert max(axes.get_yticks()) <= 100


class Links(HTMLParser):
    """Collects what a page loads, its ids and what refers to them."""

    def __init__(self):
        super().__init__()
        self.tags, self.loaded, self.ids, self.referred = set(), [], [], set()

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value)
            if name in ("src", "href", "xlink:href"):
                (self.referred.add(value[1:]) if value.startswith("#") else self.loaded.append(value))


def test_the_page_holds_all_and_loads_nothing(planned):
    pytest.importorskip("matplotlib")
    from tiercache.planning.page import page

    text = page(planned)
    links = Links()
    links.feed(text)
    assert links.loaded == []
    assert not links.tags & {"script", "link", "img", "iframe"}
    assert "@import" not in text
    assert all(found.startswith("#") for found in re.findall(r"url\(([^)]+)\)", text))
    assert len(links.ids) == len(set(links.ids))
    assert links.referred <= set(links.ids)
    assert text.count("<svg") == 4
    assert "s3fifo" in text
    assert "SECRET" not in text


def test_without_matplotlib_it_says_what_to_install(planned, monkeypatch):
    from tiercache.planning.page import page

    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtra, match=r"tiercache\[plan\]"):
        page(planned)
