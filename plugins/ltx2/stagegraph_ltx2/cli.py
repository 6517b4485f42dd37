"""`stagegraph ltx2`: commands for LTX-2 checkpoints. Needs no torch until one runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stagegraph.cli import output

app = typer.Typer(no_args_is_help=True, help="LTX-2 checkpoints.")


@app.callback()
def ltx2() -> None:
    """LTX-2 checkpoints."""


@app.command("make-tiny")
def make_tiny(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="An empty or new folder.")],
    seed: Annotated[int, typer.Option(help="The same seed writes the same bytes.")] = 0,
    json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """Write a small random checkpoint in the diffusers folder layout, with the geometry of the real one."""
    from stagegraph_ltx2.checkpoint.tiny import make_tiny as make

    path = make(directory, seed=seed)
    size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    if json:
        output.succeed("ltx2 make-tiny", {"path": str(path), "bytes": size, "seed": seed})
    else:
        output.say(f"wrote {path}: {size / 1e6:.1f} MB")
        output.tell(f'try it: stagegraph run ltx2/text-to-video --set model.path={path} -i prompt="a red circle"')
