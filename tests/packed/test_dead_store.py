"""A store that is down is in nobody's way: puts wait in memory, what must be stored fails at once, and all is written
when the store is back."""

from __future__ import annotations

import threading
import time

import pytest

from tests.packed.objects import MemoryObjects, entry, packed
from tiercache.errors import BackendTimeout, BackendUnavailable, ConfigurationError, PartialFailure
from tiercache.packed import backend as module

PATIENCE = 30.0


class Outage(MemoryObjects):
    """A store that raises `error`, when there is one, or hangs until `back` is set."""

    def __init__(self):
        super().__init__()
        self.error = None
        self.back = threading.Event()
        self.back.set()
        self.before = self.meet

    def meet(self, call, name):
        if self.error is not None:
            raise self.error
        self.back.wait(PATIENCE)


@pytest.fixture
def objects():
    objects = Outage()
    yield objects
    objects.error = None
    objects.back.set()


def within():
    return time.monotonic() + PATIENCE


def test_a_put_does_not_touch_the_store(objects):
    backend = packed(objects)
    backend.refresh()
    objects.error = BackendUnavailable("down")
    with objects.counted() as calls:
        assert backend.put("n:1", entry("n:1"))
        backend.put_many({"n:2": entry("n:2")})
    assert not calls
    assert backend.get("n:2").payload == b"payload"


def test_a_put_does_not_wait_until_an_old_catalogue_is_read_again(objects):
    backend = packed(objects, refresh=0.01)
    backend.refresh()
    objects.back.clear()
    time.sleep(0.03)  # more than twice `refresh`
    assert backend.put("n:1", entry("n:1"), deadline=time.monotonic() + 0.05)
    with pytest.raises(BackendTimeout):
        backend.get("n:1", deadline=time.monotonic() + 0.05)


def test_a_put_needs_the_catalogue_once(objects):
    """It must know what it replaces."""
    backend = packed(objects)
    objects.error = BackendUnavailable("down")
    with pytest.raises(BackendUnavailable):
        backend.put("n:1", entry("n:1"))
    objects.error = None
    assert backend.put("n:1", entry("n:1"))


@pytest.mark.parametrize("error", [BackendUnavailable("down"), ConfigurationError("no such bucket")], ids=repr)
@pytest.mark.parametrize("operation", ["put", "put_many", "delete", "delete_many"])
def test_what_must_be_stored_fails_with_the_first_attempt(objects, operation, error):
    backend = packed(objects, durable=True)
    backend.put("n:1", entry("n:1"))
    gate = threading.Event()

    def fail(call, name):
        if call == "write" and not gate.is_set():
            raise error

    objects.before = fail
    arguments = {"put": ("n:1", entry("n:1")), "put_many": ({"n:1": entry("n:1")},), "delete_many": (["n:1"],)}
    names_keys = operation.endswith("_many") and isinstance(error, BackendUnavailable)
    with pytest.raises(PartialFailure if names_keys else type(error)) as caught:
        getattr(backend, operation)(*arguments.get(operation, ("n:1",)), deadline=time.monotonic() + 10 * PATIENCE)
    assert (caught.value.failed["n:1"] if names_keys else caught.value) is error
    assert backend.writer.counters.failed == 1
    gate.set()
    backend.flush(deadline=within())
    assert (packed(objects).get("n:1") is None) is operation.startswith("delete")


def test_writes_that_failed_keep_no_other_one_from_being_tried(objects):
    backend = packed(objects, durable=True)
    backend.refresh()
    objects.error = BackendUnavailable("down")
    for number in range(12):  # more than there are threads
        with pytest.raises(BackendUnavailable, match="down"):
            backend.put(f"n:{number}", entry(f"n:{number}"), deadline=within())
    objects.error = None
    assert backend.put("n:12", entry("n:12"), deadline=within())
    backend.flush(deadline=within())
    assert len(packed(objects).get_many([f"n:{number}" for number in range(13)])) == 13


def test_a_flush_ends_the_pauses(objects, monkeypatch):
    monkeypatch.setattr("tiercache.packed.sending.FIRST_PAUSE", 10 * PATIENCE)
    monkeypatch.setattr("tiercache.packed.sending.LONGEST_PAUSE", 10 * PATIENCE)
    backend = packed(objects, durable=True)
    backend.refresh()
    objects.error = BackendUnavailable("down")
    with pytest.raises(BackendUnavailable, match="down"):
        backend.put("n:1", entry("n:1"), deadline=within())
    objects.error = None
    backend.flush(deadline=within())
    assert packed(objects).get("n:1") is not None


@pytest.mark.parametrize("how", ["refused", "hangs"])
def test_close_is_bounded_and_tells_what_is_lost(objects, how, monkeypatch, caplog):
    monkeypatch.setattr(module, "CLOSE_SECONDS", 0.1)
    backend = packed(objects)
    backend.put("n:confidential", entry("n:confidential"))
    if how == "refused":
        objects.error = BackendUnavailable("down")
    else:
        objects.back.clear()
    began = time.monotonic()
    backend.close()
    assert time.monotonic() - began < PATIENCE
    assert "1 entries were not stored" in caplog.text
    assert "confidential" not in caplog.text
