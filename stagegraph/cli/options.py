"""The options that commands which run something share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

InputOption = Annotated[
    list[str] | None,
    typer.Option(
        "-i",
        "--input",
        metavar="NAME=VALUE",
        help="Give an input of the graph; may be repeated. Sweep over several values with seed=1..4 or "
        "prompt=@prompts.txt (one a line).",
    ),
]
TargetOption = Annotated[
    list[str] | None,
    typer.Option("--target", metavar="NAME", help="Make this output or node only; may be repeated."),
]
FromOption = Annotated[
    list[str] | None,
    typer.Option(
        "--from",
        metavar="NODE",
        help="Run this node and all that follow it again, also if their outputs are kept; may be repeated.",
    ),
]
GivenOption = Annotated[
    list[str] | None,
    typer.Option(
        "--given",
        metavar="NODE.PORT=VALUE",
        help="Give a port this value in place of what makes it; may be repeated.",
    ),
]
OutputOption = Annotated[
    Path | None,
    typer.Option("-o", "--output", metavar="PATH", help="Where the file goes, if one node writes one."),
]
NoMetadataOption = Annotated[
    bool, typer.Option("--no-metadata", help="Write files without the run record; the run.json beside them stays.")
]
RunsOption = Annotated[
    Path, typer.Option("--runs-dir", metavar="DIR", help="Where each run gets a folder, if a stage writes files.")
]
ParallelOption = Annotated[
    bool, typer.Option("--parallel", help="Run what is independent at the same time, in threads.")
]
CacheOption = Annotated[
    bool | None,
    typer.Option(
        "--cache/--no-cache",
        help="Keep the outputs of stages, use them again when nothing that they depend on has changed, and record the "
        "run for `runs`, `show`, `explain`, `diff` and `resume`. The default, as far as the store can be used; with "
        "--cache it is an error if it cannot.",
        show_default=False,
    ),
]
QuietOption = Annotated[bool, typer.Option("-q", "--quiet", help="Show no progress.")]
