"""Writes the tiny checkpoints: LTX-2 in its true geometry with a few small layers, for tests and first steps."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from stagegraph_ltx2.checkpoint import tiny_recipe as recipe
from stagegraph_ltx2.checkpoint.components import COMPONENTS
from stagegraph_ltx2.checkpoint.configs import parse
from stagegraph_ltx2.checkpoint.contents import Layout
from stagegraph_ltx2.checkpoint.convert import convert
from stagegraph_ltx2.checkpoint.diffusers_form import labelled, model_index, scheduler_config
from stagegraph_ltx2.checkpoint.folder import INDEX
from stagegraph_ltx2.checkpoint.opening import open_checkpoint
from stagegraph_ltx2.checkpoint.publish import published
from stagegraph_ltx2.checkpoint.tiny_recipe import TINY, Variant
from stagegraph_ltx2.checkpoint.tiny_tokenizer import tokenizer_config, tokenizer_json
from stagegraph_ltx2.checkpoint.tiny_weights import PLAIN, Unfolding, draw, is_constant, unfoldings
from stagegraph_ltx2.model.audio_vae import AudioVAE
from stagegraph_ltx2.model.connectors import TextConnectors
from stagegraph_ltx2.model.latent_upsampler import LatentUpsampler
from stagegraph_ltx2.model.transformer import AudioVideoTransformer
from stagegraph_ltx2.model.video_vae import VideoVAE
from stagegraph_ltx2.model.wideband_vocoder import build_vocoder

NETWORKS: Mapping[str, Callable[[Any], nn.Module]] = {
    "transformer": AudioVideoTransformer,
    "connectors": TextConnectors,
    "vae": VideoVAE,
    "audio_vae": AudioVAE,
    "vocoder": build_vocoder,
    "latent_upsampler": LatentUpsampler,
}

#: Components in the order of their streams of random numbers; new ones come last, and leave the others as they are.
STREAMS = ("audio_vae", "connectors", "transformer", "vae", "vocoder", "text_encoder", "latent_upsampler")


def make_tiny(path: Path, variant: Variant = TINY, *, layout: Layout = "diffusers", seed: int = 0) -> Path:
    """Write a small random checkpoint; diffusers opens those in its own layout.

    The same seed gives the same bytes. The folder appears at once and complete, or not at all.

    Args:
        path: a folder that does not exist yet, or an empty one.
        variant: which one.
        layout: how it lies in the folder.
        seed: of the weights.

    Returns:
        `path`.

    Raises:
        ComponentError: the folder exists and is not empty, or cannot be written.
    """
    with published(path) as draft:
        if layout == "diffusers":
            _write(draft, variant, seed)
        else:
            _write(draft / "diffusers", variant, seed)
            checkpoint = open_checkpoint(draft / "diffusers")
            convert(checkpoint, draft / "made", layout, name=tiny_name(variant))
            _unwrap(draft)
    return path


def tiny_name(variant: Variant) -> str:
    """What a single file with a tiny checkpoint is called."""
    return f"ltx-{variant.family}-tiny-{'base' if variant.base else 'distilled'}"


def _unwrap(draft: Path) -> None:
    """Leave what was made, and nothing of what it was made of."""
    shutil.rmtree(draft / "diffusers")
    for entry in (draft / "made").iterdir():
        entry.rename(draft / entry.name)
    (draft / "made").rmdir()


def _write(folder: Path, variant: Variant, seed: int) -> None:
    folder.mkdir(exist_ok=True)
    write_json(folder / INDEX, model_index(variant.family))
    for name, values in sorted(recipe.configurations(variant).items()):
        config = parse(name, values)
        write_json(folder / name / "config.json", labelled(config.diffusers_class, config.to_dict()))
        _write_weights(folder / name, partial(NETWORKS[name], config), seed, torch.bfloat16, unfoldings(config))
    write_json(folder / "text_encoder" / "config.json", recipe.GEMMA)
    _write_weights(folder / "text_encoder", _gemma, seed, torch.float32)
    write_json(folder / "scheduler" / "scheduler_config.json", scheduler_config(distilled=not variant.base))
    write_json(folder / "tokenizer" / "tokenizer_config.json", tokenizer_config())
    write_text(folder / "tokenizer" / "tokenizer.json", tokenizer_json())


def _gemma() -> nn.Module:
    # transformers takes seconds to import and only this function needs it.
    from transformers import Gemma3Config, Gemma3ForConditionalGeneration

    return Gemma3ForConditionalGeneration(Gemma3Config.from_dict(dict(recipe.GEMMA)))


def _write_weights(
    folder: Path,
    build: Callable[[], nn.Module],
    seed: int,
    dtype: torch.dtype,
    unfolded: Mapping[str, Unfolding] = MappingProxyType({}),
) -> None:
    # One stream of numbers a component, so that a change of one leaves the others as they are.
    generator = torch.Generator("cpu").manual_seed(1000 * seed + STREAMS.index(folder.name))
    with torch.device("meta"):
        state = build().state_dict()
    constants = _constants(build) if any(map(is_constant, state)) else {}
    drawn = {
        name: constants[name] if name in constants else draw(name, tensor, generator, unfolded.get(name, PLAIN))
        for name, tensor in sorted(state.items())
        if not name.startswith("lm_head.")  # tied to the embeddings
    }
    made = {name: tensor.to(dtype).contiguous() for name, tensor in drawn.items()}
    save_file(made, folder / f"{COMPONENTS[folder.name].stem}.safetensors", metadata={"format": "pt"})


def _constants(build: Callable[[], nn.Module]) -> dict[str, Tensor]:
    """What a network computes itself and yet stores: filters and bases."""
    with torch.random.fork_rng([]):
        return {name: tensor for name, tensor in build().state_dict().items() if is_constant(name)}


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write a small file of a checkpoint, the same bytes on every machine."""
    write_text(path, json.dumps(dict(value), indent=2, sort_keys=True) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a file, and the folder that it is in."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8", newline="\n")
