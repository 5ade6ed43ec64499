"""Writes the tables of the documentation from the code: `tables.py` updates the pages, `tables.py --check` compares.

A page holds a table between `<!-- table: NAME -->` and `<!-- end -->`. To add one, write a function that returns its
Markdown and give it a name with `@table("NAME")`.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "backends"), str(ROOT / "benchmarks"), str(Path(__file__).parent)]

import page as performance  # noqa: E402 - in benchmarks
from command_reference import reference  # noqa: E402 - beside this file

from tiercache.backend import Backend  # noqa: E402 - of this tree, installed or not
from tiercache.config import EXTRAS  # noqa: E402
from tiercache.config.described import Option, Section, sections  # noqa: E402
from tiercache.config.environment import OTHERS  # noqa: E402
from tiercache.integrations import measures, prometheus  # noqa: E402
from tiercache.integrations.opentelemetry import instruments, names  # noqa: E402
from tiercache.logs import EVENTS, FIELDS  # noqa: E402
from tiercache.noted import REASONS  # noqa: E402
from tiercache.objectstore import CONTENT_TYPE, ClassRules, ObjectStore, ObjectStoreBackend  # noqa: E402
from tiercache.objectstore.classes import advice  # noqa: E402
from tiercache.objectstore.mirror import ITEMS  # noqa: E402
from tiercache.pricing import cheapest, discovery_cost, dollars, monthly_cost  # noqa: E402
from tiercache.units import shown_bytes  # noqa: E402
from tiercache_azure import AzureBlobBackend  # noqa: E402
from tiercache_azure.blobs import identifier  # noqa: E402
from tiercache_azure.classes import RULES as AZURE  # noqa: E402
from tiercache_azure.container import AzureContainer  # noqa: E402
from tiercache_gcs import GCSBackend  # noqa: E402
from tiercache_gcs.bucket import GCSBucket  # noqa: E402
from tiercache_gcs.classes import RULES as GCS  # noqa: E402
from tiercache_s3 import S3Backend  # noqa: E402
from tiercache_s3.bucket import S3Bucket  # noqa: E402
from tiercache_s3.classes import RULES as S3  # noqa: E402

Table = Callable[[], str]
TABLES: dict[str, Table] = {}
BLOCK = re.compile(r"(<!-- table: (\S+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)


def table(name: str) -> Callable[[Table], Table]:
    """Give a table the name that pages use."""

    def register(function: Table) -> Table:
        TABLES[name] = function
        return function

    return register


def markdown(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a Markdown table."""
    lines = [list(heads)]
    lines += [["---"] * len(lines[0]), *(list(row) for row in rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


@table("commands")
def commands() -> str:
    """The `tiercache` command."""
    return reference()


# Storage classes.


def class_table(rules: Mapping[str, ClassRules], *, what: str = "class") -> str:
    """The classes that a cache may meet, with what they cost and bill; those without prices below the table."""
    priced = [one for one in rules.values() if one.prices is not None]
    heads = [
        what,
        "$ a GB-month",
        "$ per 1,000 writes",
        "$ per 1,000 reads",
        "$ per GB read",
        "billed at least",
        "days",
    ]
    text = markdown([*heads, "for a cache"], map(class_row, priced))
    others: dict[str, list[str]] = {}
    for one in rules.values():
        if one.prices is None:
            others.setdefault(one.refused, []).append(f"`{one.name}`")
    notes = [f"- {', '.join(names)}: not written; {why}." for why, names in others.items()]
    scopes = {f"- \\* {one.min_bytes_scope}." for one in priced if one.min_bytes_scope}
    sources = dict.fromkeys(source for one in priced for source in one.sources)
    return "\n".join([text, "", *sorted(scopes), *notes, *(f"- Source: {source}." for source in sources)])


def class_row(rules: ClassRules) -> list[str]:
    """One class."""
    prices = rules.prices
    assert prices is not None
    least = shown_bytes(rules.min_billable_bytes) if rules.min_billable_bytes else ""
    least += f"{shown_bytes(rules.overhead_bytes)} more" if rules.overhead_bytes else ""
    least += "\\*" if rules.min_bytes_scope else ""
    upload = f"${prices.upload:g} per GB written" if prices.upload else ""
    verdict = f"no: {rules.refused}" if rules.refused else "; ".join(filter(None, ["yes", rules.note, upload]))

    def price(name: str) -> str:
        amount = f"{getattr(prices, name):.10f}".rstrip("0").rstrip(".")
        return f"about {amount}" if name in rules.unconfirmed else amount

    amounts = [price(name) for name in ("storage", "write", "read", "retrieval")]
    return [f"`{rules.name}`", *amounts, least or "-", str(rules.min_days or "-"), verdict]


@table("s3-classes")
def s3_classes() -> str:
    """Amazon S3."""
    return class_table(S3)


@table("gcs-classes")
def gcs_classes() -> str:
    """Google Cloud Storage."""
    return class_table(GCS)


@table("azure-tiers")
def azure_tiers() -> str:
    """Azure Blob."""
    return class_table(AZURE, what="access tier")


@table("class-costs")
def class_costs() -> str:
    """What a million entries cost in each class, one object each, by how often they are read."""
    usable = [one for rules in (S3, GCS, AZURE) for one in rules.values() if not one.refused]
    reads = (0, 0.1, 1, 10)

    def cost(rules: ClassRules, size: str, each: float) -> str:
        found = monthly_cost(rules, entries=1e6, size=size, reads=each * 1e6, writes=1e6)
        return f"{'about ' if found.is_estimate else ''}{dollars(found.total)}"

    rows = (
        [f"{one.store} `{one.name}`", *(cost(one, size, each) for size in ("8KiB", "256KiB") for each in reads)]
        for one in usable
    )
    heads = [f"{size}, {each:g} reads" for size in ("8 KiB", "256 KiB") for each in reads]
    return markdown(["class", *heads], rows)


@table("packed-costs")
def packed_costs() -> str:
    """What a million entries of 8 KiB cost in each class, one object each and packed into segments."""
    usable = [one for rules in (S3, GCS, AZURE) for one in rules.values() if not one.refused]
    reads = (0, 0.1, 1, 10)

    def cost(rules: ClassRules, segment: str | None, each: float) -> str:
        found = monthly_cost(rules, entries=1e6, size="8KiB", reads=each * 1e6, writes=1e6, segment=segment)
        return f"{'about ' if found.is_estimate else ''}{dollars(found.total)}"

    kinds = {"one object each": None, "packed": "8MiB"}
    rows = (
        [f"{one.store} `{one.name}`", *(cost(one, segment, each) for segment in kinds.values() for each in reads)]
        for one in usable
    )
    return markdown(["class", *(f"{kind}, {each:g} reads" for kind in kinds for each in reads)], rows)


@table("packed-cheapest")
def packed_cheapest() -> str:
    """Which class of S3 is the cheapest for packed entries, by how often they are read."""
    rows: list[list[str]] = []
    for each in (10 ** (step / 500) for step in range(-2000, 501)):
        name = f"`{cheapest(S3.values(), entries=1e6, size='8KiB', reads=each * 1e6, segment='8MiB').name}`"
        if not rows or rows[-1][1] != name:
            rows.append([f"{each:.2g}", name])
    ends = [row[0] for row in rows[1:]]
    ranges = [f"below {ends[0]}", *(f"{low} to {high}" for low, high in pairwise(ends)), f"{ends[-1]} and more"]
    pairs = zip(ranges, rows, strict=True)
    return markdown(["reads of an entry a month", "cheapest"], ([between, row[1]] for between, row in pairs))


@table("looks")
def looks() -> str:
    """What one process pays a month that lists, or writes a segment, each time that so much time has passed."""
    spans = ("10s", "60s", "10m", "1h")
    some = [S3["STANDARD"], S3["STANDARD_IA"], S3["EXPRESS_ONEZONE"], GCS["STANDARD"], AZURE["Hot"]]

    def cost(rules: ClassRules, every: str) -> str:
        found = discovery_cost(rules, refresh=every)
        return f"{'about ' if found.is_estimate else ''}{dollars(found.total)}"

    rows = ([f"{one.store} `{one.name}`", *(cost(one, every) for every in spans)] for one in some)
    return markdown(["a request every", "10 s", "60 s", "10 min", "1 h"], rows)


@table("warning-example")
def warning_example() -> str:
    """What the warning says of small entries in STANDARD_IA."""
    return f"> StorageClassWarning: {advice(S3['STANDARD_IA'], ttl=None, size=8192)}"


# Object stores.

STORES: dict[str, tuple[type[ObjectStoreBackend], type[ObjectStore]]] = {
    "S3": (S3Backend, S3Bucket),
    "Google Cloud Storage": (GCSBackend, GCSBucket),
    "Azure Blob": (AzureBlobBackend, AzureContainer),
}


@table("backends")
def backends() -> str:
    """What each store does."""

    def yes(truth: bool) -> str:
        return "yes" if truth else "no"

    def usable(backend: type[ObjectStoreBackend]) -> str:
        return ", ".join(f"`{one.name}`" for one in backend.rules.values() if not one.refused)

    pairs = list(STORES.values())

    def default(backend: type[ObjectStoreBackend], option: str) -> str:
        return str(inspect.signature(backend).parameters[option].default)

    rows = [
        ["install", *(f"`tiercache[{EXTRAS[backend.scheme]}]`" for backend, _ in pairs)],
        ["URL", *(f"`{backend.scheme}://`" for backend, _ in pairs)],
        ["class", *(f"`{backend.__name__}`" for backend, _ in pairs)],
        ["awaited calls", *("native" if backend.aget is not Backend.aget else "in threads" for backend, _ in pairs)],
        ["storage classes", *(usable(backend) for backend, _ in pairs)],
        ["names that one bulk delete takes", *(f"{store.bulk_delete:,}" for _, store in pairs)],
        ["bytes of metadata beside an object", *(f"{store.mirror_bytes:,}" for _, store in pairs)],
        ["a listing tells the metadata", *(yes(store.lists_metadata) for _, store in pairs)],
        [
            "a HEAD more for each object of a full scan or a sweep",
            *(yes(not store.lists_metadata) for _, store in pairs),
        ],
        ["a listing begins after a name", *(yes(store.lists_from) for _, store in pairs)],
        ["deadline of an operation", *(f"{default(backend, 'timeout')} s" for backend, _ in pairs)],
        ["largest payload", *(default(backend, "max_entry_bytes") for backend, _ in pairs)],
        ["requests of a batch side by side", *(default(backend, "max_concurrency") for backend, _ in pairs)],
    ]
    return markdown(["", *STORES], rows)


# What the stores keep of an object by themselves.
NATIVE = [
    ("`Content-Type`", "`contentType`", "`Content-Type`", f"`{CONTENT_TYPE}`"),
    ("`x-amz-storage-class`", "`storageClass`", "`x-ms-access-tier`", "the storage class or access tier"),
    ("`ETag`", "`generation`", "`ETag`", "the version, for conditional writes and deletes"),
    ("-", "`customTime`", "-", "the end of the entry's life, stale time included; a lifecycle rule deletes by it"),
]


@table("metadata")
def metadata() -> str:
    """What the mirror holds, by the names that each cloud shows."""
    rows = [(f"`x-amz-meta-{item}`", f"`{item}`", f"`{identifier(item)}`", meaning) for item, meaning in ITEMS.items()]
    return markdown(["S3", "GCS `metadata`", "Azure metadata", "what it says"], [*NATIVE, *rows])


# Performance: from the figures of `make bench-docs`, not from the code.

TABLES.update(performance.TABLES)


# Options.


def option_table(section: Section) -> str:
    """The options of one class, in TOML, URLs and the environment."""
    columns: dict[str, Callable[[Option], str]] = {
        "option": lambda option: f"`{option.name}`",
        "takes": lambda option: option.type,
        "default": lambda option: f"`{option.default}`" if option.default else "to be given",
        "in a URL": lambda option: f"`{option.url}`" if option.url.startswith("?") else option.url or "-",
        "variable": lambda option: f"`{option.variable}`" if option.variable else "-",
        "meaning": lambda option: option.meaning.replace("|", "\\|"),
    }
    if not any(option.url for option in section.options):
        del columns["in a URL"]
    if not any(option.variable for option in section.options):
        del columns["variable"]
    return markdown(columns, ([cell(option) for cell in columns.values()] for option in section.options))


for each in sections():
    table(f"options-{each.name}")(partial(option_table, each))


@table("other-variables")
def other_variables() -> str:
    """Variables that are no options of `Cache` and `TierChain`."""
    return markdown(["variable", "read by"], ([f"`{name}`", what] for name, what in OTHERS.items()))


# What is shown of a running cache.


def listed(words: Iterable[str]) -> str:
    """Return names as code."""
    return ", ".join(f"`{word}`" for word in words)


@table("spans")
def spans() -> str:
    """The spans of OpenTelemetry."""
    return markdown(["span", "what it stands for"], ((f"`{name}`", text) for name, text in names.SPANS.items()))


@table("reasons")
def reasons() -> str:
    """Why a tier did not answer."""
    rows = ((f"`{reason}`", text) for reason, text in REASONS.items())
    return markdown(["`tiercache.reason`", "why the tier did not answer"], rows)


@table("attributes")
def attributes() -> str:
    """The attributes of spans, and the events."""
    rows = [(f"`{name}`", "attribute", text) for name, text in names.ATTRIBUTES.items()]
    rows += [(f"`{name}`", "event", text) for name, text in names.EVENTS.items()]
    return markdown(["name", "", "what it says"], rows)


@table("metrics")
def metrics() -> str:
    """The metrics from the statistics, by both their names."""
    rows = (
        (
            f"`{one.name}`",
            f"`{prometheus.name_of(one)}{'_total' * (one.kind == 'counter')}`",
            one.kind,
            f"`{one.unit}`",
            ", ".join(f"`{measures.ATTRIBUTES[label]}` (`{label}`)" for label in one.labels),
            one.text,
        )
        for one in measures.MEASURES
    )
    return markdown(["OpenTelemetry", "Prometheus", "kind", "unit", "attributes (labels)", "what it tells"], rows)


@table("histograms")
def histograms() -> str:
    """The histograms of OpenTelemetry."""
    rows = ((f"`{name}`", listed(labels), text) for name, (labels, text) in instruments.HISTOGRAMS.items())
    return markdown(["histogram (`s`)", "attributes", "what it times"], rows)


@table("log-events")
def log_events() -> str:
    """What is logged."""
    rows = ((f"`{event}`", level, listed(fields), text) for event, (level, fields, text) in EVENTS.items())
    return markdown(["`event`", "level", "fields", "what happened"], rows)


@table("log-fields")
def log_fields() -> str:
    """The fields of log records."""
    return markdown(["field", "what it says"], ((f"`{name}`", text) for name, text in FIELDS.items()))


# The pages.


def written(page: str) -> str:
    """Return a page with its tables as the code says."""
    return BLOCK.sub(lambda block: f"{block[1]}{TABLES[block[2]]()}\n{block[4]}", page)


def pages() -> Iterator[Path]:
    """Yield the pages that may hold tables."""
    yield from (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))


def faults() -> Iterator[str]:
    """Yield what is wrong with the tables of the pages."""
    shown = set()
    for path in pages():
        page, name = path.read_text(encoding="utf-8"), path.relative_to(ROOT)
        wanted = [block[2] for block in BLOCK.finditer(page)]
        shown.update(wanted)
        if page.count("<!-- table:") != len(wanted):
            yield f"{name}: a table has no `<!-- end -->`, or more than a name in its first line"
        elif unknown := set(wanted) - set(TABLES):
            yield f"{name}: no function makes {', '.join(sorted(unknown))}"
        elif written(page) != page:
            yield f"{name}: a table differs from the code; run scripts/tables.py"
    yield from (f"no page shows the table {name}" for name in TABLES if name not in shown)


if __name__ == "__main__":
    if "--check" not in sys.argv[1:]:
        for path in pages():
            path.write_text(written(path.read_text(encoding="utf-8")), encoding="utf-8")
    found = list(faults())
    print("\n".join(found) or "the tables say what the code does")
    sys.exit(bool(found))
