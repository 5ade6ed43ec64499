"""`export_entries` and `import_entries`: entries of a chain or store in one portable file, and back."""

from __future__ import annotations

import contextlib
import os
import secrets
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, get_args

from ..errors import ConfigurationError
from ..units import Duration
from .copying import Copying, Failed, Progress
from .destinations import newest_into
from .files import FileSource, FromFile, IntoFile, opened
from .judging import Judge
from .newest import Overwrite
from .opaque import carries, let_carry
from .origins import source_from, total_of
from .places import Store, destination_of, source_of
from .placing import Above, Placing
from .portable import AboutFile, FileWriter, Record
from .reading import totals_of
from .report import CopyReport
from .selection import Selection


class _NothingWritten(Exception):
    """No entry is in a file that should have some: it gets no name."""

    def __init__(self, report: CopyReport) -> None:
        super().__init__()
        self.report = report


def export_entries(
    source: Store,
    file: str | os.PathLike[str] | BinaryIO,
    *,
    prefix: str = "",
    namespace: str | None = None,
    tags: Iterable[str] = (),
    newer_than: Duration | None = None,
    carry_sealed: bool = False,
    source_tier: str | None = None,
    empty: bool = True,
    progress: Progress | None = None,
    on_failure: Failed | None = None,
) -> CopyReport:
    """Write entries into one portable file, which `import_entries` reads, as they are: sealed ones stay sealed.

    The file (mode 0600) is written under another name, and gets its own when it is whole; one that is there is
    replaced. Its format is written down in `docs/transfer.md`. What was invalidated or has expired is left out.

    Args:
        source: a `Cache`, a `TierChain`, a `Tier` or a backend; of a chain its slowest tier.
        file: a path, or a stream of bytes that is written to and stays open.
        prefix, namespace, tags, newer_than, carry_sealed, source_tier, progress, on_failure: as for `copy`.
        empty: whether a file without entries is made; False: it is not, and one that is there stays as it is.

    Returns:
        A report, of which `carried` counts the sealed entries.

    Raises:
        PartialFailure: the source failed as a whole, several times; no file is left.
        ConfigurationError: an option has no such value.
        OSError: the file cannot be written.
    """
    from .. import __version__

    selection = Selection.of(prefix=prefix, namespace=namespace, tags=tags, newer_than=newer_than, now=time.time())
    here = source_of(source, source_tier)
    if carry_sealed:
        let_carry(here.all)
    if here.chain is not None:
        here.chain.drain()
    try:
        with _written(file) as stream:
            writer = FileWriter(stream, AboutFile(time.time(), f"tiercache {__version__}"))
            into = IntoFile(writer, here.backend)
            copying = Copying(
                source_from(here.backend, selection.prefix),
                into,
                selection=selection,
                judge=Judge(here, None, keep=into.add),
                carries=True,
                progress=progress,
                on_failure=on_failure,
                total=total_of(here.backend, selection.prefix),
            )
            report = copying.go(None)
            writer.end()
            if not empty:
                _check_some(report)
            return report
    except _NothingWritten as nothing:
        return nothing.report


def _check_some(report: CopyReport) -> None:
    if not report.copied:
        raise _NothingWritten(report)


def import_entries(
    file: str | os.PathLike[str] | BinaryIO,
    destination: Store,
    *,
    prefix: str = "",
    namespace: str | None = None,
    tags: Iterable[str] = (),
    newer_than: Duration | None = None,
    overwrite: Overwrite = "older",
    storage_class: str | None = None,
    carry_sealed: bool = False,
    destination_tier: str | None = None,
    resume: str | None = None,
    progress: Progress | None = None,
    on_failure: Failed | None = None,
    stop: threading.Event | None = None,
) -> CopyReport:
    """Copy the entries of a file that `export_entries` wrote into a chain or store, by the rules of `copy`.

    Each block of the file is checked before anything of it is used. Where the file is damaged or was cut off, the
    blocks before that are imported, and the error says how many these are.

    Args:
        file: a path, or a stream of bytes that is read and stays open.
        destination: a `Cache`, a `TierChain`, a `Tier` or a backend; of a chain its slowest tier.
        prefix, namespace, tags, newer_than, overwrite, storage_class, carry_sealed, destination_tier: as for `copy`.
        resume: the `resume` of an earlier report: the blocks before are only checked.
        progress, on_failure, stop: as for `copy`.

    Raises:
        PartialFailure: the file is damaged, or the destination failed as a whole; `results` is the report.
        ConfigurationError: it is no such file, or an option has no such value.
        OSError: the file cannot be read.
    """
    if overwrite not in get_args(Overwrite):
        raise ConfigurationError(f"overwrite={overwrite!r} must be one of {', '.join(get_args(Overwrite))}")
    selection = Selection.of(prefix=prefix, namespace=namespace, tags=tags, newer_than=newer_than, now=time.time())
    there = destination_of(destination, destination_tier)
    if carry_sealed:
        let_carry(there.all)
    if there.chain is not None:
        there.chain.drain()
    judge = Judge(None, there)

    def on_marks(record: Record) -> None:
        judge.told(opened(record, there.backend))

    with _read(file) as stream:
        total = totals_of(stream)
        origin = FromFile(stream, selection.prefix, on_marks)
        clock = time.time if there.chain is None else there.chain.clock
        copying = Copying(
            FileSource(origin, there.backend, clock),
            newest_into(there.backend, overwrite, Placing(there, storage_class)),
            selection=selection,
            judge=judge,
            above=Above(there),
            carries=carries(there.backend),
            progress=progress,
            stop=stop,
            on_failure=on_failure,
            total=None if total is None or selection.prefix else total.entries,
        )
        return copying.go(resume)


@contextlib.contextmanager
def _written(file: str | os.PathLike[str] | BinaryIO) -> Iterator[BinaryIO]:
    """Lend a stream for a new file, which has its name only when it is whole."""
    if not isinstance(file, (str, os.PathLike)):
        yield file
        file.flush()
        return
    path = Path(file)
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600)
    try:
        with os.fdopen(handle, "wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def _read(file: str | os.PathLike[str] | BinaryIO) -> Iterator[BinaryIO]:
    if isinstance(file, (str, os.PathLike)):
        with open(file, "rb") as stream:
            yield stream
    else:
        yield file
