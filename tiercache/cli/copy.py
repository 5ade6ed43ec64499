"""`tiercache copy`: entries of one chain into another, in bulk, to be gone on with."""

from __future__ import annotations

from contextlib import closing
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
    places,
    unhurry,
)
from .output import AsJson
from .source import chain_of, check_there


def copy(
    froms: Annotated[
        list[str] | None,
        typer.Option("--from", metavar="URL|FILE.toml", help="Where from; may be repeated: the tiers of a chain."),
    ] = None,
    tos: Annotated[
        list[str] | None,
        typer.Option("--to", metavar="URL|FILE.toml", help="Where to; may be repeated: the tiers of a chain."),
    ] = None,
    namespace: OneNamespace = None,
    prefix: Prefix = "",
    tags: Tags = None,
    newer_than: NewerThan = None,
    overwrite: OverwriteOption = "older",
    storage_class: StorageClass = None,
    from_tier: Annotated[str | None, typer.Option("--from-tier", help="Read this tier, not the slowest.")] = None,
    to_tier: Annotated[str | None, typer.Option("--to-tier", help="Write this tier, not the slowest.")] = None,
    state: State = None,
    resume: Resume = None,
    show_keys: ShowKeys = False,
    as_json: AsJson = False,
) -> None:
    """Copy entries from one chain into another, as they are, while programs use both.

    Of each chain the slowest tier is read or written. What the destination has newer stays; what was invalidated or has
    expired is left out; sealed entries are copied without their key. Ctrl-C ends it after what is under way; with
    --state FILE, or the --resume TOKEN that it prints, it goes on from there.

    Exits with 1 when the source has no such entry, or some could not be copied.
    """
    if not froms or not tos:
        raise Mistake("copy needs --from URL and --to URL, such as --from redis://old:6379/0 --to s3://bucket/prefix/")
    job = [
        places(froms),
        places(tos),
        namespace,
        prefix,
        tags,
        newer_than,
        overwrite,
        storage_class,
        from_tier,
        to_tier,
    ]
    run = Run("copy", job, state=state, resume=resume, show_keys=show_keys)
    with closing(chain_of(froms)) as source, closing(chain_of(tos)) as destination:
        check_there(source.tiers, "--from")
        unhurry(source, destination)
        check_lasting(source, "source")
        check_lasting(destination, "destination")
        from ..transfer import copy as copy_entries

        report = run.perform(
            lambda tell: copy_entries(
                source,
                destination,
                prefix=prefix,
                namespace=namespace,
                tags=tags or (),
                newer_than=newer_than,
                overwrite=overwrite,  # type: ignore[arg-type]  # it is checked there
                storage_class=storage_class,
                carry_sealed=may_carry(source, destination),
                source_tier=from_tier,
                destination_tier=to_tier,
                resume=run.resume,
                progress=tell,
                on_failure=run.on_failure,
                stop=run.stop,
            )
        )
    run.end(report, as_json=as_json)
