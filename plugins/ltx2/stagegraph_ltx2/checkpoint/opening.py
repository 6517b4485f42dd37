"""Open a checkpoint in whichever layout it lies. Reads headers and small files, no weights; needs no torch."""

from __future__ import annotations

from pathlib import Path

import attrs

from stagegraph.errors import ComponentError
from stagegraph_ltx2.checkpoint.assembly import Pieces, assemble
from stagegraph_ltx2.checkpoint.components import COMPONENTS
from stagegraph_ltx2.checkpoint.containment import root_of
from stagegraph_ltx2.checkpoint.contents import Checkpoint, ComponentFiles
from stagegraph_ltx2.checkpoint.families import SUPPORTED, unsupported
from stagegraph_ltx2.checkpoint.fastvideo import is_fastvideo, open_fastvideo
from stagegraph_ltx2.checkpoint.folder import INDEX, component_in, open_folder, read_index
from stagegraph_ltx2.checkpoint.gemma import gemma_in_file, gemma_in_folder, is_gemma
from stagegraph_ltx2.checkpoint.header import read_header
from stagegraph_ltx2.checkpoint.hints import contents
from stagegraph_ltx2.checkpoint.official_file import OfficialFile, component_from
from stagegraph_ltx2.checkpoint.single import open_single
from stagegraph_ltx2.checkpoint.split import is_pack, open_split, pack_of
from stagegraph_ltx2.checkpoint.upsampler import open_upsampler
from stagegraph_ltx2.errors import failure, listed, unreadable

FORMS = (
    "a checkpoint is a folder with model_index.json, one official file, or a pack with diffusion_models/ and other "
    f"folders; {SUPPORTED}"
)


@attrs.frozen
class Elsewhere:
    """Where components are that the checkpoint has not, or that take the place of its own."""

    text_encoder: Path | None = None
    video_vae: Path | None = None
    audio_vae: Path | None = None
    upsampler: Path | None = None


def open_checkpoint(path: Path, elsewhere: Elsewhere = Elsewhere()) -> Checkpoint:
    """Find out what a folder or a file is, and what of an LTX-2 model it has.

    Raises:
        ComponentError: there is nothing, or no checkpoint that this release opens. What is wrong with single components
            is told when they are asked for.
    """
    try:
        pieces = _open(path, elsewhere)
    except OSError as error:
        raise unreadable(path, error) from None
    _put_elsewhere(pieces, elsewhere)
    return assemble(pieces)


def _open(path: Path, elsewhere: Elsewhere) -> Pieces:
    if path.is_file():
        return _open_file(path, elsewhere)
    if not path.is_dir():
        raise failure("no_such_checkpoint", f"no such folder: {path}", where=path, fix=f"ls {path.parent}")
    if (path / INDEX).exists():
        return open_fastvideo(path) if is_fastvideo(path, read_index(path)) else open_folder(path)
    if is_pack(path):
        return open_split(path, None, elsewhere.text_encoder)
    return _open_file(_only_file(path), elsewhere)


def _open_file(path: Path, elsewhere: Elsewhere) -> Pieces:
    file = OfficialFile.read(path)
    held = file.holds.components
    if file.holds.lora:
        raise unsupported(path, f"{path.name} is a LoRA", why="a LoRA changes a checkpoint, and is none")
    if "transformer" not in held:
        named = ", ".join(COMPONENTS[name].title for name in held) or "tensors of another model"
        raise unsupported(
            path, f"{path.name} is no checkpoint", why=f"it holds {named}; {FORMS}", fix=_params(path, file)
        )
    if not any(".audio_attn1." in name for name in file.header.tensors):
        raise unsupported(path, f"{path.name} is a model of video alone, as LTX-Video is", why=SUPPORTED)
    return open_single(file) if "vae" in held else open_split(pack_of(path), path, elsewhere.text_encoder)


def _params(path: Path, file: OfficialFile) -> str:
    """How a file that is one component is used."""
    params = {
        "text_encoder": "text_encoder_path",
        "vae": "video_vae_path",
        "audio_vae": "audio_vae_path",
        "latent_upsampler": "upsampler_path",
    }
    param = next((params[name] for name in file.holds.components if name in params), None)
    return f"set path to a checkpoint, and {param} to {path}" if param else ""


def _only_file(folder: Path) -> Path:
    """The one file in a folder that holds a transformer."""
    found: list[Path] = []
    errors: list[ComponentError] = []
    for path in sorted(folder.glob("*.safetensors")):
        try:
            if "transformer" in OfficialFile.read(path).holds.components:
                found.append(path)
        except ComponentError as error:
            errors.append(error)
    if len(found) > 1:
        raise failure(
            "ambiguous_file",
            f"{folder} has {len(found)} checkpoints: {listed([path.name for path in found])}",
            where=folder,
            why="which of them is meant cannot be told",
            fix=f"give the path of one, e.g. {found[0]}",
        )
    if not found:
        raise errors[0] if errors else _no_checkpoint(folder)
    return found[0]


def _no_checkpoint(folder: Path) -> ComponentError:
    nearby = [folder.parent, *sorted(entry for entry in folder.iterdir() if entry.is_dir())]
    better = next((near for near in nearby if (near / INDEX).is_file()), None)
    kind = " (it is a text encoder: set text_encoder_path to it)" if is_gemma(folder) else ""
    return unsupported(
        folder, f"{folder} has no {INDEX}{kind}", f"{contents(folder)}; {FORMS}", f"use {better}" if better else ""
    )


def _put_elsewhere(pieces: Pieces, elsewhere: Elsewhere) -> None:
    """Put components from elsewhere in their place."""
    text, video, audio, upsampler = (
        elsewhere.text_encoder,
        elsewhere.video_vae,
        elsewhere.audio_vae,
        elsewhere.upsampler,
    )
    if text is not None and pieces.layout != "split":
        pieces.look_for(
            ["text_encoder", "tokenizer"],
            lambda: gemma_in_folder(text) if text.is_dir() else gemma_in_file(read_header(text)),
        )
    if video is not None:
        pieces.look("vae", lambda: _from_file("vae", video))
    if audio is not None:
        for name in ("audio_vae", "vocoder"):
            pieces.look(name, lambda name=name: _from_file(name, audio))  # type: ignore[misc]
    if upsampler is not None:
        pieces.look("latent_upsampler", lambda: open_upsampler(upsampler))


def _from_file(name: str, path: Path) -> ComponentFiles:
    if path.is_dir() and name == "vae":
        return component_in(root_of(path), path, name)
    file = OfficialFile.read(path)
    if name not in file.holds.components:
        held = ", ".join(COMPONENTS[held].title for held in file.holds.components) or "tensors of another model"
        raise unsupported(path, f"{path.name} has no {COMPONENTS[name].title}", why=f"it holds {held}")
    return component_from(name, [file], [file])
