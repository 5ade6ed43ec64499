"""The examination catches caches that break a promise: each toy breaks one."""

import contextlib
import logging

import pytest

from tests.faults import examine as examination
from tests.faults.examine import examine
from tests.faults.fault import OPERATIONS, Cell, Fault
from tests.faults.rigs import Rig
from tests.faults.scene import Async, Scene, Sync, run_sync
from tiercache import MemoryBackend
from tiercache.errors import BackendUnavailable
from tiercache.testing import FaultyBackend, Rule

UNAVAILABLE, TIMEOUT = frozenset({"BackendUnavailable"}), frozenset({"BackendTimeout"})


cache_on = Scene.cache_on


class ToyRig(Rig):
    """A dict with faults by rules; what goes past them goes to the same dict."""

    kind = "toy"
    haste = 0.01

    def __init__(self, stack, wrap=FaultyBackend):
        super().__init__(stack)
        self.memory = MemoryBackend()
        self.faulty = wrap(self.memory)

    def backend(self, through, timeout, *, fresh=False):
        backend = self.memory if through == "server" else self.faulty
        backend.timeout = timeout
        return backend


def broken(*rules):
    return lambda scene: scene.backend.broken(*rules)


def fault(inject, kinds=UNAVAILABLE, **options):
    return Fault("0", "a toy's fault", ("toy",), inject, kinds, through="script", **options)


def run(cell_fault, operation, wrap=FaultyBackend, face=Sync):
    with contextlib.ExitStack() as stack:
        cell = Cell(cell_fault, "toy", operation, face.name)
        run_sync(examine(ToyRig(stack, wrap), cell, face))


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize(("name", "kinds"), [("unavailable", UNAVAILABLE), ("timeout", TIMEOUT), ("delay", TIMEOUT)])
def test_a_cache_that_holds_its_promises_passes(operation, name, kinds):
    run(fault(broken(Rule(name)), kinds, slow=name == "delay"), operation)


async def test_it_passes_when_it_is_awaited():
    with contextlib.ExitStack() as stack:
        cell = Cell(fault(broken(Rule("unavailable"))), "toy", "get_or_set", "async")
        await examine(ToyRig(stack), cell, Async)


def test_a_write_that_is_lost_silently_is_a_wrong_value():
    with pytest.raises(AssertionError, match="W: a wrong value while it lasts: the older one"):
        run(fault(broken(Rule("lose")), frozenset()), "set")


@pytest.mark.parametrize("operation", ["get", "get_many"])
def test_another_answer_than_what_was_stored_is_a_wrong_value(operation):
    class Wrong(FaultyBackend):
        def get(self, key, *, deadline=None):
            entry = super().get(key)
            return entry.__class__(entry.payload.replace(b"before", b"beside"), entry.metadata) if wrong else entry

        def get_many(self, keys, *, deadline=None):
            return {key: self.get(key) for key in keys if self.inner.get(key)}

    wrong = []

    @contextlib.contextmanager
    def lie(scene):
        wrong.append(1)
        yield

    with pytest.raises(AssertionError, match="W: a wrong value"):
        run(fault(lie, frozenset()), operation, Wrong)


def test_a_hang_is_too_late(monkeypatch):
    endless = {"timeout": None}
    monkeypatch.setattr(Scene, "cache_on", lambda self, backend, **_: cache_on(self, backend, **endless))
    with pytest.raises(AssertionError, match=r"D: 0\.[3-9]"):
        run(fault(broken(Rule("hang", seconds=0.3)), TIMEOUT, slow=True), "get")


def test_an_error_that_reaches_the_caller_is_one_too_many(monkeypatch):
    monkeypatch.setattr(Scene, "cache_on", lambda self, backend, **_: cache_on(self, backend, strict=True))
    with pytest.raises(AssertionError, match="E: BackendUnavailable reached the caller"):
        run(fault(broken(Rule("unavailable"))), "get")


def test_a_strict_chain_that_swallows_is_not_strict(monkeypatch):
    monkeypatch.setattr(Scene, "cache_on", lambda self, backend, **options: cache_on(self, backend))
    with pytest.raises(AssertionError, match=r"E: a strict chain raised .*nothing"):
        run(fault(broken(Rule("unavailable"))), "get")


def test_an_error_of_another_kind_is_counted_wrongly():
    with pytest.raises(AssertionError, match=r"O: counted .'AccessDenied': 1., not"):
        run(fault(broken(Rule("denied"))), "get")


def test_a_failure_that_nobody_counts_is_missed():
    with pytest.raises(AssertionError, match="O: nothing was counted"):
        run(fault(broken(Rule("unavailable", "ping"))), "get")


class Tells(FaultyBackend):
    def get(self, key, *, deadline=None):
        if self.injected:
            raise BackendUnavailable(f"no answer for {key}")
        return super().get(key)


def test_a_key_in_the_log_is_told():
    @contextlib.contextmanager
    def begin(scene):
        scene.backend.injected["told"] += 1
        yield
        scene.backend.injected.clear()

    with pytest.raises(AssertionError, match=r"O: a line tells \['confidential'\]"):
        run(fault(begin), "get", Tells)


def test_two_lines_of_one_kind_are_one_too_many():
    @contextlib.contextmanager
    def chatter(scene):
        for _ in range(2):
            logging.getLogger("tiercache").warning("tier %s: %s: %s", scene.tier, "BackendUnavailable", "down")
        with scene.backend.broken(Rule("unavailable")):
            yield

    with pytest.raises(AssertionError, match="O: logged more than once"):
        run(fault(chatter), "get")


def test_what_does_not_heal_is_seen(monkeypatch):
    monkeypatch.setattr(examination, "HEALS", 0.2)

    @contextlib.contextmanager
    def for_ever(scene):
        scene.backend.inject(Rule("unavailable"))
        yield

    with pytest.raises(AssertionError, match=r"R: not healed after 0 s: .*BackendUnavailable"):
        run(fault(for_ever), "get")


def test_an_operation_that_the_fault_does_not_concern_must_be_done():
    @contextlib.contextmanager
    def forgets(scene):
        scene.rig.memory.clear()
        yield

    with pytest.raises(AssertionError, match="was not done"):
        run(fault(forgets, works=frozenset({"get"})), "get")
