"""A checkpoint in one official file, with a Gemma folder beside it. Reads no weights and needs no torch."""

from __future__ import annotations

from pathlib import Path

from stagegraph_ltx2.checkpoint.assembly import Pieces
from stagegraph_ltx2.checkpoint.components import COMPONENTS
from stagegraph_ltx2.checkpoint.contents import ComponentFiles
from stagegraph_ltx2.checkpoint.families import FAMILIES, family_of, family_of_header
from stagegraph_ltx2.checkpoint.gemma import gemma_in_folder, is_gemma
from stagegraph_ltx2.checkpoint.hints import download_gemma, download_upsampler
from stagegraph_ltx2.checkpoint.official_file import SCHEDULER, OfficialFile, json_in, look_for_components
from stagegraph_ltx2.checkpoint.upsampler import NAME as UPSAMPLER
from stagegraph_ltx2.checkpoint.upsampler import open_upsampler, upsamplers_among
from stagegraph_ltx2.errors import failure, listed

#: What the names of official upsamplers contain.
UPSAMPLER_FILES = ("*upscaler*.safetensors", "*upsampler*.safetensors")


def open_single(file: OfficialFile) -> Pieces:
    """The pieces of a single file, and of the folder that it lies in: Gemma, and an upsampler if there is one."""
    path, folder = file.path, file.path.parent
    pieces = Pieces(path, "single", family_of_header(file.header.metadata, file.config))
    pieces.distilled, pieces.evidence = file.distilled
    look_for_components(pieces, [file])
    put_scheduler(pieces, file)
    pieces.look_for(["text_encoder", "tokenizer"], lambda: _gemma_beside(folder))
    pieces.look(UPSAMPLER, lambda: _upsampler_beside(folder))
    if file.holds.rest:
        pieces.remarks.append(f"{len(file.holds.rest)} tensors that nothing here reads: {listed(file.holds.rest)}")
    pieces.fixes |= dict.fromkeys(COMPONENTS, f"use a file that has it; {path.name} has not")
    pieces.fixes |= dict.fromkeys(("text_encoder", "tokenizer"), _gemma_fix(folder))
    pieces.fixes[UPSAMPLER] = upsampler_fix(folder, pieces)
    return pieces


def put_scheduler(pieces: Pieces, file: OfficialFile) -> None:
    """Put the scheduler among the pieces that a converted file keeps in its header."""
    kept = json_in(file.header, SCHEDULER)
    if kept:
        pieces.put(ComponentFiles("scheduler", file.path, kept, file.path))


def upsampler_fix(folder: Path, pieces: Pieces) -> str:
    """What to type where an upsampler is absent."""
    transformer = pieces.found.get("transformer")
    family = family_of("transformer", transformer.config) if transformer else pieces.family
    return f"{download_upsampler(family or FAMILIES[0], folder)}, or set upsampler_path to where it is"


def _gemma_fix(folder: Path) -> str:
    return f"{download_gemma(folder / 'gemma')}, or set text_encoder_path to where it is"


def _gemma_beside(folder: Path) -> tuple[ComponentFiles, ...]:
    """The text encoder and the tokenizer in the one Gemma folder there, or beside each other as in diffusers."""
    candidates = [entry for entry in sorted(folder.iterdir()) if entry.is_dir() and is_gemma(entry)]
    if len(candidates) > 1:
        raise failure(
            "ambiguous_file",
            f"{len(candidates)} text encoders lie beside the checkpoint: {listed([c.name for c in candidates])}",
            where=folder,
            why="which of them is meant cannot be told",
            fix=f"set text_encoder_path to one, e.g. {candidates[0]}",
        )
    return gemma_in_folder(candidates[0]) if candidates else ()


def _upsampler_beside(folder: Path) -> ComponentFiles | None:
    files = sorted({path for pattern in UPSAMPLER_FILES for path in folder.glob(pattern)})
    return one_upsampler(upsamplers_among(files), folder)


def one_upsampler(files: list[Path], folder: Path) -> ComponentFiles | None:
    """The only spatial upsampler among files; those in time are for components of their own.

    Raises:
        ComponentError: there are several, or one is damaged.
    """
    found = [upsampler for path in files if (upsampler := open_upsampler(path)).config["spatial_upsample"]]
    if len(found) > 1:
        raise failure(
            "ambiguous_file",
            f"{len(found)} spatial upsamplers lie there: {listed([one.place.name for one in found])}",
            where=folder,
            why="which of them is meant cannot be told",
            fix=f"set upsampler_path to one, e.g. {found[0].place}",
        )
    return found[0] if found else None
