"""Reading logs: their forms, what is no access, and that nothing of a log is repeated in a message."""

from __future__ import annotations

import gzip
import json
import tracemalloc

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from tiercache.errors import ConfigurationError
from tiercache.planning import Access, Reading, read_log

CSV = "time,key,size\n1760000000.5,a,100\n1760000001,b,200\n"
TWO = [Access(1760000000.5, "a", 100), Access(1760000001.0, "b", 200)]


def read(tmp_path, text, **options):
    path = tmp_path / "log"
    path.write_bytes(text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text)
    return list(read_log(path, **options))


@pytest.mark.parametrize(
    "text",
    [
        CSV,
        CSV.split("\n", 1)[1],
        CSV.replace(",", "\t"),
        CSV.replace(",", ";"),
        "\ufeff" + CSV,
        CSV.replace("\n", "\r\n"),
        "id,size,timestamp\na,100,1760000000.5\nb,200,1760000001\n",
        "1760000000500,a,100\n1760000001000,b,200",
        'Time,"Key",SIZE\n2025-10-09T08:53:20.5Z,"a",100\n2025-10-09T10:53:21+02:00,b,200\n\n',
        '{"time": 1760000000.5, "key": "a", "size": 100}\n{"ts": 1760000001, "id": "b", "bytes": 200, "more": [1]}\n',
    ],
    ids=["header", "positions", "tabs", "semicolons", "bom", "crlf", "order", "ms", "iso", "json"],
)
def test_each_form_gives_the_same_accesses(tmp_path, text):
    assert read(tmp_path, text) == TWO


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.ZstdCompressor().compress], ids=["gzip", "zstd"])
def test_what_is_compressed_is_read_whatever_it_is_called(tmp_path, pack):
    assert read(tmp_path, pack(CSV.encode())) == TWO


def test_files_of_several_frames_are_read_to_their_end(tmp_path):
    pack, (header, *lines) = zstandard.ZstdCompressor().compress, CSV.splitlines(keepends=True)
    assert read(tmp_path, b"".join(pack(part.encode()) for part in (header, *lines))) == TWO
    assert read(tmp_path, b"".join(gzip.compress(part.encode()) for part in (header, *lines))) == TWO


def test_columns_may_be_chosen_by_name_and_by_position(tmp_path):
    text = "stamp,what,n\n1760000000.5,a,100\n1760000001,b,200\n"
    assert read(tmp_path, text, columns={"time": "stamp", "key": "what", "size": "2"}) == TWO
    bare = "x,a,100,1760000000.5\ny,b,200,1760000001\n"
    assert read(tmp_path, bare, columns={"time": "3"}) == TWO


def test_what_else_is_known_is_kept(tmp_path):
    text = "time,key,size,op,ttl,tier,namespace,seconds,cost,key_bytes,stored\n9,k,5,SET,60,redis,docs,1.5,0.02,40,3\n"
    assert read(tmp_path, text) == [Access(9.0, "k", 5, "set", 60.0, "redis", "docs", 1.5, 0.02, 40, 3)]


def test_quotes_hold_a_delimiter(tmp_path):
    assert read(tmp_path, 'time,key,size\n1,"a, b",3\n')[0].key == "a, b"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("SECRET,k,1", "no Unix time"),
        ("-1,k,1", "no Unix time"),
        ("nan,k,1", "no Unix time"),
        ("1,,1", "no key"),
        ("1,k,SECRET", "size is no number"),
        ("1,k,-5", "size is no number"),
        ("1,k,1.5", "size is no number of bytes"),
        ("1,k,inf", "size is no number"),
        ("1,SECRET", "too few columns"),
        ('1,"SECRET,5', "quotes"),
    ],
)
def test_a_line_that_is_no_access_is_counted_with_its_number_and_without_its_content(tmp_path, line, reason):
    reading = Reading()
    found = read(tmp_path, f"{CSV}{line}\n{CSV.splitlines()[1]}\n", reading=reading)
    assert found == [*TWO, TWO[0]]
    assert reading.lines == 4
    assert sum(reading.bad.values()) == 1
    assert reason in str(reading)
    assert "line 4" in str(reading)
    assert "SECRET" not in str(reading)


@pytest.mark.parametrize(
    "line", ["[1]", "{", '{"key": "k", "size": 1}', '{"time": 1, "key": {"SECRET": 1}, "size": 1}', '{"time": true}']
)
def test_a_json_line_that_is_no_access_is_counted(tmp_path, line):
    reading = Reading()
    good = json.dumps({"time": 1, "key": "k", "size": 1})
    assert len(read(tmp_path, f"{good}\n{line}\n{good}\n", reading=reading)) == 2
    assert sum(reading.bad.values()) == 1
    assert "SECRET" not in str(reading)


def test_many_bad_lines_are_told_in_one_sentence_a_reason(tmp_path):
    reading = Reading()
    read(tmp_path, CSV + "x,k,1\n" * 20 + "1,k,x\n", reading=reading)
    assert str(reading).splitlines() == [
        "20 lines left out: its time is no Unix time and no ISO date (line 4, 5, 6, 7, 8, …)",
        "1 line left out: its size is no number (line 24)",
    ]


def test_a_line_without_end_is_left_out_in_little_memory(tmp_path):
    path, reading = tmp_path / "log", Reading()
    with path.open("wb") as file:
        file.write(CSV.encode())
        for _ in range(64):
            file.write(b"x" * 2**20)
        file.write(b"\n" + CSV.splitlines()[1].encode())
    tracemalloc.start()
    try:
        assert len(list(read_log(path, reading=reading))) == 3
        assert tracemalloc.get_traced_memory()[1] < 8 * 2**20
    finally:
        tracemalloc.stop()
    assert reading.bad == {"it is too long": 1}


def test_a_compressed_file_that_is_cut_off_gives_what_it_has(tmp_path):
    reading = Reading()
    whole = gzip.compress(("time,key,size\n" + "".join(f"1,k{n},{n}\n" for n in range(50_000))).encode())
    assert 0 < len(read(tmp_path, whole[: len(whole) // 2], reading=reading)) < 50_000
    assert "in the middle" in str(reading)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("", "empty"),
        ("\n\n", "empty"),
        ("a,b\n1,2\n", "no column for time and key and size"),
        ("time,key,hits\n", "no column for size"),
        ("1,2\n", "--column time="),
    ],
)
def test_a_file_that_is_no_log_is_refused_with_what_to_do(tmp_path, text, match):
    with pytest.raises(ConfigurationError, match=match):
        read(tmp_path, text)


@pytest.mark.parametrize(
    ("columns", "match"),
    [({"when": "0"}, "no field 'when'"), ({"time": "stamp"}, "no column 'stamp'"), ({"size": "9"}, "no column '9'")],
)
def test_a_column_that_is_not_there_is_refused(tmp_path, columns, match):
    with pytest.raises(ConfigurationError, match=match):
        read(tmp_path, CSV, columns=columns)


def test_progress_is_told_in_bytes_up_to_the_whole_file(tmp_path):
    told = []
    read(tmp_path, "time,key,size\n" + "1,k,1\n" * 30_000, progress=lambda done, whole: told.append((done, whole)))
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert told[-1][0] == told[-1][1]


@settings(deadline=None, derandomize=True, max_examples=200)
@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "any"
    path.write_bytes(b"time,key,size\n" + content)
    reading = Reading()
    try:
        found = list(read_log(path, reading=reading))
    except ConfigurationError:
        return
    assert len(found) + sum(reading.bad.values()) == reading.lines
