"""Portable files of earlier releases: today's reader finds what is in them, and today's writer makes the same bytes.

`python -m tests.properties.test_golden_portable` writes tests/golden/portable/ anew, for a new version of the format.
"""

from __future__ import annotations

import io
import sys

import pytest

from tests.packed.objects import entry
from tests.packed.segments import SEALED
from tests.properties import test_golden
from tiercache import envelope
from tiercache.entry import Entry
from tiercache.sealing import sealed as sealing
from tiercache.transfer import portable
from tiercache.transfer.portable import About, AboutFile, FileWriter, Totals
from tiercache.transfer.reading import FileReader

FILES = test_golden.FILES / "portable"
NONCE = bytes(range(12))
MADE = 1_700_000_000.0
VALUES = {"golden:a": b"text", "golden:ключ/…~😀": b"", "golden:long": bytes(range(256)) * 3}


@pytest.fixture(autouse=True)
def _nonce(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealing, "new_nonce", lambda: NONCE)


def entries() -> list[Entry]:
    return [entry(key, value, now=MADE, ttl=60.0, tags=("t",)) for key, value in VALUES.items()]


def today(name: str) -> bytes:
    file = io.BytesIO()
    writer = FileWriter(file, AboutFile(MADE, "tiercache 0"))
    for number, one in enumerate(entries()):
        key, until = one.metadata.key, MADE + 60
        if name == "sealed":
            writer.add(key, SEALED.encode(one), About(None, MADE, until, None), sealed=True)
        else:
            writer.add(key, envelope.encode(one), About("STANDARD_IA") if number else About())
        if name == "blocks":
            writer._block()
    writer.end()
    return file.getvalue()


@pytest.mark.parametrize("name", ["plain", "blocks", "sealed"])
def test_a_file_of_an_earlier_release_is_read(name: str) -> None:
    reader = FileReader(io.BytesIO((FILES / f"{name}.v{portable.VERSION}.tier").read_bytes()))
    blocks = list(reader.blocks())
    records = [record for block in blocks for record in block.records]
    opener = SEALED if name == "sealed" else envelope.PLAIN
    assert (reader.about, len(blocks)) == (AboutFile(MADE, "tiercache 0"), 3 if name == "blocks" else 1)
    assert {record.key: opener.decode(record.envelope, record.key).payload for record in records} == VALUES
    assert [record.about for record in records] == [
        About(None, MADE, MADE + 60) if name == "sealed" else About("STANDARD_IA") if number else About()
        for number in range(3)
    ]
    assert reader.totals == Totals(
        len(blocks), 3, 3 if name == "sealed" else 0, sum(len(record.envelope) for record in records)
    )


@pytest.mark.parametrize("name", ["plain", "blocks", "sealed"])
def test_the_same_entries_make_the_same_file(name: str) -> None:
    assert today(name) == (FILES / f"{name}.v{portable.VERSION}.tier").read_bytes()


if __name__ == "__main__":
    sealing.new_nonce = lambda: NONCE
    FILES.mkdir(parents=True, exist_ok=True)
    for each in ("plain", "blocks", "sealed"):
        path = FILES / f"{each}.v{portable.VERSION}.tier"
        if path.exists():
            sys.exit(f"{path.name} is there: a format that was released does not change")
        path.write_bytes(today(each))
