"""The contract suite holds a backend of forty lines to its rules, and catches backends that break one."""

from __future__ import annotations

import asyncio
import shutil
import threading
import time

import pytest

from tiercache import envelope
from tiercache.backend import Backend
from tiercache.entry import Entry
from tiercache.errors import CacheClosed, CorruptEntry, UnknownFormat
from tiercache.testing import BackendContract

pytest_plugins = ["pytester"]


class ToyBackend(Backend):
    """A dict of envelopes: the five operations that a backend must have, and `close`."""

    scheme = "toy"
    closed = False

    def __init__(self, clock=time.time):
        self.rows: dict[str, bytes] = {}
        self.clock = clock
        self.lock = threading.Lock()

    def get(self, key, *, deadline=None):
        self.check_open()
        data = self.rows.get(key)
        entry = None if data is None else envelope.decode(data, key)
        return entry if entry and entry.metadata.is_usable(self.clock()) else None

    def put(self, key, entry, *, if_absent=False, if_match=None, deadline=None):
        self.check_open()
        with self.lock:
            if if_absent and self.get(key):
                return False
            if if_match and ((there := self.get(key)) is None or there.metadata.etag != if_match):
                return False
            self.rows[key] = envelope.encode(entry)
            return True

    def delete(self, key, *, deadline=None):
        self.check_open()
        return self.rows.pop(key, None) is not None

    def scan(self, prefix="", *, full=False, deadline=None):
        self.check_open()
        for key in [key for key in list(self.rows) if key.startswith(prefix)]:
            try:
                entry = self.get(key)
            except CorruptEntry:
                continue
            if entry:
                yield key, entry.metadata

    def ping(self, *, deadline=None):
        self.check_open()

    def close(self):
        self.closed = True
        super().close()

    def check_open(self):
        if self.closed:
            raise CacheClosed("this toy")


class TestToy(BackendContract):
    honours_deadline = False
    seconds_later = 0.0

    def now(self):
        return time.time() + self.seconds_later

    def advance(self, seconds):
        self.seconds_later += seconds

    @pytest.fixture
    def backend(self):
        backend = ToyBackend(self.now)
        yield backend
        backend.close()

    def raw_get(self, backend, key):
        return backend.rows.get(key)

    def raw_put(self, backend, key, data):
        backend.rows[key] = data


# Backends that break one rule each, with the case that must fail.


class ServesTheExpired(ToyBackend):
    def get(self, key, *, deadline=None):
        self.check_open()
        return envelope.decode(self.rows[key], key) if key in self.rows else None


class BelievesAnyClock(ServesTheExpired):
    def get(self, key, *, deadline=None):
        entry = super().get(key)
        return None if entry is None or entry.metadata.is_expired(self.clock()) else entry


class DropsTheStale(ToyBackend):
    def get(self, key, *, deadline=None):
        entry = super().get(key)
        return None if entry is None or entry.metadata.is_stale(self.clock()) else entry


class SkipsExpiredPuts(ToyBackend):
    def put(self, key, entry, **conditions):
        return entry.metadata.is_expired(self.clock()) or super().put(key, entry, **conditions)


class AlwaysDeletes(ToyBackend):
    def delete(self, key, *, deadline=None):
        return super().delete(key) or True


class RaisesOnAMiss(ToyBackend):
    fails_with = KeyError

    def get(self, key, *, deadline=None):
        return envelope.decode(self.rows[key], key)


class IgnoresIfAbsent(ToyBackend):
    def put(self, key, entry, *, if_absent=False, if_match=None, deadline=None):
        return super().put(key, entry, if_match=if_match)


class IgnoresIfMatch(ToyBackend):
    def put(self, key, entry, *, if_absent=False, if_match=None, deadline=None):
        return super().put(key, entry, if_absent=if_absent)


class ChecksThenWrites(ToyBackend):
    def __init__(self, clock=time.time):
        super().__init__(clock)
        self.all_have_checked = threading.Barrier(16)

    def put(self, key, entry, *, if_absent=False, if_match=None, deadline=None):
        if self.get(key):
            return False
        self.all_have_checked.wait(30)
        return super().put(key, entry)


class KeepsCallersObjects(ToyBackend):
    def __init__(self, clock=time.time):
        super().__init__(clock)
        self.entries: dict[str, Entry] = {}

    def put(self, key, entry, **conditions):
        self.entries[key] = entry
        return super().put(key, entry, **conditions)

    def get(self, key, *, deadline=None):
        return super().get(key) and self.entries[key]


class LosesTags(ToyBackend):
    def put(self, key, entry, **conditions):
        return super().put(key, entry.with_metadata(tags=()), **conditions)


