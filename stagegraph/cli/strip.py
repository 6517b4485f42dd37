"""`strip`: take the run record out of a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stagegraph import records
from stagegraph.cli import output as out
from stagegraph.cli.graphs import JsonOption
from stagegraph.cli.workspace import Workspace


def strip(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A video, as media.write_video writes it.")],
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="PATH", help="Write another file, and leave this one as it is."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Remove the run record and all other tags from a file: prompts, paths, versions. The streams stay as they are.

    The file is replaced in one step, after it was searched for what the record said.
    """
    workspace: Workspace = ctx.obj
    done = records.strip(file, output or file, workspace.registry)
    beside = [str(path) for path in (file.with_suffix(".run.json"), file.with_name("run.json")) if path.is_file()]
    if json:
        out.succeed("strip", {"file": str(done.path), "had_record": done.had_record, "records_beside": beside})
        return
    what = (
        "the run record and all other tags are gone"
        if done.had_record
        else "there was no run record; all tags are gone"
    )
    out.say(f"{done.path}: {what}")
    for path in beside:
        out.tell(f"{path} still holds the record")
