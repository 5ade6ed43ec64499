"""Sealed entries are copied without their key: the same bytes, which only those who have it read, and believe."""

from __future__ import annotations

import contextlib
import io
import time
from typing import Any

import pytest

from tests.transfer.conftest import LASTING, Make, put, wires_of
from tiercache import Cache, KeyRing, TierChain
from tiercache.errors import ConfigurationError, PartialFailure, UnknownKey
from tiercache.transfer import copy, export_entries, import_entries

ENCRYPTED = KeyRing({"k1": bytes(range(32))}, encrypt=True)
TAGGED = KeyRing({"k1": bytes(range(32))}, encrypt=False)


def sealed(
    make: Make, kind: str, place: str, keys: KeyRing = ENCRYPTED, *, invalidated: bool = True
) -> dict[str, bytes]:
    """Fill a store through a chain with keys, and return the envelopes as they lie there."""
    with contextlib.closing(TierChain(make(kind, place), keys=keys)) as chain:
        cache = Cache(chain, namespace="n")
        cache.set("dead", "dead", tags=["t"])
        if invalidated:
            cache.invalidate_tags(["t"])
        cache.set("forever", "secret 1")
        cache.set("for a while", "secret 2", ttl=3000, stale_for=100)
        chain.drain()
        return wires_of(chain.tiers[0].backend)


def values(backend: Any, keys: KeyRing = ENCRYPTED) -> list[Any]:
    with contextlib.closing(TierChain(backend, keys=keys)) as chain:
        cache = Cache(chain, namespace="n")
        return [cache.get(key) for key in ("forever", "for a while", "dead")]


@pytest.mark.parametrize("keys", [ENCRYPTED, TAGGED], ids=["encrypted", "tagged"])
@pytest.mark.parametrize("there", LASTING)
@pytest.mark.parametrize("here", LASTING)
def test_they_are_carried_as_they_are_without_a_key(make: Make, here: str, there: str, keys: KeyRing) -> None:
    wires = sealed(make, here, "a", keys)
    report = copy(make(here, "a"), make(there, "b"), carry_sealed=True)
    assert (report.copied, report.carried, report.sealed, report.left) == (3, 3, 0, 0)
    assert wires_of(_with(make(there, "b"), keys)) == wires
    assert values(make(there, "b"), keys) == ["secret 1", "secret 2", None], "what was invalidated is dead there too"


def _with(backend: Any, keys: KeyRing) -> Any:
    TierChain(backend, keys=keys)
    return backend


@pytest.mark.parametrize("there", LASTING)
@pytest.mark.parametrize("here", LASTING)
def test_the_store_knows_when_they_are_gone(make: Make, here: str, there: str) -> None:
    sealed(make, here, "a")
    copy(make(here, "a"), make(there, "b"), carry_sealed=True)
    backend = make(there, "b")
    ends = time.time() + 3100
    if there == "packed":
        backend.ping()
        known = [backend.discovery.catalogue.find(digest) for digest in _digests()]
        gone = [found.gone_at for found in known]
    elif there == "objects":
        from tiercache.objectstore.mirror import gone_at

        gone = [gone_at(backend.objects.mirrors[f"p/{name}"]) for name in ("n:forever", "n:for%20a%20while")]
    else:
        listed = dict(backend.scan("n:"))
        gone = [listed[key].gone_at for key in ("n:forever", "n:for a while")]
    assert not gone[0]
    assert gone[1] == pytest.approx(ends, abs=100)


def _digests() -> list[bytes]:
    from tiercache.packed.segment import digest_of

    return [digest_of(key) for key in ("n:forever", "n:for a while")]


def test_unless_asked_for_they_stay(make: Make) -> None:
    sealed(make, "disk", "a", invalidated=False)
    report = copy(make("disk", "a"), make("disk", "b"))
    assert (report.copied, report.sealed, report.damaged, report.left) == (0, 3, 0, 3)
    assert report.errors == {"UnknownKey": 3}


def test_memory_takes_none(make: Make) -> None:
    sealed(make, "disk", "a")
    memory = make("memory", "b")
    report = copy(make("disk", "a"), memory, carry_sealed=True)
    assert (report.copied, report.sealed) == (0, 3)
    assert list(memory.scan()) == []


def test_they_are_never_values(make: Make) -> None:
    """A cache on a store that carries finds nothing in them: an opaque entry has no payload that decodes."""
    sealed(make, "disk", "a")
    backend = make("disk", "a")
    copy(backend, make("disk", "b"), carry_sealed=True)
    assert Cache(TierChain(backend), namespace="n").get("forever") is None


