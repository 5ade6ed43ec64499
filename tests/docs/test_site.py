"""The site builds without a warning, needs nothing from elsewhere, and every link in it leads somewhere."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from scripts import docs_docstrings, docs_site, drawings

ROOT = Path(__file__).parent.parent.parent
PUBLIC = (
    "tiercache",
    "tiercache.config",
    "tiercache.llm",
    "tiercache.objectstore",
    "tiercache.packed",
    "tiercache.testing",
    "tiercache.testing.servers",
    "tiercache.integrations.http",
    "tiercache.integrations.opentelemetry",
    "tiercache.planning",
    "tiercache.transfer",
    "tiercache_azure",
    "tiercache_gcs",
    "tiercache_redis",
    "tiercache_s3",
)
FETCHED = {"script": "src", "img": "src", "iframe": "src", "source": "srcset", "video": "src", "audio": "src"}


class Page(HTMLParser):
    """What a page links to, what it has a browser fetch, and the names of its places."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.fetched: list[str] = []
        self.places: set[str] = set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if place := given.get("id") or given.get("name"):
            self.places.add(place)
        if tag == "link" and "canonical" not in (given.get("rel") or ""):
            self.fetched.append(given.get("href") or "")
        elif tag in FETCHED and given.get(FETCHED[tag]):
            self.fetched.append(given[FETCHED[tag]] or "")
        elif tag == "a" and given.get("href"):
            self.links.append(given["href"] or "")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as `make docs` does."""
    pytest.importorskip("material", reason="mkdocs-material is not installed")
    pytest.importorskip("mkdocstrings", reason="mkdocstrings is not installed")
    where = tmp_path_factory.mktemp("site")
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(where)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=600,
        text=True,
    )
    assert built.returncode == 0, built.stdout
    return where


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Page]:
    return {path: Page(path) for path in site.rglob("*.html")}


def test_every_page_of_the_documentation_is_there(site: Path) -> None:
    sources = [path.relative_to(ROOT / "docs") for path in (ROOT / "docs").rglob("*.md")]
    wanted = {str(path.with_suffix(".html")) for path in sources if path.name != "README.md"}
    assert wanted <= {str(path.relative_to(site)) for path in site.rglob("*.html")}
    assert all((site / name).with_suffix(".html").is_file() for name in docs_site.SHOWN)


def test_nothing_is_fetched_from_elsewhere(site: Path, pages: dict[Path, Page]) -> None:
    for path, page in pages.items():
        for target in page.fetched:
            assert not urlsplit(target).netloc, f"{path.name} fetches {target}"
    for sheet in site.rglob("*.css"):
        imported = re.findall(r"(?:@import|url\()\s*[\"']?(https?:)?//", sheet.read_text(encoding="utf-8"))
        assert not imported, sheet.name


def test_links_within_the_site_lead_to_a_place(site: Path, pages: dict[Path, Page]) -> None:
    for path, page in pages.items():
        if path.name == "404.html":  # shown at any address; its links are those of the site's root
            continue
        for target in [*page.links, *page.fetched]:
            parts = urlsplit(target)
            if parts.scheme or parts.netloc:
                continue
            to = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            to = to / "index.html" if to.is_dir() else to
            assert to.is_file(), f"{path.relative_to(site)} links to {target}"
            if parts.fragment and to in pages:
                assert unquote(parts.fragment) in pages[to].places, f"{path.relative_to(site)} links to {target}"


def test_links_elsewhere_are_written_well(pages: dict[Path, Page]) -> None:
    for path, page in pages.items():
        for target in page.links:
            parts = urlsplit(target)
            if parts.scheme or parts.netloc:
                well = parts.scheme in ("https", "mailto") and ("." in parts.netloc or parts.scheme == "mailto")
                assert well, f"{path.name} links to {target}"


def test_links_into_the_repository_name_files_that_are_there(pages: dict[Path, Page]) -> None:
    for path, page in pages.items():
        for target in page.links:
            if found := re.match(rf"{re.escape(docs_site.REPOSITORY)}/(?:blob|tree)/main/([^#]+)", target):
                assert (ROOT / found[1]).exists(), f"{path.name} links to {target}"


def public_names() -> Iterator[str]:
    for module in PUBLIC:
        try:
            names = importlib.import_module(module).__all__
        except ImportError:
            continue
        yield from (f"{module}.{name}" for name in names if name != "__version__")


def test_every_public_name_is_in_the_reference() -> None:
    text = "\n".join(page.read_text(encoding="utf-8") for page in ROOT.glob("docs/reference/*.md"))
    documented = set(re.findall(r"^::: (\S+)$", text, re.MULTILINE))
    documented |= {name.replace("tiercache.errors.", "tiercache.") for name in documented}
    assert sorted(set(public_names()) - documented) == []


def test_every_decision_is_in_the_list_of_decisions() -> None:
    listed = (ROOT / "docs/decisions/README.md").read_text(encoding="utf-8")
    assert [page.name for page in sorted(ROOT.glob("docs/decisions/0*.md")) if f"({page.name})" not in listed] == []


def test_the_pictures_are_as_they_are_drawn() -> None:
    for path, text in drawings.drawn().items():
        assert path.read_text(encoding="utf-8") == text, f"{path.name}: python scripts/drawings.py"


def test_links_are_resolved_where_the_file_stands() -> None:
    assert docs_site.resolved("docs/llm.md#keys", "SECURITY.md", "security.md") == "llm.md#keys"
    assert docs_site.resolved("../SECURITY.md", "docs/reliability.md", "reliability.md") == "security.md"
    assert docs_site.resolved("../../infra/README.md", "docs/how-to/x.md", "how-to/x.md") == "../infrastructure.md"
    assert docs_site.resolved("../Makefile", "docs/x.md", "x.md") == f"{docs_site.REPOSITORY}/blob/main/Makefile"
    assert docs_site.resolved("../nowhere.md", "docs/x.md", "x.md") == "../nowhere.md"
    assert docs_site.resolved("https://example.com/", "docs/x.md", "x.md") == "https://example.com/"


def test_what_is_said_of_several_parameters_is_said_of_each() -> None:
    said = (
        "Do it.\n\nArgs:\n    one, two: what\n        they are.\n    three: else.\n\nReturns:\n    a, b: not names.\n"
    )
    assert docs_docstrings.split(said) == (
        "Do it.\n\nArgs:\n    one: what\n        they are.\n    two: what\n        they are.\n    three: else.\n\n"
        "Returns:\n    a, b: not names.\n"
    )


def test_a_page_that_no_menu_has_fails_the_build(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs")
    (tmp_path / "docs").mkdir()
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    plain = (
        "site_name: x\nstrict: true\n"
        + text[text.index("validation:") : text.index("\nnav:")]
        + "\nnav:\n  - index.md\n"
    )
    (tmp_path / "mkdocs.yml").write_text(plain, encoding="utf-8")
    (tmp_path / "docs/index.md").write_text("# x\n\n[gone](gone.md) [nowhere](#nowhere)\n", encoding="utf-8")
    (tmp_path / "docs/other.md").write_text("# other\n", encoding="utf-8")
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build"], cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert built.returncode != 0
    for complaint in ("other.md", "'gone.md'", "'#nowhere'"):
        assert complaint in built.stderr, built.stderr
