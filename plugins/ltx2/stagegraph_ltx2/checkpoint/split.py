"""A checkpoint in a pack of one file a component, in the folders that ComfyUI has for them. Needs no torch.

The folders may hold files of other models too: what counts is what the header of a file says.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType

import attrs

from stagegraph.errors import ComponentError, Fault
from stagegraph_ltx2.checkpoint.assembly import Pieces
from stagegraph_ltx2.checkpoint.components import COMPONENTS
from stagegraph_ltx2.checkpoint.contents import ComponentFiles
from stagegraph_ltx2.checkpoint.families import family_of, family_of_header, unsupported
from stagegraph_ltx2.checkpoint.gemma import CONFIG as GEMMA_CONFIG
from stagegraph_ltx2.checkpoint.gemma import gemma_in_file, gemma_in_folder, is_gemma
from stagegraph_ltx2.checkpoint.header import read_header
from stagegraph_ltx2.checkpoint.hints import contents, download_gemma
from stagegraph_ltx2.checkpoint.official_file import OfficialFile, component_from, json_in, look_for_components
from stagegraph_ltx2.checkpoint.single import one_upsampler, put_scheduler, upsampler_fix
from stagegraph_ltx2.errors import failure, listed, raise_all

#: Role -> the folders of a pack that hold files for it.
FOLDERS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "transformer": ("diffusion_models", "unet"),
        "text_encoder": ("text_encoders", "clip"),
        "vae": ("vae",),
        "latent_upsampler": ("latent_upscale_models", "upscale_models"),
    }
)

#: Component -> the role whose folders hold it.
ROLES: Mapping[str, str] = MappingProxyType(
    {"connectors": "text_encoder", "tokenizer": "text_encoder", "audio_vae": "vae", "vocoder": "vae"}
)

#: What chooses one of several files, by component; a transformer is chosen by giving its own path.
CHOICES: Mapping[str, str] = MappingProxyType({"text_encoder": "text_encoder_path", "vae": "video_vae_path"})


@attrs.frozen
class _Role:
    """The files of a role that could be read, and what is wrong with the others."""

    files: tuple[OfficialFile, ...]
    faults: tuple[Fault, ...]

    def holding(self, name: str) -> list[OfficialFile]:
        """Those that hold a component."""
        return [file for file in self.files if name in file.holds.components]


def is_pack(root: Path) -> bool:
    """Whether a folder has a place for transformers, as packs have."""
    return any((root / name).is_dir() for name in FOLDERS["transformer"])


def pack_of(path: Path) -> Path:
    """The pack that a transformer's file lies in: the folder around it where there are no such places."""
    return path.parent.parent if path.parent.name in FOLDERS["transformer"] else path.parent


def open_split(root: Path, transformer: Path | None = None, text_encoder: Path | None = None) -> Pieces:
    """The pieces of a pack.

    Args:
        root: the folder with `diffusion_models/` and the others.
        transformer: its file; None if the pack has only one.
        text_encoder: its file or folder; None if the pack has only one.

    Raises:
        ComponentError: no transformer, several without one being chosen, or one that cannot be read.
    """
    roles = {role: _read(root, role) for role in FOLDERS}
    main = OfficialFile.read(transformer) if transformer else _only_transformer(root, roles["transformer"])
    pieces = Pieces(root, "split", family_of_header(main.header.metadata, main.config), fixes=_fixes(root))
    pieces.distilled, pieces.evidence = main.distilled
    look_for_components(pieces, [main])
    put_scheduler(pieces, main)
    if "transformer" in pieces.found:
        pieces.family = family_of("transformer", pieces.found["transformer"].config)
    pieces.fixes["latent_upsampler"] = upsampler_fix(_place(root, "latent_upsampler"), pieces)
    pieces.look_for(["text_encoder", "tokenizer"], partial(_text_encoder, root, roles["text_encoder"], text_encoder))
    pieces.look("connectors", partial(_connectors, pieces, main, roles["text_encoder"]))
    for name in {"vae", "audio_vae", "vocoder"} - pieces.found.keys():
        pieces.look(name, partial(_one_of_several, pieces, name, roles["vae"], main))
    upsamplers = [file.path for file in roles["latent_upsampler"].holding("latent_upsampler")]
    pieces.look("latent_upsampler", lambda: one_upsampler(upsamplers, root))
    for name in COMPONENTS.keys() - pieces.found.keys():
        faults = roles[ROLES.get(name, name)].faults if ROLES.get(name, name) in roles else ()
        if faults:  # what cannot be read is likely what is missing
            pieces.broken.setdefault(name, faults)
    return pieces