class RoundsTimes(ToyBackend):
    def head(self, key, *, deadline=None):
        metadata = super().head(key)
        return metadata and Entry(b"", metadata).with_metadata(expires_at=float(int(metadata.expires_at))).metadata


class StampsPromotions(ToyBackend):
    def put(self, key, entry, **conditions):
        return super().put(key, entry.with_metadata(as_of=self.clock()), **conditions)


class FailsForAbsentKeys(ToyBackend):
    fails_with = KeyError

    def get_many(self, keys, *, deadline=None):
        return {key: envelope.decode(self.rows[key], key) for key in keys}


class MixesUpBatches(ToyBackend):
    def get_many(self, keys, *, deadline=None):
        found = super().get_many(keys)
        return dict(zip(found, reversed(found.values()), strict=True))


class CountsWhatWasThere(ToyBackend):
    def delete_many(self, keys, *, deadline=None):
        return sum(self.delete(key) for key in keys)


class IgnoresThePrefix(ToyBackend):
    def scan(self, prefix="", *, full=False, deadline=None):
        return super().scan()


class ScansOnePage(ToyBackend):
    def scan(self, prefix="", *, full=False, deadline=None):
        return iter(list(super().scan(prefix))[:256])


class ScansUntilDamage(ToyBackend):
    fails_with = CorruptEntry

    def scan(self, prefix="", *, full=False, deadline=None):
        for key in sorted(self.rows):
            if entry := self.get(key):
                yield key, entry.metadata


class ScansTheLiveTable(ToyBackend):
    fails_with = RuntimeError

    def scan(self, prefix="", *, full=False, deadline=None):
        for key in self.rows:
            yield key, self.get(key).metadata


class FoldsCase(ToyBackend):
    def get(self, key, *, deadline=None):
        return next((super(FoldsCase, self).get(row) for row in self.rows if row.lower() == key.lower()), None)


class CutsLongKeys(ToyBackend):
    def get(self, key, *, deadline=None):
        return next((super(CutsLongKeys, self).get(row) for row in self.rows if row[:900] == key[:900]), None)


class AcceptsOtherKeys(ToyBackend):
    def get(self, key, *, deadline=None):
        return envelope.decode(self.rows[key]) if key in self.rows else None


class TrustsTheBytes(ToyBackend):
    def get(self, key, *, deadline=None):
        try:
            return super().get(key)
        except CorruptEntry:
            data = self.rows[key]
            intact = envelope.decode(self.first[key], key)
            return Entry(data[-32 - len(intact.payload) : -32], intact.metadata)

    def put(self, key, entry, **conditions):
        self.first = {**self.__dict__.get("first", {}), key: envelope.encode(entry)}
        return super().put(key, entry, **conditions)


class RaisesItsOwnErrors(ToyBackend):
    fails_with = ValueError

    def get(self, key, *, deadline=None):
        try:
            return super().get(key)
        except CorruptEntry as error:
            raise ValueError(str(error)) from None


class DeletesLaterVersions(ToyBackend):
    def get(self, key, *, deadline=None):
        try:
            return super().get(key)
        except UnknownFormat:
            del self.rows[key]


class WorksAfterClose(ToyBackend):
    def check_open(self):
        pass


class IgnoresDeadlines(ToyBackend):  # and claims otherwise: see `run_case`
    pass


class TellsEverything(ToyBackend):
    def __repr__(self):
        return f"<TellsEverything {self.rows}>"


class BelongsToOneLoop(ToyBackend):
    fails_with = RuntimeError

    async def aget(self, key, *, deadline=None):
        self.loop = self.__dict__.get("loop") or asyncio.get_running_loop()
        answer = self.loop.create_future()
        self.loop.call_soon(answer.set_result, self.get(key))
        return await answer


class KeepsRepliesOfCancelledReads(ToyBackend):
    async def aget(self, key, *, deadline=None):
        replies = self.__dict__.setdefault("replies", [])
        replies.append(self.get(key))
        await asyncio.sleep(0)
        return replies.pop(0)


