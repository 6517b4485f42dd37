"""A latent upsampler: an official file of its own, or a folder as diffusers or FastVideo writes it. Needs no torch."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from stagegraph.errors import ComponentError
from stagegraph_ltx2.checkpoint.assembly import Pieces
from stagegraph_ltx2.checkpoint.containment import root_of
from stagegraph_ltx2.checkpoint.contents import ComponentFiles, WeightFile
from stagegraph_ltx2.checkpoint.families import unsupported
from stagegraph_ltx2.checkpoint.folder import component_in
from stagegraph_ltx2.checkpoint.names import Names
from stagegraph_ltx2.checkpoint.official_file import OfficialFile, look_for_components
from stagegraph_ltx2.checkpoint.official_media import read_latent_upsampler
from stagegraph_ltx2.checkpoint.strict_json import read_object
from stagegraph_ltx2.checkpoint.weights import weight_files
from stagegraph_ltx2.errors import failure, raise_all
from stagegraph_ltx2.model.config import ConfigError

NAME = "latent_upsampler"
FASTVIDEO_CLASS = "LTX2LatentUpsampler"

#: Where a folder may have one.
FOLDERS = (NAME, "spatial_upscaler", "spatial_upsampler")

WHY = "an upsampler is an official file of its own, a folder with its config.json, or a checkpoint's latent_upsampler/"
FIX = "hf download Lightricks/LTX-2 ltx-2-spatial-upscaler-x2-1.0.safetensors, and give this file"


def open_upsampler(path: Path) -> ComponentFiles:
    """The files of an upsampler.

    Raises:
        ComponentError: there is none, or it is damaged.
    """
    if path.is_file():
        return _in_file(path)
    if not path.is_dir():
        raise failure("no_such_checkpoint", f"no such file or folder: {path}", where=path, why=WHY, fix=FIX)
    folder = path if (path / "config.json").exists() else next((path / f for f in FOLDERS if (path / f).is_dir()), None)
    if folder is None:
        raise failure("missing_component", f"{path} has no latent upsampler", where=path, why=WHY, fix=FIX)
    return upsampler_in(root_of(path), folder)


def upsamplers_among(paths: Iterable[Path]) -> list[Path]:
    """The official files of upsamplers among others; upscalers of pictures have such names, too.

    Raises:
        ComponentError: one cannot be read, and no other is an upsampler.
    """
    found: list[Path] = []
    errors: list[ComponentError] = []
    for path in paths:
        try:
            if NAME in OfficialFile.read(path).holds.components:
                found.append(path)
        except ComponentError as error:
            errors.append(error)
    if errors and not found:
        raise errors[0]
    return found


def upsampler_in(root: Path, folder: Path) -> ComponentFiles:
    """The files of an upsampler in a folder of its own; FastVideo writes the official configuration there.

    Raises:
        ComponentError: as `component_in`.
    """
    path = folder / "config.json"
    config = read_object(path) if path.is_file() else {}
    if config.get("_class_name") != FASTVIDEO_CLASS:
        return component_in(root, folder, NAME)
    nested = config.get("upsampler")
    try:
        ours = read_latent_upsampler(nested if isinstance(nested, dict) else config, {})
    except ConfigError as error:
        raise failure("bad_config", "; ".join(error.faults), where=path, why="no upsampler is built so") from None
    files = weight_files(root, folder, "model")
    names = Names(prefixes=(("model.", ""), ("", "")))
    return ComponentFiles(NAME, folder, ours, path, tuple(WeightFile(file, names) for file in files))


def _in_file(path: Path) -> ComponentFiles:
    file = OfficialFile.read(path)
    pieces = Pieces(path, "single")
    look_for_components(pieces, [file])
    if NAME in pieces.found:
        return pieces.found[NAME]
    raise_all(pieces.broken.get(NAME, ()))
    held = "a LoRA" if file.holds.lora else ", ".join(file.holds.components) or "tensors of another model"
    raise unsupported(path, f"{path.name} is no latent upsampler", why=f"it holds {held}; {WHY}", fix=FIX)
