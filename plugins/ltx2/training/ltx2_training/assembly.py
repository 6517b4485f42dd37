"""From what pieces left to a checkpoint: a diffusers folder that stagegraph and diffusers open."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from stagegraph_ltx2.checkpoint.components import COMPONENTS
from stagegraph_ltx2.checkpoint.diffusers_form import labelled, model_index, scheduler_config
from stagegraph_ltx2.checkpoint.folder import INDEX
from stagegraph_ltx2.checkpoint.publish import published
from stagegraph_ltx2.checkpoint.tiny import write_json
from stagegraph_ltx2.checkpoint.tiny_tokenizer import tokenizer_config

from . import networks, recipe, state, words

#: Piece -> the parts that its state has.
PIECES: Mapping[str, tuple[str, ...]] = {
    "video": ("vae",),
    "sound": ("audio_vae", "vocoder"),
    "upsampler": ("latent_upsampler",),
    "flow": ("text_encoder", "connectors", "transformer"),
}

LARGEST_FILE = 16 * 2**20
LARGEST = 24 * 2**20
"""Bytes of a file, and of all of them: what a package index and its users take without asking."""

TEXT_PREFIX = "model.language_model."
"""Of the text model within Gemma 3 with its eyes, which is the class that a checkpoint names."""


def assemble(folders: Iterable[Path], out: Path) -> Path:
    """Write a checkpoint in bf16.

    Args:
        folders: with the states of all pieces; of one that is in several, the last counts.
        out: a folder that does not exist yet, or an empty one; it appears complete or not at all.

    Returns:
        `out`.

    Raises:
        SystemExit: a piece is missing or of another form, sentences have changed, or what was made is too large.
        ComponentError: `out` cannot be written.
    """
    folders = list(folders)
    words.check(folders)
    parts = _parts(folders)
    with published(out) as draft:
        write_json(draft / INDEX, model_index("2.0"))
        for name in recipe.NETWORKS:
            config = networks.configuration(name)
            write_json(draft / name / "config.json", labelled(config.diffusers_class, config.to_dict()))
            _write(draft / name, parts[name])
        write_json(draft / "text_encoder" / "config.json", recipe.GEMMA)
        _write(draft / "text_encoder", _with_eyes(parts["text_encoder"]))
        write_json(draft / "scheduler" / "scheduler_config.json", scheduler_config(distilled=True))
        write_json(draft / "tokenizer" / "tokenizer_config.json", tokenizer_config())
        words.keep(draft / "tokenizer")
        _check(draft)
    return out


def _parts(folders: list[Path]) -> dict[str, dict[str, Tensor]]:
    """Part -> its tensors."""
    found: dict[str, dict[str, Tensor]] = {}
    for piece, names in PIECES.items():
        stored = next((some for folder in reversed(folders) if (some := state.load(folder, piece))), None)
        if stored is None:
            raise SystemExit(f"no {piece} in {', '.join(map(str, folders))}: train it first, and name its folder")
        for name in names:
            prefix = f"{name}."
            found[name] = {key.removeprefix(prefix): value for key, value in stored.items() if key.startswith(prefix)}
            network = networks.gemma() if name == "text_encoder" else networks.build(name)
            shapes = {key: value.shape for key, value in network.state_dict().items()}
            if shapes != {key: value.shape for key, value in found[name].items()}:
                raise SystemExit(f"the {name} is not of the form that recipe.py says: train {piece} again, --anew")
    return found


def _write(folder: Path, tensors: Mapping[str, Tensor]) -> None:
    made = {key: value.to(torch.bfloat16).contiguous() for key, value in sorted(tensors.items())}
    save_file(made, folder / f"{COMPONENTS[folder.name].stem}.safetensors", metadata={"format": "pt"})


def _with_eyes(text: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The whole of Gemma 3; what sees pictures is never asked, and zero."""
    from transformers import Gemma3Config, Gemma3ForConditionalGeneration

    with torch.device("meta"):
        shapes = Gemma3ForConditionalGeneration(Gemma3Config.from_dict(dict(recipe.GEMMA))).state_dict()
    whole: dict[str, Tensor] = {}
    for key, shape in shapes.items():
        if key.startswith(TEXT_PREFIX):
            whole[key] = text[key.removeprefix(TEXT_PREFIX)]
        elif not key.startswith("lm_head."):  # tied to the embeddings
            whole[key] = torch.zeros(shape.shape)
    return whole


def _check(folder: Path) -> None:
    sizes: dict[str, Any] = {
        str(path.relative_to(folder)): path.stat().st_size for path in folder.rglob("*") if path.is_file()
    }
    large = [f"{name} has {size} bytes" for name, size in sizes.items() if size > LARGEST_FILE]
    if sum(sizes.values()) > LARGEST:
        large.append(f"all files have {sum(sizes.values())} bytes")
    if large:
        raise SystemExit(f"too large: {'; '.join(large)}; allowed are {LARGEST_FILE} and {LARGEST}")
