"""The contract of object stores holds a store of dicts to its rules, and catches stores and backends that break one."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections import Counter
from contextlib import closing, contextmanager
from dataclasses import replace
from inspect import signature

import pytest

from tests.conftest import FakeClock
from tests.test_objectstore import DictStore
from tiercache import keys
from tiercache.errors import AccessDenied, BackendUnavailable, ConfigurationError, CorruptEntry, PartialFailure
from tiercache.objectstore import CONTENT_TYPE, ObjectInfo, ObjectStoreBackend
from tiercache.objectstore.listing import Listed
from tiercache.testing import BackendContract, ObjectStoreContract
from tiercache.testing.contract_archive import READS
from tiercache.testing.contract_denied import DENIED
from tiercache.testing.contract_foreign import CONTENTS, NO_KEYS
from tiercache.testing.contract_mirror import TOO_LARGE, UNUSUAL
from tiercache.testing.contract_object_hooks import Answer, RawObject
from tiercache.testing.contract_requests import ONE_REQUEST


class ToyStore(DictStore):
    """A dict with locks on objects."""

    content_type = CONTENT_TYPE
    bulk_delete = 100  # as many as a page of its listings

    def __init__(self):
        super().__init__()
        self.locked = set()

    def remove(self, name, *, deadline):
        self.calls["DELETE"] += 1
        if name in self.locked:
            raise AccessDenied("locked")
        self.objects.pop(name, None)

    def remove_many(self, versions, *, deadline):
        locked = {name: AccessDenied("locked") for name in versions if name in self.locked}
        return locked | super().remove_many({k: v for k, v in versions.items() if k not in locked}, deadline=deadline)


class DenyingStore(ToyStore):
    """Asks a server and takes whatever it says for a denial."""

    tries = 1
    hint = "; without toy:List it denies a missing key, too"

    def __init__(self, url):
        super().__init__()
        self.url = url

    def deny(self, name, **_):
        for _ in range(self.tries):
            self.calls["GET"] += 1
            with pytest.raises(urllib.error.HTTPError) as caught:
                urllib.request.urlopen(self.url, timeout=30)
            caught.value.close()
        raise AccessDenied(f"the store denies toy:Get: allow it{self.hint}")

    read = stat = remove = probe = deny

    def write(self, upload, **_):
        self.deny(upload.name)

    def list_page(self, prefix, token, **_):
        self.deny(prefix)


class TestDictStore(ObjectStoreContract):
    supports_archive = True
    supports_protection = True
    denied_answer = Answer(403, {}, b"no")
    read_permission = "toy:Get"
    list_permission = "toy:List"
    store_class = ToyStore
    denying_class = DenyingStore
    backend_class = ObjectStoreBackend

    @pytest.fixture
    def backend(self):
        backend = self.make()
        yield backend
        backend.close()

    def make(self):
        self.clock = FakeClock()
        return self.backend_class(self.store_class(), prefix="cache", clock=self.clock)

    def now(self):
        return self.clock.now

    def advance(self, seconds):
        self.clock.advance(seconds)

    def raw_object(self, backend, name):
        store = backend.objects
        if name not in store.objects:
            return None
        info, _ = store.objects[name]
        return RawObject(store.content_type, info.user_metadata, info.storage_class)

    def raw_body(self, backend, name):
        return backend.objects.objects[name][1] if name in backend.objects.objects else None

    def raw_put_object(self, backend, name, data):
        backend.objects.objects[name] = ObjectInfo(name, len(data), "raw", "HOT", 0.0, False, {}), data

    def raw_names(self, backend, start):
        return sorted(name for name in backend.objects.objects if name.startswith(start))

    def archive(self, backend, key):
        backend.objects.change(self.name_of(backend, key), archived=True)

    @contextmanager
    def protected(self, backend, key):
        backend.objects.locked.add(self.name_of(backend, key))
        yield
        backend.objects.locked.clear()

    def backend_at(self, url):
        return ObjectStoreBackend(self.denying_class(url))

    @contextmanager
    def sent(self, backend):
        calls, methods = backend.objects.calls, []
        calls.clear()
        yield methods
        methods += Counter({"GET" if name == "LIST" else name: count for name, count in calls.items()}).elements()


# Stores that break one rule each, with the case that must fail.


class AsksTwice(ToyStore):
    def read(self, name, **options):
        self.stat(name, deadline=None)
        return super().read(name, **options)


class UploadsInParts(ToyStore):
    def write(self, upload, **options):
        self.calls["PUT"] += len(upload.body) // (5 * 2**20)
        return super().write(upload, **options)


class DeletesSingly(ToyStore):
    def remove_many(self, versions, *, deadline):
        for name in versions:
            self.remove(name, deadline=deadline)
        return {}


class ListsOnePage(ToyStore):
    def list_page(self, prefix, token, **options):
        return super().list_page(prefix, token, **options)[0], None


class ListsTheBordersTwice(ToyStore):
    def list_page(self, prefix, token, **options):
        return super().list_page(prefix, token and token[:-1], **options)


class ListsForEver(ToyStore):
    fails_with = CorruptEntry

    def list_page(self, prefix, token, **options):
        page, token = super().list_page(prefix, token, **options)
        for info in page:
            if self.objects[info.name][1][:4] != b"TIER":
                raise CorruptEntry("what is this?")
        return page, token


class ListsDecoded(ToyStore):
    def list_page(self, prefix, token, **options):
        page, token = super().list_page(prefix, token, **options)
        return [replace(info, name=info.name.replace("%C3%A9", "é")) for info in page], token


class LosesTheType(ToyStore):
    content_type = "binary/octet-stream"


class CountsFromOne(ToyStore):
    def read_range(self, name, start, length, *, deadline):
        return super().read_range(name, start + 1, length, deadline=deadline)


class KnowsNoEmptyRange(ToyStore):
    def read_range(self, name, start, length, *, deadline):
        return super().read_range(name, start, length, deadline=deadline) or None


class ReadsWhatIsAbsent(ToyStore):
    def read_range(self, name, start, length, *, deadline):
        return super().read_range(name, start, length, deadline=deadline) or b""


class ReadsWhatIsArchived(ToyStore):
    def read_range(self, name, start, length, *, deadline):
        return self.objects[name][1][start : start + length]


class TakesAnyRange(ToyStore):
    def read_range(self, name, start, length, *, deadline):
        return super().read_range(name, max(start, 0), max(length, 1), deadline=deadline)


class WritesOverWhatIsThere(ToyStore):
    def write(self, upload, **options):
        return super().write(upload, **(options | {"if_absent": False}))


class ListsTheNameItself(ToyStore):
    def list_page(self, prefix, token, *, after=None, **options):
        return super().list_page(prefix, token, after=after and after[:-1], **options)


class ListsFromTheFirst(ToyStore):
    def list_page(self, prefix, token, *, after=None, **options):
        page, token = super().list_page(prefix, token, **options)
        return [info for info in page if info.name > (after or "")], token


class LosesTheMirror(ToyStore):
    def write(self, upload, **options):
        return super().write(replace(upload, user_metadata={}), **options)


class KeepsTheOldMirror(ToyStore):
    def write(self, upload, **options):
        old = self.objects[upload.name][0].user_metadata if upload.name in self.objects else {}
        return super().write(replace(upload, user_metadata={**old, **upload.user_metadata}), **options)


class TakesLittleMetadata(ToyStore):
    fails_with = ConfigurationError

    def write(self, upload, **options):
        if sum(map(len, [*upload.user_metadata, *upload.user_metadata.values()])) > 1000:
            raise ConfigurationError("too much metadata")
        return super().write(upload, **options)


class ReportsAnotherClass(ToyStore):
    def stat(self, name, *, deadline):
        info = super().stat(name, deadline=deadline)
        return info and replace(info, storage_class="COLD")


class StripsMetadata(ToyStore):
    def stat(self, name, *, deadline):
        info = super().stat(name, deadline=deadline)
        return info and replace(info, user_metadata={k: v.strip('"[]{}') for k, v in info.user_metadata.items()})

    fails_with = CorruptEntry


class BreaksOffHugeAnswers(ToyStore):
    """The rest of an answer that was not read stands in the way of the next one."""

    fails_with = BackendUnavailable
    broken = False

    def read(self, name, *, limit, deadline):
        if self.broken:
            raise BackendUnavailable("this is no answer")
        self.broken = name in self.objects and self.objects[name][0].size > limit
        return super().read(name, limit=limit, deadline=deadline)


class CutsLongNames(ToyStore):
    def write(self, upload, **options):
        return super().write(replace(upload, name=upload.name[:255]), **options)


class LosesWhiteSpace(ToyStore):
    def write(self, upload, **options):
        return super().write(replace(upload, name=upload.name.removesuffix("%20")), **options)


class KeepsWhatIsForeign(ToyStore):
    fails_with = BackendUnavailable

    def write(self, upload, **options):
        there = self.objects.get(upload.name)
        return not (there and there[0].etag == "raw") and super().write(upload, **options)


class DeletesNothingArchived(ToyStore):
    def remove_many(self, versions, *, deadline):
        readable = {name: etag for name, etag in versions.items() if not self.objects[name][0].archived}
        return super().remove_many(readable, deadline=deadline)


class LooksBeforeItWrites(ToyStore):
    def write(self, upload, **options):
        self.stat(upload.name, deadline=None)
        return super().write(upload, **options)


class LooksBeforeItDeletes(ToyStore):
    def remove(self, name, *, deadline):
        self.stat(name, deadline=None)
        super().remove(name, deadline=deadline)


class LooksTwice(ToyStore):
    def stat(self, name, *, deadline):
        super().stat(name, deadline=deadline)
        return super().stat(name, deadline=deadline)


class RestoresWhatIsArchived(ToyStore):
    def read(self, name, **options):
        found = super().read(name, **options)
        if found is None and name in self.objects:
            self.calls["POST"] += 1
        return found


class HidesWhatIsArchived(ToyStore):
    def stat(self, name, *, deadline):
        info = super().stat(name, deadline=deadline)
        return None if info and info.archived else info

    def write(self, upload, *, if_absent, if_match, deadline):
        there = self.objects.get(upload.name)
        return not (there and there[0].archived) and super().write(
            upload, if_absent=if_absent, if_match=if_match, deadline=deadline
        )


class FailsForWhatIsArchived(ToyStore):
    fails_with = (AccessDenied, PartialFailure)

    def read(self, name, **options):
        if name in self.objects and self.objects[name][0].archived:
            raise AccessDenied("the object is archived")
        return super().read(name, **options)


class ListsWhatIsArchived(ToyStore):
    def list_page(self, prefix, token, **options):
        page, token = super().list_page(prefix, token, **options)
        return [replace(info, archived=False) for info in page], token


class SaysThatAllWon(ToyStore):
    def write(self, upload, **options):
        return super().write(upload, **options) or options["if_absent"]


class WritesMirrorAndBodyApart(ToyStore):
    """The body of one writer and the user metadata of another."""

    def write(self, upload, *, if_absent, if_match, deadline):
        body = self.__dict__.setdefault("bodies", {}).setdefault(upload.name, upload.body)
        return super().write(replace(upload, body=body), if_absent=if_absent, if_match=if_match, deadline=deadline)


class IgnoresVersionsInBulk(ToyStore):
    def remove_many(self, versions, *, deadline):
        return super().remove_many(dict.fromkeys(versions), deadline=deadline)


class RefusesTheGone(ToyStore):
    def remove_many(self, versions, *, deadline):
        gone = {name: BackendUnavailable("gone") for name in versions if name not in self.objects}
        return gone | super().remove_many(versions, deadline=deadline)


class HidesFailedDeletes(ToyStore):
    def remove_many(self, versions, *, deadline):
        super().remove_many(versions, deadline=deadline)
        return {}

    def remove(self, name, *, deadline):
        if name not in self.locked:
            super().remove(name, deadline=deadline)


# Backends on a good store that break one rule each.


class ClearsTheWholeBucket(ObjectStoreBackend):
    def clear(self, prefix="", *, deadline=None):
        removed = super().clear(prefix, deadline=deadline)
        self.objects.remove_many(dict.fromkeys(list(self.objects.objects)), deadline=None)
        return removed


class ListsBesideItsPrefix(ObjectStoreBackend):
    def _pages(self, prefix, deadline, *, archived=False):
        for info in [info for info, _ in self.objects.objects.values()]:
            if info.name.startswith(self.prefix.rstrip("/")) and (archived or not info.archived):
                yield [Listed(keys.key_of(info.name.rpartition("/")[2]), info)]


class IgnoresItsPrefix(ObjectStoreBackend):
    prefix = property(lambda self: "", lambda self, prefix: None)


class CountsEverything(ObjectStoreBackend):
    def clear(self, prefix="", *, deadline=None):
        return len(self.objects.objects) and (super().clear(prefix, deadline=deadline) + 1)


class ScansUntilSomethingForeign(ObjectStoreBackend):
    fails_with = PartialFailure

    def _look_at(self, names, look, deadline):
        return self.side_by_side(names, look, deadline)


class SweepsEverything(ObjectStoreBackend):
    def sweep(self, prefix="", **options):
        report = super().sweep(prefix, **options)
        return replace(report, deleted=report.deleted + self.clear(prefix))


class SweepsAllTheSame(ObjectStoreBackend):
    def sweep(self, prefix="", *, dry_run=False, **options):
        return super().sweep(prefix, **options)


class SweepsWithoutBounds(ObjectStoreBackend):
    def sweep(self, prefix="", *, max_requests=None, **options):
        return super().sweep(prefix, **options)


class LosesAWriteInBulk(ToyStore):
    """Deletes what it was told, and the newest object too, as one that ignores versions may in a race."""

    def remove_many(self, versions, *, deadline):
        with self.lock:
            newest = max(self.objects, key=lambda name: int(self.objects[name][0].etag[1:]), default=None)
            failed = super().remove_many(versions, deadline=deadline)
            if self.objects.get(newest, [None, b""])[1].find(b"new") >= 0:
                del self.objects[newest]
            return failed


class TellsNoLimit(ObjectStoreBackend):
    """Keeps its limit to itself and holds nobody to it."""

    max_entry_bytes = property(lambda self: 2**40, lambda self, limit: None)


class TakesAnySize(ObjectStoreBackend):
    fails_with = (AssertionError, pytest.fail.Exception, CorruptEntry)

    def put(self, key, entry, **options):
        limit, self.max_entry_bytes = self.max_entry_bytes, 2**40
        try:
            return super().put(key, entry, **options)
        finally:
            self.max_entry_bytes = limit


class AsksBeforeRefusing(ObjectStoreBackend):
    def put(self, key, entry, **options):
        self.objects.stat(self.prefix + key, deadline=None)
        return super().put(key, entry, **options)


class TakesLess(ObjectStoreBackend):
    fails_with = CorruptEntry

    def get(self, key, *, deadline=None):
        entry = super().get(key, deadline=deadline)
        if entry is not None and len(entry.payload) > 2**20:
            raise CorruptEntry("too large")
        return entry


class KeepsTheExpired(ObjectStoreBackend):
    def _holds_entry(self, info, key, due):
        return True


class LosesTheRestOfABatch(ObjectStoreBackend):
    def side_by_side(self, names, operation, deadline):
        try:
            return super().side_by_side(names, operation, deadline)
        except PartialFailure as failure:
            raise PartialFailure(failure.failed, {}) from None


class PutsTooMuchIntoTheMirror(ObjectStoreBackend):
    fails_with = ConfigurationError

    def put(self, key, entry, **options):
        self.objects.mirror_bytes, limit = 2**20, self.objects.mirror_bytes
        try:
            if sum(map(len, entry.metadata.tags)) > limit:
                raise ConfigurationError("too much metadata")
            return super().put(key, entry, **options)
        finally:
            self.objects.mirror_bytes = limit


class ForgetsWhatWasCut(ObjectStoreBackend):
    def head(self, key, *, deadline=None):
        info = self.objects.stat(self._name(key), deadline=None)
        return info and self._describe(info, key, None, times_only=True)


class TrustsTheMirrorAlone(ObjectStoreBackend):
    def head(self, key, *, deadline=None):
        info = self.objects.stat(self._name(key), deadline=None)
        return super().head(key, deadline=deadline) if info and info.user_metadata else None


class BreaksInsideEscapes(ObjectStoreBackend):
    """Lists by names, and forgets those that end inside an escape."""

    def scan(self, prefix="", **options):
        return ((k, m) for k, m in super().scan(prefix, **options) if "~/" not in self._name(k) or prefix in ("", k))


class RetriesWhatIsDenied(DenyingStore):
    tries = 3


class SaysNothingOfListing(DenyingStore):
    hint = ""


class CallsDeniedAMiss(DenyingStore):
    def read(self, name, **options):
        return None


BROKEN = [
    (AsksTwice, "test_it_is_one_request", ONE_REQUEST["get, a hit"]),
    (AsksTwice, "test_an_entry_past_its_ttl_is_one_request_too", None),
    (AsksTwice, "test_a_batch_of_reads_or_writes_is_one_request_for_each_key"),
    (UploadsInParts, "test_the_largest_payload_is_written_and_read_with_one_request_each"),
    (DeletesSingly, "test_many_entries_are_scanned_once_each_and_cleared"),
    (DeletesSingly, "test_many_keys_are_deleted_in_bulk"),
    (ListsOnePage, "test_many_entries_are_scanned_once_each_and_cleared"),
    (ListsOnePage, "test_a_full_scan_of_many_entries_knows_each"),
    (ListsTheBordersTwice, "test_a_full_scan_of_many_entries_knows_each"),
    (ListsForEver, "test_foreign_content_is_a_miss_that_a_scan_survives", b"x"),
    (IgnoresItsPrefix, "test_prefixes_that_look_alike_are_two_caches", "a", "ab"),
    (CutsLongNames, "test_keys_of_every_length_stand_side_by_side"),
    (CutsLongNames, "test_each_name_of_an_entry_is_below_the_prefix_and_fits_the_store"),
    (LosesWhiteSpace, "test_awkward_keys_stand_side_by_side"),
    (ListsDecoded, "test_keys_whose_names_are_broken_inside_an_escape_stand_side_by_side", 200),
    (ListsDecoded, "test_a_scan_finds_all_whatever_the_order_of_their_names"),
    (LosesTheType, "test_a_head_beside_the_backend_tells_what_the_entry_is"),
    (LosesTheMirror, "test_the_largest_mirror_is_stored_and_one_character_more_is_cut"),
    (KeepsTheOldMirror, "test_an_overwrite_leaves_nothing_of_the_old_mirror"),
    (TakesLittleMetadata, "test_the_largest_mirror_is_stored_and_one_character_more_is_cut"),
    (ReportsAnotherClass, "test_the_class_that_the_backend_reports_is_the_objects"),
    (StripsMetadata, "test_unusual_metadata_come_back_as_they_were", UNUSUAL["white space"]),
    (BreaksOffHugeAnswers, "test_an_object_larger_than_any_entry_is_a_miss_and_the_next_read_succeeds"),
    (RestoresWhatIsArchived, "test_an_archived_entry_is_a_miss_and_nothing_is_restored", READS["get"]),
    (FailsForWhatIsArchived, "test_an_archived_entry_is_a_miss_and_nothing_is_restored", READS["get_many"]),
    (ListsWhatIsArchived, "test_an_archived_entry_is_a_miss_and_nothing_is_restored", READS["scan"]),
    (ListsWhatIsArchived, "test_an_archived_entry_does_not_hide_the_others"),
    (HidesWhatIsArchived, "test_an_archived_entry_is_replaced_by_a_write", True),
    (HidesWhatIsArchived, "test_a_delete_removes_an_archived_entry_and_says_that_there_was_none"),
    (SaysThatAllWon, "test_of_writers_of_a_new_entry_one_wins_and_its_value_is_whole"),
    (WritesMirrorAndBodyApart, "test_writers_without_a_condition_leave_one_whole_value"),
    (WritesMirrorAndBodyApart, "test_of_writers_over_one_version_one_wins_and_its_value_is_whole"),
    (IgnoresVersionsInBulk, "test_a_bulk_delete_with_versions_leaves_what_was_changed"),
    (RefusesTheGone, "test_a_bulk_delete_with_the_version_of_what_is_gone_is_no_failure"),
    (HidesFailedDeletes, "test_an_entry_that_cannot_be_deleted_is_named_and_the_others_are_gone", "delete_many"),
    (HidesFailedDeletes, "test_an_entry_that_cannot_be_deleted_is_named_and_the_others_are_gone", "clear"),
    (HidesFailedDeletes, "test_a_delete_that_the_store_denies_is_an_error"),
    (ClearsTheWholeBucket, "test_an_object_whose_name_is_no_key_is_neither_listed_nor_cleared", NO_KEYS["a folder"]),
    (ClearsTheWholeBucket, "test_objects_beside_the_prefix_are_neither_listed_nor_cleared"),
    (ClearsTheWholeBucket, "test_a_cache_below_another_prefix_is_another_cache", "below", 1000),
    (ListsBesideItsPrefix, "test_objects_beside_the_prefix_are_neither_listed_nor_cleared"),
    (CountsFromOne, "test_a_range_is_its_bytes_and_one_request", 0, 16),
    (KnowsNoEmptyRange, "test_a_range_of_an_empty_object_is_empty"),
    (ReadsWhatIsAbsent, "test_a_range_of_an_absent_object_is_none_after_one_request"),
    (ReadsWhatIsArchived, "test_a_range_of_an_archived_object_is_none"),
    (TakesAnyRange, "test_what_is_no_range_is_refused_before_any_request", 0, 0),
    (UploadsInParts, "test_a_large_object_is_one_request_each_way_whole_and_in_part"),
    (WritesOverWhatIsThere, "test_an_object_that_is_there_is_not_made_again"),
    (ListsTheNameItself, "test_a_listing_after_a_name_holds_the_greater_names_in_order", 7),
    (ListsFromTheFirst, "test_a_listing_after_a_name_sends_no_request_for_what_is_before"),
    (CountsEverything, "test_a_folder_marker_at_the_prefix_is_neither_listed_nor_cleared"),
    (CountsEverything, "test_foreign_content_under_a_key_is_cleared"),
    (ScansUntilSomethingForeign, "test_foreign_content_is_a_miss_that_a_scan_survives", CONTENTS["json"]),
    (ScansUntilSomethingForeign, "test_foreign_content_under_a_cut_name_is_a_miss_that_a_scan_survives"),
    (TakesAnySize, "test_a_larger_payload_is_refused_before_any_request", {}),
    (TellsNoLimit, "test_in_a_chain_a_larger_entry_skips_the_tier_and_is_counted"),
    (TellsNoLimit, "test_in_a_chain_the_larger_entries_of_a_batch_skip_the_tier"),
    (TellsNoLimit, "test_in_a_chain_a_larger_entry_removes_the_smaller_one_that_it_replaces"),
    (TakesAnySize, "test_an_entry_too_large_is_named_and_the_others_are_stored"),
    (AsksBeforeRefusing, "test_a_larger_payload_is_refused_before_any_request", {"if_absent": True}),
    (TakesLess, "test_the_largest_payload_is_written_and_read_with_one_request_each"),
    (KeepsTheExpired, "test_of_writers_over_an_expired_entry_one_replaces_it"),
    (KeepsTheExpired, "test_of_writers_over_foreign_content_one_replaces_it"),
    (KeepsTheExpired, "test_of_writers_over_an_archived_entry_one_replaces_it"),
    (KeepsTheExpired, "test_foreign_content_counts_as_nothing_for_if_absent"),
    (LosesTheRestOfABatch, "test_a_damaged_entry_is_named_and_the_others_are_returned"),
    (LosesTheRestOfABatch, "test_an_entry_too_large_is_named_and_the_others_are_stored"),
    (
        PutsTooMuchIntoTheMirror,
        "test_metadata_too_large_for_the_store_are_cut_from_the_mirror_and_kept",
        TOO_LARGE["tags"],
    ),
    (ForgetsWhatWasCut, "test_metadata_too_large_for_the_store_are_cut_from_the_mirror_and_kept", TOO_LARGE["tags"]),
    (TrustsTheMirrorAlone, "test_an_entry_that_lost_its_user_metadata_is_whole"),
    (LooksBeforeItWrites, "test_a_put_if_match_is_one_request", True),
    (LooksTwice, "test_a_put_if_absent_that_is_refused_looks_once_at_what_is_there"),
    (LooksTwice, "test_a_full_scan_sends_no_more_than_a_head_for_each_entry"),
    (LooksBeforeItDeletes, "test_a_delete_of_an_entry_is_two_requests"),
    (FailsForWhatIsArchived, "test_an_archived_entry_of_a_cut_name_is_a_miss"),
    (DeletesNothingArchived, "test_bulk_deletes_and_clear_remove_archived_entries"),
    (KeepsWhatIsForeign, "test_foreign_content_is_replaced_by_a_write"),
    (ClearsTheWholeBucket, "test_an_object_named_like_the_prefix_is_neither_listed_nor_cleared"),
    (BreaksInsideEscapes, "test_a_prefix_may_end_inside_an_escape_of_a_name", 200),
    (RetriesWhatIsDenied, "test_what_is_denied_is_asked_once_and_says_so", DENIED["get"]),
    (RetriesWhatIsDenied, "test_a_denied_batch_names_its_keys_and_asks_once_for_each"),
    (SaysNothingOfListing, "test_a_denied_read_names_the_permissions_that_a_miss_needs", "get"),
    (SweepsEverything, "test_a_sweep_deletes_what_is_expired_and_nothing_else"),
    (SweepsAllTheSame, "test_a_dry_run_of_a_sweep_counts_and_deletes_nothing"),
    (SweepsWithoutBounds, "test_a_sweep_keeps_its_budget_and_goes_on_where_it_stopped"),
    (IgnoresVersionsInBulk, "test_what_is_written_between_look_and_delete_stays"),
    (LosesAWriteInBulk, "test_machines_that_sweep_while_others_write_lose_nothing_that_is_fresh"),
    (CallsDeniedAMiss, "test_what_is_denied_is_asked_once_and_says_so", DENIED["get"]),
]


def run_case(kind, case, *arguments):
    """Run one case of the suite as pytest would, against the toy with this store, or this backend, in it."""
    suite = TestDictStore()
    part = {DenyingStore: "denying_class", ToyStore: "store_class"}
    setattr(suite, next((part[base] for base in part if issubclass(kind, base)), "backend_class"), kind)
    if "denied" in signature(getattr(suite, case)).parameters:
        made = contextmanager(type(suite).denied.__wrapped__)(suite)
    else:
        made = closing(suite.make())
    with made as backend:
        getattr(suite, case)(backend, *arguments)


@pytest.mark.parametrize(
    ("broken", "case", "arguments"),
    [pytest.param(broken, case, arguments, id=f"{broken.__name__}-{case}") for broken, case, *arguments in BROKEN],
)
def test_the_suite_catches(broken, case, arguments):
    run_case(ToyStore, case, *arguments)  # the case itself can pass
    with pytest.raises(getattr(broken, "fails_with", (AssertionError, pytest.fail.Exception))):
        run_case(broken, case, *arguments)


def test_each_case_is_seen_to_fail():
    added = {
        name
        for name in dir(ObjectStoreContract)
        if name.startswith("test_") and getattr(ObjectStoreContract, name) is not getattr(BackendContract, name, None)
    }
    assert added == {case for _, case, *_ in BROKEN}