BROKEN = [
    (ServesTheExpired, "test_an_expired_entry_is_a_miss", None),
    (BelievesAnyClock, "test_an_entry_of_a_clock_ten_minutes_ahead_is_a_miss"),
    (DropsTheStale, "test_a_stale_entry_is_still_served"),
    (DropsTheStale, "test_an_entry_turns_stale_while_it_is_stored_and_is_still_served"),
    (SkipsExpiredPuts, "test_an_expired_entry_that_is_put_replaces_the_one_before"),
    (AlwaysDeletes, "test_delete_says_whether_something_was_there"),
    (AlwaysDeletes, "test_adelete_says_whether_something_was_there"),
    (RaisesOnAMiss, "test_an_absent_key_is_a_miss"),
    (IgnoresIfAbsent, "test_if_absent_refuses_what_is_there", None),
    (IgnoresIfMatch, "test_if_match_refuses_another_version"),
    (ChecksThenWrites, "test_of_many_that_write_if_absent_one_wins"),
    (KeepsCallersObjects, "test_what_the_caller_changes_after_put_does_not_reach_the_store"),
    (KeepsCallersObjects, "test_what_a_reader_changes_does_not_reach_the_store", False),
    (LosesTags, "test_get_returns_all_the_metadata_that_were_put"),
    (RoundsTimes, "test_head_agrees_with_get"),
    (StampsPromotions, "test_an_entry_promoted_from_another_tier_is_stored_as_the_bytes_that_were_read"),
    (FailsForAbsentKeys, "test_get_many_leaves_out_what_is_absent"),
    (MixesUpBatches, "test_put_many_and_get_many_carry_each_entry_under_its_own_key"),
    (MixesUpBatches, "test_threads_read_whole_values_of_their_key"),
    (CountsWhatWasThere, "test_delete_many_returns_how_many_are_now_absent"),
    (IgnoresThePrefix, "test_scan_yields_what_starts_with_the_prefix"),
    (IgnoresThePrefix, "test_clear_removes_what_starts_with_the_prefix_and_returns_how_many"),
    (ScansOnePage, "test_many_entries_are_scanned_once_each_and_cleared"),
    (ScansUntilDamage, "test_a_damaged_entry_does_not_hide_the_others_from_a_scan", False),
    (ScansTheLiveTable, "test_scan_goes_on_while_what_it_found_is_deleted"),
    (FoldsCase, "test_keys_that_look_alike_are_two_keys", ("key", "KEY")),
    (CutsLongKeys, "test_keys_that_look_alike_are_two_keys", ("k" * 2000, "k" * 2001)),
    (AcceptsOtherKeys, "test_the_entry_of_another_key_is_a_miss"),
    (
        TrustsTheBytes,
        "test_a_damaged_entry_is_a_miss_until_it_is_written_again",
        lambda data: data[:-1] + bytes([data[-1] ^ 1]),
    ),
    (RaisesItsOwnErrors, "test_a_damaged_entry_is_a_miss_until_it_is_written_again", lambda data: data[:-1]),
    (DeletesLaterVersions, "test_an_entry_of_a_later_version_is_a_miss_and_is_left_in_place"),
    (WorksAfterClose, "test_a_closed_backend_says_so", "get"),
    (WorksAfterClose, "test_a_closed_backend_says_so_when_awaited", "aget"),
    (IgnoresDeadlines, "test_a_spent_deadline_is_a_timeout"),
    (TellsEverything, "test_a_repr_tells_no_keys_and_no_secrets"),
    (BelongsToOneLoop, "test_one_event_loop_after_another"),
    (KeepsRepliesOfCancelledReads, "test_a_cancelled_read_does_not_answer_the_next_one"),
]


def run_case(backend_class, case, *arguments, **flags):
    """Run one case of the suite against a new backend, as pytest would."""
    suite = TestToy()
    vars(suite).update(flags)
    backend = backend_class(suite.now)
    try:
        result = getattr(suite, case)(backend, *arguments)
        if asyncio.iscoroutine(result):
            asyncio.run(result)
    finally:
        backend.close()


@pytest.mark.parametrize(
    ("broken", "case", "arguments"),
    [pytest.param(broken, case, arguments, id=broken.__name__) for broken, case, *arguments in BROKEN],
)
def test_the_suite_catches(broken, case, arguments):
    run_case(ToyBackend, case, *arguments)  # the case itself can pass
    with pytest.raises(getattr(broken, "fails_with", (AssertionError, pytest.fail.Exception))):
        run_case(broken, case, *arguments, honours_deadline=True)


def test_the_suite_passes_without_the_auto_mode_of_pytest_asyncio(pytester):
    shutil.copy(__file__, pytester.path / "test_toy.py")
    result = pytester.runpytest_subprocess("test_toy.py", "-k", "TestToy")
    outcomes = result.parseoutcomes()
    assert outcomes.keys() <= {"passed", "skipped", "deselected", "warnings", "warning"}
    assert outcomes["passed"] >= 60


def test_a_failing_case_says_what_it_compared(pytester):
    shutil.copy(__file__, pytester.path / "toy.py")
    pytester.makepyfile(
        """
        import pytest
        from toy import ServesTheExpired, TestToy as Toy

        class TestBroken(Toy):
            @pytest.fixture
            def backend(self):
                return ServesTheExpired()
        """
    )
    result = pytester.runpytest_subprocess("-k", "TestBroken and test_an_expired_entry_is_a_miss")
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(["E *assert <Entry 7 bytes *> is None"])
