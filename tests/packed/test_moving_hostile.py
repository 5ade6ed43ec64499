"""What `migrate` does with the wrong token, and while segments are merged under its hands: nothing is passed over."""

from __future__ import annotations

import time

import pytest

from tests.packed.objects import MemoryObjects, entry, packed
from tests.packed.test_moving import both_ways, filled, single, wires_of
from tiercache.errors import ConfigurationError
from tiercache.packed import migrate, naming, rewriting, sending


@pytest.mark.parametrize("way", ["in", "back"])
def test_a_token_of_another_place_is_refused(objects, way):
    """Whatever stands before it in the order of names would be passed over, and the report would say complete."""
    source, target = both_ways(objects, way, MemoryObjects())
    filled(source, 30)
    token = migrate(source, target, max_entries=5).resume
    assert token
    elsewhere = {"in": single, "back": packed}[way](objects, prefix="q")
    for other, options in [(elsewhere, {}), (source, {"prefix": "n:"}), (packed(objects, prefix="r"), {})]:
        with pytest.raises(ConfigurationError, match="another source, or of another prefix"):
            migrate(other, target, resume=token, **options)
    assert migrate(source, target, resume=token).complete


@pytest.mark.parametrize("way", ["in", "back"])
@pytest.mark.parametrize("token", ["zzz", "01ARZ3NDEKTSV4RRFFQ69G5FAV", "after:n", ":", "0" * 16 + ":n"])
def test_what_is_no_token_is_refused(objects, way, token):
    source, target = both_ways(objects, way, MemoryObjects())
    filled(source, 3)
    with pytest.raises(ConfigurationError, match="begin without it"):
        migrate(source, target, resume=token)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"resume": 3}, "resume must be"),
        ({"delete": "no"}, "delete must be"),
        ({"prefix": None}, "prefix must be"),
        ({"max_entries": 0}, "max_entries must be"),
        ({"max_entries": -1}, "max_entries must be"),
        ({"max_entries": True}, "max_entries must be"),
    ],
)
def test_options_of_the_wrong_kind_are_refused(objects, options, message):
    with pytest.raises(ConfigurationError, match=message):
        migrate(single(objects), packed(objects), **options)


def segments_of(backend, count):
    for number in range(count):
        backend.put(f"n:{number:04}", entry(f"n:{number:04}"))
        backend.flush()


@pytest.fixture
def merged_below(objects, monkeypatch):
    """Two segments become one whose name is before that of a later one which the compactor does not know."""
    monkeypatch.setattr(sending, "new_ulid", naming.Ulids().new)  # those of other tests may be in the future
    monkeypatch.setattr(rewriting, "new_ulid", naming.Ulids().new)  # another process
    compactor = packed(objects)
    segments_of(compactor, 2)
    return compactor, packed(objects, clock=lambda: time.time() + 100)


@pytest.mark.parametrize("told", [False, True])
@pytest.mark.parametrize("most", [None, 1])
def test_what_is_merged_while_it_moves_comes_over(objects, merged_below, told, most, monkeypatch):
    compactor, source = merged_below
    compactor.refresh()
    if told:
        compactor.on_sealed = lambda news: source.discovery.told(news) or source.discovery._pool.drain(60)
    first, *_ = objects.segments()
    source.put("n:0009", entry("n:0009"))  # its segment has a later name than the merged one will have
    source.flush()
    begun = []

    def meanwhile(call, name):
        known = {each.name for each in source.discovery.known()}
        if call == "read_range" and name == first and first in known and not begun:
            begun.append(name)
            compactor.discovery.refresh_whole = lambda deadline: None  # it has listed before
            monkeypatch.setattr("tiercache.packed.round.Round._shows_all", lambda self: True)
            compactor.compact()

    objects.before = meanwhile
    target, token, copied = packed(MemoryObjects()), None, 0
    for _ in range(20):
        report = migrate(source, target, resume=token, max_entries=most)
        copied, token = copied + report.copied, report.resume
        if report.complete:
            break
        source = packed(objects)  # another process
    assert begun
    assert (copied, set(wires_of(target))) == (3, {"n:0000", "n:0001", "n:0009"})


def test_a_source_whose_catalogue_is_full_is_refused(objects):
    """What was left out would be passed over, and the report would say complete."""
    filled(packed(objects), 5)
    with pytest.raises(ConfigurationError, match="max_entries"):
        migrate(packed(objects, max_entries=2), packed(MemoryObjects(), prefix="q"))
