"""`Copying`: a run of `copy`, `export_entries` or `import_entries`: the engine of `migrate`, with filters and fates."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, cast

from ..entry import Entry
from ..errors import BackendError, UnknownKey
from ..packed.destinations import Destination, Taken
from ..packed.moves import Move
from ..packed.origins import Item, Page
from ..pool import DaemonPool
from ..tier import Tier
from .judging import Judge
from .newest import Fate
from .opaque import is_opaque
from .origins import Source
from .patience import PASSING, PAUSES, Patient, check_up, patiently, wait
from .placing import Above
from .report import CopyReport
from .selection import Selection

Progress = Callable[[CopyReport], object]
Failed = Callable[[str, BackendError], object]


class Copying(Move):
    """A run.

    Args:
        source: what is read.
        destination: what is written.
        selection: which entries are meant.
        judge: knows what was invalidated.
        above: the tiers above the destination; None: there are none.
        carries: whether the destination takes sealed entries unopened.
        most, progress, stop: see `Move`.
        on_failure: told of each entry that should have been copied and was not.
        total: entries that the source has, if that is known.
    """

    def __init__(
        self,
        source: Source,
        destination: Destination,
        *,
        selection: Selection,
        judge: Judge,
        above: Above | None = None,
        carries: bool = False,
        most: int | None = None,
        progress: Progress | None = None,
        stop: threading.Event | None = None,
        on_failure: Failed | None = None,
        total: int | None = None,
    ) -> None:
        super().__init__(Patient(source.origin), destination, most, progress, stop, CopyReport(total=total))
        self._source, self._selection, self._judge, self._above = source, selection, judge, above
        self._carries = carries
        self._on_failure = on_failure
        self._pool = DaemonPool(1, "tiercache-copy")
        self._unread: dict[str, BackendError] = {}
        self._carried: set[str] = set()  # namespaces whose marks were carried for sealed entries

    def go(self, resume: str | None) -> CopyReport:
        """Copy until the end, or the budget.

        Raises:
            PartialFailure: source or destination failed; `results` is the report.
        """
        try:
            return cast(CopyReport, self.run(resume or None))
        finally:
            self._pool.close()

    def _taken(self) -> Taken:
        return Fate()

    def _chosen(self, items: list[Item], taken: Taken) -> list[Item]:
        self._unread = {}
        patiently(lambda: self._judge.look([item.key for item in items]))
        return items

    def _reads(self, chunks: Iterator[list[Item]]) -> Iterator[tuple[list[Item], dict[str, Entry], set[str]]]:
        """Read a chunk ahead of the one that is being written."""
        under_way: tuple[list[Item], Any] | None = None
        for chunk in chunks:
            ahead = chunk, self._pool.submit(self._source.read, chunk)
            if under_way is not None:
                yield self._read(*under_way)
            under_way = ahead
        if under_way is not None:
            yield self._read(*under_way)

    def _read(self, chunk: list[Item], reading: Any) -> tuple[list[Item], dict[str, Entry], set[str]]:
        entries, errors = reading.result()
        self._unread |= errors
        return chunk, entries, set(errors)

    def _take(self, entries: dict[str, Entry], lacks: Mapping[str, int | None], taken: Taken) -> None:
        fate = cast(Fate, taken)
        meant = {key: entry for key, entry in entries.items() if self._is_meant(key, entry, fate)}
        if not meant:
            return
        self._carry(meant)
        above, older = self._above, dict[Tier, set[str]]()
        if above is not None:
            everything = meant
            newer, older = patiently(lambda: above.newer(everything))
            fate.newer |= newer
            meant = {key: entry for key, entry in meant.items() if key not in newer}
        self._write(meant, lacks, fate)
        fate.carried |= {key for key in meant if key in fate.copied and is_opaque(meant[key])}
        if above is not None:
            patiently(lambda: above.replaced(meant, older, fate))

    def _is_meant(self, key: str, entry: Entry, fate: Fate) -> bool:
        if not self._selection.takes(entry):
            fate.other.add(key)
        elif self._judge.is_dead(entry):
            fate.dead.add(key)
        elif is_opaque(entry) and not self._carries:
            fate.sealed.add(key)
        else:
            return True
        return False

    def _carry(self, entries: Mapping[str, Entry]) -> None:
        """Before entries that only their readers can judge, what was invalidated in their namespace comes."""
        sealed = {key.partition(":")[0] for key, entry in entries.items() if is_opaque(entry)}
        for name in sealed | ({key.partition(":")[0] for key in entries} & self._judge.sealed):
            if name in self._carried:
                continue
            self._judge.carry(name)
            self._carried.add(name)

    def _write(self, entries: dict[str, Entry], lacks: Mapping[str, int | None], fate: Fate) -> None:
        """Write, and try again what failed; where nothing can be written, the run ends."""
        left, failed = entries, dict[str, BackendError]()
        for pause in (*PAUSES, None):
            failed = {}
            try:
                self._destination.take(left, lacks, fate)
            except PASSING as error:
                failed = {key: error for key in left if not _is_told(key, fate)}
            failed |= {key: fate.failed.pop(key) for key in list(fate.failed) if key in left}
            passing = next((error for error in failed.values() if isinstance(error, PASSING)), None)
            if passing is None or pause is None:
                break
            left = {key: left[key] for key in failed}
            wait(pause, passing)
        if failed:
            check_up(self._destination.backend, next(iter(failed.values())), len(failed), len(entries))
        fate.failed |= failed

    def _counted(self, page: Page, taken: Taken, gone: int, damaged: int, size: int) -> CopyReport:
        fate, before = cast(Fate, taken), cast(CopyReport, self._report)
        report = cast(CopyReport, super()._counted(page, taken, gone, damaged, size))
        sealed = {key for key, error in self._unread.items() if isinstance(error, UnknownKey)} | fate.sealed
        away = {key for key, error in self._unread.items() if isinstance(error, PASSING)}
        errors = Counter(before.errors)
        errors.update(type(error).__name__ for error in [*self._unread.values(), *fate.failed.values()])
        errors.update(
            {"UnknownKey": len(fate.sealed), "EntryTooLarge": len(fate.refused), "CorruptEntry": page.damaged}
        )
        if self._on_failure is not None:
            for key, error in {**self._unread, **fate.failed}.items():
                self._on_failure(key, error)
        return replace(
            report,
            damaged=report.damaged - len(sealed - fate.sealed) - len(away),
            skipped_present=before.skipped_present + len(fate.present),
            skipped_newer=before.skipped_newer + len(fate.newer) + len(fate.buried),
            skipped_dead=before.skipped_dead + len(fate.dead),
            skipped_other=before.skipped_other + len(fate.other),
            replaced=before.replaced + len(fate.replaced),
            carried=before.carried + len(fate.carried),
            sealed=before.sealed + len(sealed),
            failed=before.failed + len(away) + len(fate.failed),
            errors={kind: count for kind, count in errors.items() if count},
        )


def _is_told(key: str, fate: Fate) -> bool:
    return any(key in told for told in (fate.copied, fate.present, fate.newer, fate.buried, fate.refused, fate.failed))
