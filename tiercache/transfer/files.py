"""Both ends of a copy that are a file: entries go into it as they are, and come out of it block by block."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import BinaryIO

import msgspec

from ..backend import Backend
from ..entry import Clock, Entry, Metadata
from ..envelope import PLAIN, envelope_of
from ..errors import BackendError, ConfigurationError, CorruptEntry, InvalidKey
from ..keys import check_key
from ..packed.backend import is_reserved
from ..packed.destinations import Destination, Taken
from ..packed.origins import Item, Origin, Page
from .newest import Fate
from .opaque import is_opaque, known_as
from .origins import Source
from .portable import About, FileWriter, Record
from .reading import FileReader

BLOCK_TOKEN = "block:"  # noqa: S105 - the beginning of a token to go on from


class IntoFile(Destination):
    """A file that is being written.

    Args:
        writer: writes it.
        backend: where the entries come from.
    """

    def __init__(self, writer: FileWriter, backend: Backend) -> None:
        super().__init__(backend)
        self._writer = writer

    def take(self, entries: Mapping[str, Entry], lacks: Mapping[str, int | None], taken: Taken) -> None:
        """Add entries: the bytes that they were read from, sealed ones sealed."""
        assert isinstance(taken, Fate)  # noqa: S101 - for the type checker
        for key, entry in entries.items():
            try:
                sealed = self.add(key, entry)
            except BackendError as error:
                taken.failing({key: error})
                continue
            taken.copied.add(key)
            if sealed:
                taken.carried.add(key)

    def add(self, key: str, entry: Entry) -> bool:
        """Add one entry and return whether it is sealed."""
        data = PLAIN.encode(entry) if entry.wire is None else entry.wire
        sealed, metadata = bool(data[5]), entry.metadata
        about = About(metadata.storage_class)
        if sealed:
            about = About(metadata.storage_class, metadata.created_at, metadata.expires_at, metadata.stale_until)
        self._writer.add(key, data, about, sealed=sealed)
        return sealed


class FromFile(Origin):
    """A file that is being read. Its tokens are blocks, with the beginning of the last one's tag.

    Args:
        stream: gives its bytes.
        prefix: of the keys that are meant.
        on_marks: told of what was invalidated, where the file says so (for sealed entries): the namespace's key, and
            the record. It comes before the entries.
    """

    def __init__(self, stream: BinaryIO, prefix: str, on_marks: Callable[[Record], object]) -> None:
        self.prefix = prefix
        self.reader = FileReader(stream)
        self.records: dict[str, Record] = {}
        self._on_marks = on_marks

    def pages(self, resume: str | None, limit: Callable[[], int]) -> Iterator[Page]:
        """Yield a block at a time."""
        skip, expected = _parsed(resume)
        for block in self.reader.blocks():
            here = f"{BLOCK_TOKEN}{block.number + 1}:{block.tag[:8].hex()}"
            if block.number < skip:
                if block.number == skip - 1 and here != expected:
                    raise ConfigurationError(
                        "this token is of another file; begin without it, what is there is skipped"
                    )
                continue
            self.records = {}
            for record in block.records:
                if is_reserved(record.key):
                    self._on_marks(record)
                elif record.key.startswith(self.prefix):
                    self.records[record.key] = record
            items = [Item(record.key, len(record.envelope), 0.0, None) for record in self.records.values()]
            yield Page(items, here)
        yield Page([], None)

    def remove(self, items: Sequence[Item]) -> int:
        """Nothing is ever removed from a file."""
        return 0


class FileSource(Source):
    """Reads the entries of a file.

    Args:
        origin: the file.
        destination: where they go: entries are opened with its keys.
        clock: returns Unix seconds.
    """

    def __init__(self, origin: FromFile, destination: Backend, clock: Clock) -> None:
        self.origin = origin
        self.backend = destination
        self._file = origin
        self._clock = clock

    def read(self, items: Sequence[Item]) -> tuple[dict[str, Entry], dict[str, BackendError]]:
        """Return the entries that have not expired, and why others cannot be read."""
        entries: dict[str, Entry] = {}
        failed: dict[str, BackendError] = {}
        now = self._clock()
        for item in items:
            try:
                entry = opened(self._file.records[item.key], self.backend)
            except CorruptEntry as error:
                failed[item.key] = error
            else:
                if entry.metadata.is_usable(now):
                    entries[item.key] = entry
        return entries, failed


def opened(record: Record, destination: Backend) -> Entry:
    """Return the entry of a record, as the destination's envelope opens it.

    Raises:
        UnknownKey: it is sealed, and the destination has not the key.
        CorruptEntry: it is no intact entry of its key.
    """
    data, about = record.envelope, record.about
    try:
        check_key(record.key)
    except InvalidKey:
        raise CorruptEntry("the entry's key is none") from None
    plain = len(data) > 5 and not data[5]  # the flags; one that is sealed opens with the destination's keys
    entry = (PLAIN if plain else envelope_of(destination)).decode(data, record.key)
    if is_opaque(entry):
        said = Metadata(
            key=record.key,
            created_at=about.created_at or 0.0,
            expires_at=about.expires_at,
            stale_until=about.stale_until,
        )
        if not said.has_sane_times():
            raise CorruptEntry("the times of a sealed entry are not finite numbers")
        return _in_class(known_as(entry, said), about)
    return _in_class(entry, about)


def _in_class(entry: Entry, about: About) -> Entry:
    if about.storage_class is None:
        return entry
    metadata = msgspec.structs.replace(entry.metadata, storage_class=about.storage_class)
    return Entry(entry.payload, metadata, entry.wire)


def _parsed(resume: str | None) -> tuple[int, str]:
    if not resume:
        return 0, ""
    number, colon, tag = resume.removeprefix(BLOCK_TOKEN).partition(":")
    if not resume.startswith(BLOCK_TOKEN) or not colon or not number.isdecimal() or not tag:
        raise ConfigurationError("this token is of another source; begin without it, what is there is skipped")
    return int(number), resume