def test_what_is_there_stays_as_nobody_can_tell_which_is_newer(make: Make) -> None:
    sealed(make, "disk", "a")
    copy(make("disk", "a"), make("disk", "b"), carry_sealed=True)
    report = copy(make("disk", "a"), make("disk", "b"), carry_sealed=True)
    assert (report.copied, report.skipped_present) == (0, 3)
    report = copy(make("disk", "a"), make("disk", "b"), carry_sealed=True, overwrite="always")
    assert report.skipped_present == 3, "the same bytes"


def test_filters_by_what_is_inside_leave_them_out(make: Make) -> None:
    sealed(make, "disk", "a")
    report = copy(make("disk", "a"), make("disk", "b"), carry_sealed=True, tags=["t"])
    assert (report.copied, report.skipped_other) == (0, 3)
    assert copy(make("disk", "a"), make("disk", "b"), carry_sealed=True, prefix="n:for ").copied == 1


def test_two_sealed_invalidations_cannot_be_merged(make: Make) -> None:
    sealed(make, "disk", "a")
    sealed(make, "disk", "b")
    with pytest.raises(ConfigurationError, match="give the command or the chains the keys"):
        copy(make("disk", "a"), make("disk", "b"), carry_sealed=True)


def test_with_keys_they_are_read_and_judged_and_copied_as_they_are(make: Make) -> None:
    wires = sealed(make, "disk", "a")
    with (
        contextlib.closing(TierChain(make("disk", "a"), keys=ENCRYPTED)) as source,
        contextlib.closing(TierChain(make("redis", "b"), keys=ENCRYPTED)) as there,
    ):
        report = copy(source, there)
        assert (report.copied, report.skipped_dead, report.carried) == (2, 1, 0)
        found = wires_of(there.tiers[0].backend)
        assert found == {key: wire for key, wire in wires.items() if key != "n:dead"}
        with pytest.raises(ConfigurationError, match="without keys"):
            copy(source, there, carry_sealed=True)


def test_what_is_sealed_never_comes_out_open(make: Make) -> None:
    sealed(make, "disk", "a")
    with contextlib.closing(TierChain(make("disk", "a"), keys=ENCRYPTED)) as source:
        with pytest.raises(ConfigurationError, match="the target is not"):
            copy(source, make("disk", "b"))
        file = io.BytesIO()
        assert export_entries(source, file).carried == 2
    assert b"secret" not in file.getvalue()


@pytest.mark.parametrize("there", LASTING)
def test_a_file_carries_them_and_what_was_invalidated(make: Make, there: str) -> None:
    wires = sealed(make, "disk", "a")
    file = io.BytesIO()
    report = export_entries(make("disk", "a"), file, carry_sealed=True)
    assert (report.copied, report.carried) == (3, 3)
    file.seek(0)
    report = import_entries(file, make(there, "b"), carry_sealed=True)
    assert (report.copied, report.carried, report.left) == (3, 3, 0)
    assert wires_of(_with(make(there, "b"), ENCRYPTED)) == wires
    assert values(make(there, "b")) == ["secret 1", "secret 2", None]


def test_a_file_of_sealed_entries_opens_with_the_keys(make: Make) -> None:
    sealed(make, "disk", "a")
    file = io.BytesIO()
    export_entries(make("disk", "a"), file, carry_sealed=True)
    file.seek(0)
    with contextlib.closing(TierChain(make("disk", "b"), keys=ENCRYPTED)) as there:
        report = import_entries(file, there)
        assert (report.copied, report.skipped_dead) == (2, 1)
    assert values(make("disk", "b")) == ["secret 1", "secret 2", None]


def test_a_file_of_sealed_entries_stays_closed_without_the_keys(make: Make) -> None:
    sealed(make, "disk", "a", invalidated=False)
    sealed(make, "disk", "b")
    file, other = io.BytesIO(), io.BytesIO()
    export_entries(make("disk", "a"), file, carry_sealed=True)
    export_entries(make("disk", "b"), other, carry_sealed=True)
    file.seek(0)
    other.seek(0)
    failed: list[Any] = []
    report = import_entries(file, make("disk", "c"), on_failure=lambda key, error: failed.append(error))
    assert (report.copied, report.sealed) == (0, 3)
    assert all(isinstance(error, UnknownKey) for error in failed)
    with pytest.raises(PartialFailure, match="UnknownKey"):  # who knows what of the rest was invalidated
        import_entries(other, make("disk", "d"))


def test_open_entries_beside_sealed_invalidations_come_with_these(make: Make) -> None:
    put(make("disk", "a"), "n:open", b"open", age=100)
    sealed(make, "disk", "a", KeyRing({"k1": bytes(range(32))}, accept_plain=True))
    there = make("disk", "b")
    assert copy(make("disk", "a"), there, carry_sealed=True, prefix="n:open").copied == 1
    assert there.get("_meta:epochs:n") is not None
