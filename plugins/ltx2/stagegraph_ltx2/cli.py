"""`stagegraph ltx2`: commands for LTX-2 checkpoints. Needs no torch until one runs."""

from __future__ import annotations

import sys
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from stagegraph.cli import output

app = typer.Typer(no_args_is_help=True, help="LTX-2 checkpoints.")

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
TextEncoderOption = Annotated[
    str | None, typer.Option("--text-encoder-path", help="Gemma 3, where it is not found beside the checkpoint.")
]
UpsamplerOption = Annotated[
    str | None,
    typer.Option("--upsampler-path", help="A latent upsampler, where it is not found beside the checkpoint."),
]


class Layout(StrEnum):
    """How a checkpoint lies on the disk."""

    DIFFUSERS = "diffusers"
    SINGLE = "single"
    SPLIT = "split"
    FASTVIDEO = "fastvideo"


class Layouts(StrEnum):
    """One of them, or all."""

    DIFFUSERS = "diffusers"
    SINGLE = "single"
    SPLIT = "split"
    FASTVIDEO = "fastvideo"
    ALL = "all"


class Family(StrEnum):
    """A release of LTX-2."""

    LTX_2_0 = "2.0"
    LTX_2_3 = "2.3"


class LoraForm(StrEnum):
    """Whose names the tensors of a LoRA have."""

    OFFICIAL = "official"
    DIFFUSERS = "diffusers"
    PEFT = "peft"
    KOHYA = "kohya"


@app.callback()
def ltx2() -> None:
    """LTX-2 checkpoints."""


@app.command()
def inspect(
    path: Annotated[str, typer.Argument(help="A folder, a file, or a name as model.path takes it.")],
    text_encoder_path: TextEncoderOption = None,
    upsampler_path: UpsamplerOption = None,
    json: JsonOption = False,
) -> None:
    """Tell what a checkpoint is, what it is complete for, and what is missing or broken.

    Reads headers alone and downloads nothing. Exit code 3 if something is broken.
    """
    from stagegraph_ltx2 import cli_report
    from stagegraph_ltx2.checkpoint.report import report_on
    from stagegraph_ltx2.checkpoint.sought import Sought

    sought = Sought(path, text_encoder=text_encoder_path, upsampler=upsampler_path)
    report = report_on(*sought.places(local=True))
    if json:
        output.succeed("ltx2 inspect", cli_report.as_data(report))
    else:
        output.say("\n".join(cli_report.lines(report)))
    if report.faults:
        raise typer.Exit(3)


@app.command()
def convert(
    source: Annotated[str, typer.Argument(metavar="SRC", help="A folder, a file, or a name as model.path takes it.")],
    target: Annotated[Path, typer.Argument(metavar="DST", help="An empty or new folder.")],
    layout: Annotated[Layout, typer.Option(help="How it is to lie there.")],
    text_encoder_path: TextEncoderOption = None,
    upsampler_path: UpsamplerOption = None,
    distilled: Annotated[
        bool | None, typer.Option("--distilled/--base", help="Say whether it is distilled, where the files do not.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Write a checkpoint again in another layout, bit by bit the same; the original stays."""
    from stagegraph_ltx2.checkpoint.convert import convert as write
    from stagegraph_ltx2.checkpoint.convert import left_out
    from stagegraph_ltx2.checkpoint.opening import open_checkpoint
    from stagegraph_ltx2.checkpoint.sought import Sought

    sought = Sought(source, text_encoder=text_encoder_path, upsampler=upsampler_path)
    checkpoint = open_checkpoint(*sought.places())
    path = write(checkpoint, target, layout.value, distilled=distilled, on_progress=_progress())
    absent, size = left_out(checkpoint), _size(path)
    if json:
        output.succeed("ltx2 convert", {"path": str(path), "bytes": size, "layout": layout, "left_out": list(absent)})
        return
    output.say(f"wrote {path}: {size / 1e6:.1f} MB")
    if absent:
        output.tell(f"left out, for {checkpoint.root} has none: {', '.join(absent)}")


@app.command("make-tiny")
def make_tiny(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="An empty or new folder.")],
    layout: Annotated[
        Layouts, typer.Option(help="How it lies there; all makes a folder for each.")
    ] = Layouts.DIFFUSERS,
    family: Annotated[Family, typer.Option(help="The release that it is shaped like.")] = Family.LTX_2_0,
    base: Annotated[bool, typer.Option("--base", help="As a checkpoint that is not distilled.")] = False,
    seed: Annotated[int, typer.Option(help="The same seed writes the same bytes.")] = 0,
    json: JsonOption = False,
) -> None:
    """Write a small random checkpoint with the geometry of the real one."""
    from stagegraph_ltx2.checkpoint.tiny import make_tiny as make
    from stagegraph_ltx2.checkpoint.tiny_recipe import Variant

    variant = Variant(family.value, base)
    places = {one: directory / one for one in Layout} if layout is Layouts.ALL else {Layout(layout.value): directory}
    made = {}
    for one, place in places.items():
        path = make(place, variant, layout=one.value, seed=seed)
        made[one.value] = {"path": str(path), "bytes": _size(path)}
    if json:
        only = made[layout.value] if layout is not Layouts.ALL else {"path": str(directory)}
        output.succeed("ltx2 make-tiny", {**only, "seed": seed, "layouts": made})
        return
    for told in made.values():
        output.say(f"wrote {told['path']}: {told['bytes'] / 1e6:.1f} MB")  # type: ignore[operator]
    first = next(iter(made.values()))["path"]
    output.tell(f'try it: stagegraph run ltx2/text-to-video --set model.path={first} -i prompt="a red circle"')


@app.command("make-tiny-lora")
def make_tiny_lora(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="The file, or of the form peft the folder, to be made.")],
    over: Annotated[str, typer.Option(help="The checkpoint that it is for, as model.path takes it.")] = "tiny",
    form: Annotated[LoraForm, typer.Option(help="Whose names its tensors have.")] = LoraForm.OFFICIAL,
    rank: Annotated[int, typer.Option(min=1, help="Of the change of each layer.")] = 4,
    alpha: Annotated[
        float | None, typer.Option(help="What is written as its alpha: it counts alpha / rank times.")
    ] = None,
    seed: Annotated[int, typer.Option(help="The same seed writes the same numbers.")] = 0,
    json: JsonOption = False,
) -> None:
    """Write a small random LoRA that changes the attention of a checkpoint, to try things with."""
    from stagegraph_ltx2.checkpoint.lora.tiny import write_tiny_lora
    from stagegraph_ltx2.checkpoint.opening import open_checkpoint
    from stagegraph_ltx2.checkpoint.sought import Sought

    checkpoint = open_checkpoint(*Sought(over).places())
    file = write_tiny_lora(path, checkpoint, form.value, rank=rank, alpha=alpha, seed=seed)
    if json:
        output.succeed("ltx2 make-tiny-lora", {"path": str(file), "bytes": file.stat().st_size, "seed": seed})
        return
    output.say(f"wrote {file}: {file.stat().st_size / 1e6:.1f} MB")


def _size(path: Path) -> int:
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def _progress() -> Callable[[str, int, int], None]:
    """Tells every twentieth of the way, and the file; nothing where nobody looks."""
    told = -1

    def tell(file: str, done: int, total: int) -> None:
        nonlocal told
        twentieth = 20 * done // max(total, 1)
        if twentieth > told and sys.stderr.isatty():
            told = twentieth
            output.tell(f"{5 * twentieth:3}%  {file}")

    return tell
