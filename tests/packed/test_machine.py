"""Several processes over one store, with clocks, listings and failures of their own, against a history of every key."""

from __future__ import annotations

import random
import time
from collections import Counter
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.packed.objects import MemoryObjects, entry, packed
from tests.properties.scale import SCALE
from tiercache.errors import BackendError, BackendTimeout, BackendUnavailable
from tiercache.packed import naming, retries, sending, writer
from tiercache.packed.segment import digest_of, find, read_tail
from tiercache.testing import FakeClock

DAY = 86_400.0
KEYS = [f"n:{number}" for number in range(6)]
LIVES = {"n:0": [None], "n:1": [None, 40.0, 3600.0], "n:2": [30.0, 3600.0], "n:3": [3 * DAY, 6 * DAY]}
ALIKE = ("n:0", "n:2", "n:3")  # their values live in one bucket
SKEWS = [0.0, 240.0, -240.0]
keys_ = st.sampled_from(KEYS)
which = st.integers(0, 2)
GUARD = 60.0


def lives(key: str) -> list[float | None]:
    return LIVES.get(key, [None, 3600.0, 5 * DAY])


class Skewed:
    """A clock that is off."""

    def __init__(self, clock: FakeClock, seconds: float) -> None:
        self.clock, self.seconds = clock, seconds

    def __call__(self) -> float:
        return self.clock() + self.seconds