def _folders(root: Path, role: str) -> list[Path]:
    return [root / name for name in FOLDERS[role] if (root / name).is_dir()] if is_pack(root) else [root]


def _read(root: Path, role: str) -> _Role:
    files: list[OfficialFile] = []
    faults: list[Fault] = []
    for path in (path for folder in _folders(root, role) for path in sorted(folder.glob("*.safetensors"))):
        try:
            files.append(OfficialFile.read(path))
        except ComponentError as error:
            faults += error.faults
    return _Role(tuple(files), tuple(faults))


def _only_transformer(root: Path, role: _Role) -> OfficialFile:
    files = role.holding("transformer")
    if len(files) > 1:
        raise failure(
            "ambiguous_file",
            f"the pack has {len(files)} transformers: {listed([file.path.name for file in files])}",
            where=root,
            why="which of them is meant cannot be told",
            fix=f"give the path of one in place of the folder's: {files[0].path}",
        )
    if not files:
        raise_all(role.faults)
        held = "; ".join(f"{folder.name}: {contents(folder)}" for folder in _folders(root, "transformer"))
        raise unsupported(root, f"{root} has no transformer of LTX-2", why=held)
    return files[0]


def _place(root: Path, name: str) -> Path:
    """The folder that a component belongs into."""
    return root / FOLDERS.get(ROLES.get(name, name), ("",))[0]


def _fixes(root: Path) -> dict[str, str]:
    gemma = f"{download_gemma(_place(root, 'text_encoder') / 'gemma')}, or set text_encoder_path to where it is"
    fixes = {name: f"put its file into {_place(root, name)}" for name in COMPONENTS}
    return {**fixes, **dict.fromkeys(("text_encoder", "tokenizer"), gemma)}


def _text_encoder(root: Path, role: _Role, chosen: Path | None) -> Iterable[ComponentFiles]:
    """The text encoder and its tokenizer, from one file or from a folder as Hugging Face has it."""
    if chosen is not None:
        return gemma_in_folder(chosen) if chosen.is_dir() else gemma_in_file(read_header(chosen))
    files = role.holding("text_encoder")
    # Encoders of other models lie there too; those of LTX-2 say what they are.
    told = [file for file in files if json_in(file.header, GEMMA_CONFIG)] or files
    folders = [path for folder in _folders(root, "text_encoder") for path in sorted(folder.glob("*")) if is_gemma(path)]
    if len(told) + len(folders) > 1:
        raise _ambiguous("text_encoder", root, [*(file.path for file in told), *folders])
    if folders:
        return gemma_in_folder(folders[0])
    return gemma_in_file(told[0].header) if told else ()


def _ambiguous(name: str, root: Path, paths: list[Path]) -> ComponentError:
    return failure(
        "ambiguous_file",
        f"the pack has {len(paths)} files with a {COMPONENTS[name].title}: {listed([path.name for path in paths])}",
        where=root,
        why="which of them is meant cannot be told",
        fix=f"set {CHOICES.get(name, 'audio_vae_path')} to one, e.g. {paths[0]}",
    )


def _connectors(pieces: Pieces, main: OfficialFile, role: _Role) -> ComponentFiles | None:
    """Their blocks lie with the transformer; their projection may lie with the text encoder, or alone."""
    if "connectors" in pieces.found or "connectors" not in main.holds.components:
        return pieces.found.get("connectors")
    encoder = pieces.found.get("text_encoder")
    holders = role.holding("connectors")
    own = [file for file in holders if encoder is not None and file.path == encoder.place] or holders
    if not own:
        raise failure(
            "missing_file",
            "no file of the pack has the projection of the text",
            where=pieces.root,
            why="packs have it beside their text encoder or with it, as text_embedding_projection",
            fix=f"put its file into {_place(pieces.root, 'connectors')}",
        )
    if len(own) > 1:
        raise _ambiguous("text_encoder", pieces.root, [file.path for file in own])
    return component_from("connectors", [main, *own], [main])


def _one_of_several(pieces: Pieces, name: str, role: _Role, main: OfficialFile) -> ComponentFiles | None:
    """A component that one of several files holds; those of another family are passed over."""
    made: list[ComponentFiles] = []
    faults: list[Fault] = []
    for file in role.holding(name):
        try:
            made.append(component_from(name, [file], [file, main]))
        except ComponentError as error:
            faults += error.faults
    fitting = [files for files in made if family_of(name, files.config) in (None, pieces.family)] or made
    if len(fitting) > 1:
        raise _ambiguous(name, pieces.root, [files.place for files in fitting])
    if not fitting:
        raise_all(faults)
    return fitting[0] if fitting else None
