"""Hooks of MkDocs: pages that live outside docs/, links that leave it, and the list of decisions.

SECURITY.md, CHANGELOG.md and infra/README.md are where people look for them in a repository; the site shows them as
pages. A relative link is resolved where its file stands in the repository: to a page of the site if there is one, to
the repository's address otherwise. A link to a file that does not exist is left as it is, and fails the build.
"""

from __future__ import annotations

import os
import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

ROOT = Path(__file__).parent.parent
REPOSITORY = "https://github.com/tiercache/tiercache"
SHOWN = {"security.md": "SECURITY.md", "changelog.md": "CHANGELOG.md", "infrastructure.md": "infra/README.md"}
FENCE = re.compile(r"^(```.*?^```)", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"(!?\[(?:[^\[\]]|\[[^\]]*\])*\]\()([^)\s]+)(\))")


def on_config(config: Any) -> Any:
    """Put every decision record into the navigation, by its own title."""
    for entry in config["nav"]:
        if entry == {"Decisions": "decisions/"}:
            pages = sorted((ROOT / "docs/decisions").glob("[0-9]*.md"))
            entry["Decisions"] = ["decisions/README.md", *({title(page): f"decisions/{page.name}"} for page in pages)]
    return config


def title(page: Path) -> str:
    """The first heading of a page."""
    return page.read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ")


def on_files(files: Any, config: Any) -> Any:
    """Add the pages that live outside docs/."""
    for name, source in SHOWN.items():
        text = (ROOT / source).read_text(encoding="utf-8")
        files.append(File.generated(config, name, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Resolve the links of a page, outside its blocks of code."""
    where = origin(page.file.src_uri)
    parts = FENCE.split(markdown)
    for number in range(0, len(parts), 2):
        parts[number] = LINK.sub(
            lambda link: link[1] + resolved(link[2], where, page.file.src_uri) + link[3], parts[number]
        )
    return "".join(parts)


def origin(src_uri: str) -> str:
    """Where in the repository the text of a page stands."""
    return SHOWN.get(src_uri) or f"docs/{src_uri}"


def resolved(target: str, where: str, page: str) -> str:
    """What a link in the file `where`, shown as `page`, is on the site."""
    path, hash_, anchor = target.partition("#")
    if not path or re.match(r"[a-z]+:", target):
        return target
    full = posixpath.normpath(posixpath.join(posixpath.dirname(where), path))
    if (ROOT / full).is_dir() and (ROOT / full / "README.md").is_file():
        full += "/README.md"
    if not (ROOT / full).exists():
        return target
    shown = next((name for name, source in SHOWN.items() if source == full), None)
    if shown is None and full.startswith("docs/"):
        shown = full.removeprefix("docs/")
    if shown is None:
        kind = "tree" if (ROOT / full).is_dir() else "blob"
        return f"{REPOSITORY}/{kind}/main/{full}{hash_}{anchor}"
    return os.path.relpath(shown, posixpath.dirname(page) or ".").replace(os.sep, "/") + hash_ + anchor
