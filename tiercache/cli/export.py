"""`tiercache export`: entries into one portable file."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from .failures import Mistake, No
from .moving import NOTHING, NewerThan, OneNamespace, Prefix, Run, ShowKeys, Tags, check_lasting, may_carry, unhurry
from .output import AsJson, counted, say
from .source import Config, Urls, opened
from .streams import writing


def export(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The file to write; - is stdout.")],
    urls: Urls = None,
    config: Config = None,
    namespace: OneNamespace = None,
    prefix: Prefix = "",
    tags: Tags = None,
    newer_than: NewerThan = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    show_keys: ShowKeys = False,
    as_json: AsJson = False,
) -> None:
    """Write entries into one file, which `tiercache import` reads on any machine into any tier.

    The slowest tier is read. The file gets its name when it is whole. Entries are in it as they are stored: sealed ones
    stay sealed, and only who has the keys reads them; others are readable by who has the file.

    Exits with 1 when there is no such entry: no file is left then, and one that is there stays.
    """
    to_stdout = str(file) == "-"
    if to_stdout and as_json:
        raise Mistake("with - the entries go to stdout, and --json has no place there")
    if to_stdout and sys.stdout.isatty():
        raise Mistake("a terminal cannot take it: export - > FILE, or export FILE")
    if not to_stdout and file.exists() and not force:
        raise Mistake(f"{file} is there: name another file, or add --force to replace it")
    run = Run("export", [], state=None, resume=None, show_keys=show_keys)
    with opened(urls, config) as cache:
        unhurry(cache.chain)
        check_lasting(cache.chain, "source")
        from ..transfer import export_entries

        try:
            report = run.perform(
                lambda tell: export_entries(
                    cache.chain,
                    sys.stdout.buffer if to_stdout else file,
                    prefix=prefix,
                    namespace=namespace,
                    tags=tags or (),
                    newer_than=newer_than,
                    carry_sealed=may_carry(cache.chain),
                    empty=False,
                    progress=tell,
                    on_failure=run.on_failure,
                )
            )
        except OSError as error:
            if to_stdout:
                with writing(sys.stdout):
                    raise
            raise Mistake(f"{file} cannot be written: {error.strerror}") from None
    if report.carried:
        stays = "is sealed and stays so" if report.carried == 1 else "are sealed and stay so"
        say(f"{counted(report.carried, 'entry')} {stays}: to be read with the keys that sealed it")
    if to_stdout:
        say(str(report))
        if report.left:
            run.end(report, as_json=False)
        if not report.copied:
            raise No(NOTHING)
        return
    if not report.copied:
        run.end(report, as_json=as_json, more={"file": None, "file_bytes": None})
        raise No(f"{NOTHING}; no file was written")
    run.end(report, as_json=as_json, more={"file": file, "file_bytes": file.stat().st_size})
