"""`tiercache plan`, as people start it."""

from __future__ import annotations

import gzip
import random
from pathlib import Path

import pytest

from .conftest import Run


@pytest.fixture
def log(tmp_path: Path) -> Path:
    dice, path = random.Random(1), tmp_path / "accesses.csv"
    keys = [min(dice.randrange(2_000), dice.randrange(2_000)) for _ in range(8_000)]
    lines = [f"{1.76e9 + 60 * number},key-{key},{500 + key}" for number, key in enumerate(keys)]
    path.write_text("time,key,size\n" + "\n".join(lines) + "\nSECRET,broken,1\n")
    return path


def test_it_shows_hit_ratios_traffic_cost_and_advice(run: Run, log: Path) -> None:
    ran = run("plan", str(log))
    for part in ("8,000 reads", "lru", "s3fifo", "redis", "STANDARD", "packed", "Memory: ", "Store: ", "TTL: "):
        assert part in ran.out
    assert "1 line left out" in ran.err
    assert "line 8002" in ran.err
    assert "SECRET" not in ran.out + ran.err


def test_json_is_one_document_and_files_are_written_beside_it(run: Run, log: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    html, plots = tmp_path / "report.html", tmp_path / "plots"
    ran = run(
        "plan", str(log), "--json", "--html", str(html), "--plots", str(plots), "--policy", "lru", "--policy", "sieve"
    )
    document = ran.json
    assert [curve["policy"] for curve in document["curves"]] == ["lru", "sieve"]
    assert document["log"]["reads"] == 8_000
    assert all(0 <= ratio <= 1 for curve in document["curves"] for ratio in curve["hit_ratio"])
    assert document["classes"][0]["total"] > 0
    assert len(document["advice"]) == 5
    assert html.read_text().startswith("<!doctype html>")
    assert sorted(path.suffix for path in plots.iterdir()) == [".png"] * 4 + [".svg"] * 4


def test_several_logs_columns_and_assumptions_are_taken(run: Run, tmp_path: Path) -> None:
    for name in ("one", "two"):
        text = "".join(f"{1000 + 5 * n} {100} k{n % 50}\n" for n in range(1_000))
        (tmp_path / f"{name}.gz").write_bytes(gzip.compress(text.encode()))
    options = ("--column", "key=2", "--column", "size=1", "--sizes", "4KiB,64KiB", "--memory", "64KiB")
    more = ("--redis", "1MiB", "--store", "gs", "--processes", "3", "--ttl", "1h", "--miss-cost", "0.01", "--json")
    document = run("plan", str(tmp_path / "one.gz"), str(tmp_path / "two.gz"), *options, *more).json
    assert document["log"]["reads"] == 2_000
    assert document["curves"][0]["sizes"] == [4096, 65536]
    assert document["tiers_memory"] == 65536
    assert document["redis_bytes"] == 2**20
    assert document["assumptions"]["processes"] == 3
    assert {one["storage_class"] for one in document["classes"]} >= {"STANDARD", "NEARLINE"}
    assert "$0.01 each" in document["advice"][4]


def test_a_short_log_gets_cautions_everywhere_and_no_absurd_size(run: Run, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    short, html = tmp_path / "short.csv", tmp_path / "report.html"
    short.write_text("time,key,size\n" + "".join(f"{1.76e9 + n / 5},key-{n % 3},10\n" for n in range(5)))
    people = run("plan", short, "--html", html)
    document = run("plan", short, "--json").json

    for text in (people.err, html.read_text(), "\n".join(document["cautions"])):
        assert "The log has only 5 reads" in text
        assert "covers only 0.8s: a month is 2,592,000 times that" in text
    assert people.out.count("(from a short log: 5 reads in 0.8s)") >= 2
    assert "values a month (extrapolated from 0.8s)" in people.out
    assert document["memory"]["bytes"] == 2**20


def test_a_log_that_is_long_enough_gets_no_caution(run: Run, log: Path) -> None:
    ran = run("plan", log, "--json", "--policy", "lru")

    assert ran.json["cautions"] == []
    assert "caution" not in ran.err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["LOG", "missing.csv"], "missing.csv cannot be read: No such file"),
        (["LOG", "--policy", "best"], "must be one of lru"),
        (["LOG", "--column", "time"], "--column time=timestamp"),
        (["LOG", "--column", "time=stamp"], "its columns are time, key, size"),
        (["LOG", "--store", "memory"], "s3, gs or az"),
        (["LOG", "--sizes", "much"], "'256MiB'"),
        (["LOG", "EMPTY"], "empty.csv is empty"),
        (["LOG", "OTHER"], "other.csv: no column for time"),
    ],
)
def test_a_mistake_is_told_with_what_to_do(
    run: Run, log: Path, tmp_path: Path, arguments: list[str], told: str
) -> None:
    empty = tmp_path / "empty.csv"
    empty.touch()
    (other := tmp_path / "other.csv").write_text("a,b\n1,2\n")
    named = {"LOG": str(log), "EMPTY": str(empty), "OTHER": str(other)}
    ran = run("plan", *[named.get(one, one) for one in arguments], expect=2, cwd=tmp_path)
    assert told in ran.err
    assert ran.out == ""


def test_plots_without_matplotlib_are_refused_before_the_work(run: Run, log: Path, tmp_path: Path) -> None:
    (tmp_path / "hidden").mkdir()
    (tmp_path / "hidden" / "matplotlib.py").write_text("raise ImportError('hidden')\n")
    from .conftest import environment

    first = environment().get("PYTHONPATH", "")
    path = f"{tmp_path / 'hidden'}{':' + first if first else ''}"
    ran = run("plan", str(log), "--html", str(tmp_path / "r.html"), expect=2, env={"PYTHONPATH": path})
    assert "tiercache[plan]" in ran.err
