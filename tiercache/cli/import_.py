"""`tiercache import`: the entries of a portable file into a chain."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from .failures import Mistake
from .moving import (
    NewerThan,
    OneNamespace,
    OverwriteOption,
    Prefix,
    Resume,
    Run,
    ShowKeys,
    State,
    StorageClass,
    Tags,
    check_lasting,
    may_carry,
    unhurry,
)
from .output import AsJson
from .source import Config, Urls, opened


def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A file that `tiercache export` wrote; - is stdin.")],
    urls: Urls = None,
    config: Config = None,
    namespace: OneNamespace = None,
    prefix: Prefix = "",
    tags: Tags = None,
    newer_than: NewerThan = None,
    overwrite: OverwriteOption = "older",
    storage_class: StorageClass = None,
    state: State = None,
    resume: Resume = None,
    show_keys: ShowKeys = False,
    as_json: AsJson = False,
) -> None:
    """Read entries from a file into the slowest tier of a chain, by the rules of `tiercache copy`.

    Each block of the file is checked before it is used. Of a file that was cut off, the blocks before that come in, and
    the exit code is 3. It is 1 when the file has no such entry, or some could not be stored.
    """
    from_stdin = str(file) == "-"
    if not from_stdin and not file.is_file():
        raise Mistake(f"{file} is no file")
    place = "-" if from_stdin else str(file.resolve())
    job = [place, namespace, prefix, tags, newer_than, overwrite, storage_class]
    run = Run("import", job, state=state, resume=resume, show_keys=show_keys)
    with opened(urls, config, makes=True) as cache:
        unhurry(cache.chain)
        check_lasting(cache.chain, "destination")
        from ..transfer import import_entries

        try:
            report = run.perform(
                lambda tell: import_entries(
                    sys.stdin.buffer if from_stdin else file,
                    cache.chain,
                    prefix=prefix,
                    namespace=namespace,
                    tags=tags or (),
                    newer_than=newer_than,
                    overwrite=overwrite,  # type: ignore[arg-type]  # it is checked there
                    storage_class=storage_class,
                    carry_sealed=may_carry(cache.chain),
                    resume=run.resume,
                    progress=tell,
                    on_failure=run.on_failure,
                    stop=run.stop,
                )
            )
        except OSError as error:
            raise Mistake(f"{file} cannot be read: {error.strerror}") from None
    run.end(report, as_json=as_json)