class Machine(RuleBasedStateMachine):
    """The truth is what the store holds and what each process has pending, by stamps; the model reads it by itself."""

    rules_of_lifecycle = True
    skews = SKEWS

    @initialize(hours=st.sampled_from([0.0, 0.0, 5 * 3600.0, -5 * 3600.0]))
    def begin(self, hours: float) -> None:
        self.clock = FakeClock()
        self.objects = MemoryObjects()
        self.objects.before = _well
        self.answers, self.late, self.write = "come", list[Any](), self.objects.write
        self.objects.write = self.meet  # type: ignore[method-assign]
        self.skew = [*self.skews[:2], hours or self.skews[2]]
        self.ever: dict[str, dict[bytes, float | None]] = {key: {} for key in KEYS}  # payload -> when it is gone
        self.number = 0
        self.merged = self.lagged = False  # since all agreed
        self.lossy = False  # a segment went behind everybody's back: hidden ones may show again
        self.dead: list[Any] = []
        self.top: dict[str, int] = {}
        self.stamps: Counter[tuple[str, int]] = Counter()
        self.last: list[dict[str, tuple[bytes | None, int]]] = [{}, {}, {}]  # what a process wrote last, and its stamp
        self.processes = [self.process(number) for number in range(3)]

    def process(self, number: int) -> Any:
        process = packed(
            self.objects,
            clock=Skewed(self.clock, self.skew[number]),
            segment_bytes=3000,
            max_pending_bytes=1_000_000,
            flush_after=3000,
            refresh=3000,
        )
        process.on_sealed = _deaf
        process._ticking = True  # the seconds of this clock are none for the ticker: nothing is sealed by chance
        return process

    def teardown(self) -> None:
        if hasattr(self, "objects"):
            self.objects.before, self.answers = _well, "come"
            for each in [*self.processes, *self.dead]:
                each.writer.pending.after_fork()  # nothing is to be written any more
                each.close()

    def value(self, key: str, size: int, life: float | None, number: int) -> Any:
        self.number += 1
        payload = f"{key} {self.number} ".encode() + bytes(random.Random(self.number).randbytes(size))
        made = entry(key, payload, ttl=life, now=self.processes[number].inner.clock())
        self.ever[key][payload] = None if life is None else made.metadata.expires_at
        return made

    def wrote(self, number: int, key: str, payload: bytes | None) -> None:
        stamp = self.processes[number].newest.stamp(digest_of(key))
        self.last[number][key] = payload, stamp
        self.stamps[key, stamp] += 1

    def tried(self, act: Any) -> bool:
        try:
            act()
        except BackendError:
            return False
        return True

    @rule(number=which, key=keys_, pick=st.integers(0, 9), size=st.sampled_from([0, 10, 500, 4000]))
    def put(self, number: int, key: str, pick: int, size: int) -> None:
        choice = lives(key)
        made = self.value(key, size, choice[pick % len(choice)], number)
        if self.tried(lambda: self.processes[number].put(key, made)):
            self.wrote(number, key, made.payload)

    @rule(number=which, key=keys_, match=st.booleans())
    def put_conditionally(self, number: int, key: str, match: bool) -> None:
        process = self.processes[number]
        try:
            held = process.get(key)
        except BackendError:
            return
        made = self.value(key, 20, lives(key)[0], number)
        options = {"if_match": held.metadata.etag if held else "none"} if match else {"if_absent": True}
        try:
            stored = process.put(key, made, **options)
        except BackendError:
            return
        # Between the two, news may have come, or a segment that was merged may have gone.
        if not self.merged and all(each.on_sealed is _deaf for each in self.processes):
            assert stored is ((held is not None) if match else (held is None))
        if stored:
            self.wrote(number, key, made.payload)

    @rule(number=which, keys=st.sets(keys_, min_size=1), pick=st.integers(0, 9))
    def put_many(self, number: int, keys: set[str], pick: int) -> None:
        made = {key: self.value(key, 300, lives(key)[pick % len(lives(key))], number) for key in sorted(keys)}
        if self.tried(lambda: self.processes[number].put_many(made)):
            for key, each in made.items():
                self.wrote(number, key, each.payload)

    @rule(number=which, key=keys_)
    def delete(self, number: int, key: str) -> None:
        if self.tried(lambda: self.processes[number].delete(key, deadline=time.monotonic() + self.patience())):
            self.wrote(number, key, None)
        else:
            self.last[number].pop(key, None)

    @rule(number=which, keys=st.sets(keys_, min_size=1))
    def delete_many(self, number: int, keys: set[str]) -> None:
        done = self.tried(
            lambda: self.processes[number].delete_many(sorted(keys), deadline=time.monotonic() + self.patience())
        )
        for key in keys:
            if done:
                self.wrote(number, key, None)
            else:
                self.last[number].pop(key, None)

    def patience(self) -> float:
        return GUARD if self.objects.before is _well and self.answers == "come" else 0.05

    def meet(self, upload: Any, **options: Any) -> bool:
        """A segment is written, and the answer comes or is lost; or it is written later."""
        answers = self.answers if "_segments/" in upload.name else "come"
        if answers == "late":
            self.late.append(upload)
        else:
            written = self.write(upload, **options)
            if answers == "come":
                return written
        raise BackendTimeout("lost")

    @rule(answers=st.sampled_from(["come", "come", "lost", "late"]))
    def answers_are_lost(self, answers: str) -> None:
        self.answers = answers

    @rule()
    def late_ones_arrive(self) -> None:
        """Whatever its writer has done since."""
        before, self.objects.before = self.objects.before, _well
        late, self.late = self.late, []
        for upload in late:
            self.write(upload, if_absent=True, if_match=None, deadline=None)
        self.objects.before = before

    @rule(number=which)
    def flush(self, number: int) -> None:
        self.tried(lambda: self.processes[number].flush(deadline=time.monotonic() + self.patience()))

    @rule(number=which)
    def refresh(self, number: int) -> None:
        self.tried(lambda: self.processes[number].refresh())

    @rule(teller=which, hearer=which)
    def news_go_on(self, teller: int, hearer: int) -> None:
        """From now on one process tells another."""
        if teller != hearer:
            self.processes[teller].on_sealed = self.processes[hearer].heard

    @rule(teller=which)
    def news_are_lost(self, teller: int) -> None:
        self.processes[teller].on_sealed = _deaf

    @rule(number=which)
    def kill(self, number: int) -> None:
        process = self.processes[number]
        process.writer.pending.after_fork()
        process.writer._closing = True
        process.writer._retries.close()
        assert process.writer._pool.drain(GUARD)  # what was on its way arrived, or it did not
        process.on_sealed = _deaf
        self.dead.append(process)
        self.processes[number] = self.process(number)
        self.last[number].clear()

    @rule(seconds=st.sampled_from([0.001, 1.0, 35.0, 700.0, 4000.0]))
    def time_passes(self, seconds: float) -> None:
        """Nothing waits for more than an hour, and no request is under way for minutes."""
        for number, process in enumerate(self.processes):
            if any(batch.age.seconds() + seconds > writer.MAX_HOLD - GUARD for batch in process.writer.pending):
                self.flush(number)
                if process.has_pending:
                    return
        if seconds > 60:
            self.late_ones_arrive()
        self.clock.advance(seconds)

    @rule(days=st.integers(1, 9))
    @precondition(lambda self: self.rules_of_lifecycle)
    def days_pass(self, days: int) -> None:
        """Nothing waits or is under way; the store's own rules delete what is older than its bucket says."""
        for number in range(3):
            self.flush(number)
        if any(process.has_pending for process in self.processes):
            return
        self.late_ones_arrive()
        for _ in range(days):
            self.clock.advance(DAY)
            for name in self.objects.segments():
                parts = naming.parse("p/", name)
                longest = dict(naming.BUCKETS).get(parts.bucket) if parts else None
                age = self.clock() - self.stored_at.get(name, self.clock())
                if longest is not None and age > longest + DAY:
                    self.objects.bodies.pop(name)
        for last in self.last:
            last.clear()  # a tombstone or an entry may have gone with its segment

    @invariant()
    def when_stored(self) -> None:
        if hasattr(self, "objects"):
            if not hasattr(self, "stored_at"):
                self.stored_at: dict[str, float] = {}
            for name in self.objects.segments():
                self.stored_at.setdefault(name, self.clock())

    @rule(lag=st.booleans())
    def listings_lag(self, lag: bool) -> None:
        self.objects.lag = 1000.0 if lag else 0.0
        self.lagged |= lag

    @rule(pick=st.integers(0, 99), archived=st.booleans())
    def a_segment_goes(self, pick: int, archived: bool) -> None:
        names = self.objects.segments()
        if names and pick < 15:
            self.lossy = True
            name = names[pick % len(names)]
            if archived:
                self.objects.archived.add(name)
            else:
                self.objects.bodies.pop(name)
            for last in self.last:
                last.clear()

    @rule(calls=st.sets(st.sampled_from(["write", "list_page", "read_range"])))
    def the_store_fails(self, calls: set[str]) -> None:
        def fail(call: str, name: str) -> None:
            if call in calls:
                raise BackendUnavailable("down")

        self.objects.before = fail if calls else _well
        self.lagged |= "list_page" in calls

    @rule(number=which)
    def compact(self, number: int) -> None:
        if abs(self.skew[number]) < 300:
            self.merged = True
            self.tried(lambda: self.processes[number].compact(deadline=time.monotonic() + self.patience()))

    @rule(number=which, key=keys_)
    def get(self, number: int, key: str) -> None:
        try:
            found = self.processes[number].get(key)
        except BackendError:
            return
        self.judge(number, key, found)

    @rule(number=which, keys=st.sets(keys_, min_size=1))
    def get_many(self, number: int, keys: set[str]) -> None:
        try:
            found = self.processes[number].get_many(sorted(keys))
        except BackendError:
            return
        for key in keys:
            self.judge(number, key, found.get(key))

    def judge(self, number: int, key: str, found: Any) -> None:
        """A value was stored under this key, and is not expired; and not older than what this process wrote last."""
        now = self.processes[number].inner.clock()
        if found is not None:
            assert found.payload in self.ever[key]
            gone = self.ever[key][found.payload]
            assert gone is None or gone > now
        if key not in self.last[number]:
            return
        mine, stamp = self.last[number][key]
        gone = None if mine is None else self.ever[key][mine]
        ahead = self.clock() + max(SKEWS)  # of who merged segments
        if gone is not None and gone <= now:
            mine = None
        if found is None and gone is not None and gone <= ahead:
            return
        if self.processes[number].newest.stamp(digest_of(key)) > stamp or self.stamps[key, stamp] > 1:
            return  # another one wrote later, or in the same millisecond
        if found is None and self.merged and self.lagged:
            return  # the merged segment was not listed yet, and the one of this process is gone
        if found is None and stamp <= self.processes[number].discovery.aside.until:
            return  # it was written before a segment that cannot be read, as far as that can be told
        assert (None if found is None else found.payload) == mine, (
            f"process {number}, {key}: {found and found.payload[:8]!r}, not {mine and mine[:8]!r}; stamp {stamp}, "
            f"known {self.processes[number].newest.stamp(digest_of(key))}"
        )

    @rule()
    def all_agree(self) -> None:
        """All is flushed, all have looked: all say the same, a new process too, and it is the newest or a miss."""
        self.objects.before, self.objects.lag, self.answers = _well, 0.0, "come"
        self.late_ones_arrive()
        for process in self.processes:
            process.flush(deadline=time.monotonic() + GUARD)
            assert not process.has_pending
        self.when_stored()
        newest = {key: self.newest(key) for key in KEYS}
        for number, process in enumerate([*self.processes, self.process(0)]):
            process.refresh()
            for key in KEYS:
                found = process.get(key)
                payload = None if found is None else found.payload
                gone = self.ever[key][payload] if payload is not None else None
                assert gone is None or gone > process.inner.clock()
                if self.lossy and number < 3:
                    continue  # a miss, or what was known before: nobody tells of what went
                if payload is None and found is None and newest[key] is not None:
                    assert self.is_unusable(process, key, newest[key]), (number, key)
                if payload is not None:
                    assert payload == newest[key], (number, key)
            assert process.usage() >= (0, 0)
            if number == 3:
                self.dead.append(process)
        self.merged = self.lagged = False

    def is_unusable(self, process: Any, key: str, payload: bytes | None) -> bool:
        """Expired by that process's clock, or made in what is the far future for it."""
        assert payload is not None
        gone = self.ever[key][payload]
        return (gone is not None and gone <= process.inner.clock()) or max(self.skew) - min(self.skew) > 250

    def newest(self, key: str) -> bytes | None:
        """The payload of the newest record in the store, read without a catalogue."""
        best: tuple[int, str, bytes | None] = (-1, "", None)
        digest = digest_of(key)
        for name in self.objects.segments():
            parts = naming.parse("p/", name)
            assert parts is not None
            if name in self.objects.archived:
                continue
            body = self.objects.bodies[name]
            tail = read_tail(body[-parts.tail :], size=len(body), count=parts.count)
            place = find(tail.index, digest)
            if place is not None and (place.stamp, parts.ulid) > best[:2]:
                data = body[place.offset : place.offset + place.length]
                payload = self.processes[0].envelope.decode(data, key).payload if place.length else None
                best = (place.stamp, parts.ulid, payload)
        if best[0] < self.top.get(key, 0) and best[2] is not None and not self.lossy:
            # What went with a segment hid nothing that can still be read, where all values of the key live as long.
            gone = self.ever[key][best[2]]
            assert key not in ALIKE or (gone is not None and gone <= self.clock() + max(self.skew)), key
        self.top[key] = max(best[0], self.top.get(key, 0))
        return best[2]


def _deaf(news: Any) -> None:
    """Nobody hears of a new segment."""


def _well(call: str, name: str) -> None:
    """The store answers."""


@pytest.fixture(autouse=True)
def _retries_are_quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "FIRST_PAUSE", 0.001)
    monkeypatch.setattr(sending, "LONGEST_PAUSE", 0.002)
    monkeypatch.setattr(retries, "LOOK_EVERY", 0.002)


def run(examples: int, steps: int) -> None:
    from hypothesis.stateful import run_state_machine_as_test

    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=examples * SCALE,
            stateful_step_count=steps,
            deadline=None,
            derandomize=SCALE == 1,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_processes_agree_with_the_history_of_each_key() -> None:
    run(100, 40)


@pytest.mark.slow
@pytest.mark.timeout(900 * SCALE)
def test_processes_agree_for_long() -> None:
    run(300, 80)
