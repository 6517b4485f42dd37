"""Writes the tiny checkpoint: LTX-2 in its true geometry with a few small layers, for tests and first steps."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from stagegraph_ltx2.checkpoint import tiny_recipe as recipe
from stagegraph_ltx2.checkpoint.folder import INDEX
from stagegraph_ltx2.checkpoint.layout import COMPONENTS
from stagegraph_ltx2.checkpoint.tiny_tokenizer import tokenizer_config, tokenizer_json
from stagegraph_ltx2.checkpoint.tiny_weights import draw
from stagegraph_ltx2.errors import failure, unreadable
from stagegraph_ltx2.model.audio_vae import AudioVAE
from stagegraph_ltx2.model.config import (
    AudioVAEConfig,
    ConnectorsConfig,
    LatentUpsamplerConfig,
    TransformerConfig,
    VideoVAEConfig,
    VocoderConfig,
)
from stagegraph_ltx2.model.connectors import TextConnectors
from stagegraph_ltx2.model.latent_upsampler import LatentUpsampler
from stagegraph_ltx2.model.transformer import AudioVideoTransformer
from stagegraph_ltx2.model.video_vae import VideoVAE
from stagegraph_ltx2.model.vocoder import Vocoder

NETWORKS: Mapping[str, tuple[type[Any], type[Any], Mapping[str, Any]]] = {
    "transformer": (AudioVideoTransformer, TransformerConfig, recipe.TRANSFORMER),
    "connectors": (TextConnectors, ConnectorsConfig, recipe.CONNECTORS),
    "vae": (VideoVAE, VideoVAEConfig, recipe.VIDEO_VAE),
    "audio_vae": (AudioVAE, AudioVAEConfig, recipe.AUDIO_VAE),
    "vocoder": (Vocoder, VocoderConfig, recipe.VOCODER),
    "latent_upsampler": (LatentUpsampler, LatentUpsamplerConfig, recipe.LATENT_UPSAMPLER),
}


#: Components in the order of their streams of random numbers; new ones come last, and leave the others as they are.
STREAMS = ("audio_vae", "connectors", "transformer", "vae", "vocoder", "text_encoder", "latent_upsampler")


def make_tiny(path: Path, *, seed: int = 0) -> Path:
    """Write a small random checkpoint in the diffusers folder layout; diffusers opens it too.

    The same seed gives the same bytes. The folder appears at once and complete, or not at all.

    Args:
        path: a folder that does not exist yet, or an empty one.
        seed: of the weights.

    Returns:
        `path`.

    Raises:
        ComponentError: the folder exists and is not empty, or cannot be written.
    """
    if path.is_file() or (path.is_dir() and any(path.iterdir())):
        raise _not_empty(path)
    with contextlib.ExitStack() as stack:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # A sibling: only within one file system is a rename atomic.
            draft = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
            stack.callback(shutil.rmtree, draft, ignore_errors=True)
            _write(draft, seed)
            draft.chmod(0o755)
            _replace(draft, path)
        except OSError as error:
            raise unreadable(path, error) from None
    return path


def _replace(draft: Path, path: Path) -> None:
    try:
        draft.rename(path)
    except OSError:
        if path.is_dir() and any(path.iterdir()):
            raise _not_empty(path) from None  # Somebody else was faster.
        raise


def _not_empty(path: Path) -> Exception:
    return failure(
        "not_empty",
        f"{path} exists and is not empty",
        where=path,
        why="a checkpoint is written into a folder of its own; nothing is overwritten",
        fix=f"rm -r {path}, or name another folder",
    )


def _write(folder: Path, seed: int) -> None:
    _write_json(folder / INDEX, recipe.MODEL_INDEX)
    for name, (network, config_class, values) in sorted(NETWORKS.items()):
        config = config_class.from_dict(values)
        _write_json(folder / name / "config.json", _labelled(config_class.diffusers_class, config.to_dict()))
        with torch.device("meta"):
            module = network(config)
        _write_weights(folder / name, module, _generator(seed, name), torch.bfloat16)
    _write_json(folder / "text_encoder" / "config.json", recipe.GEMMA)
    _write_weights(folder / "text_encoder", _gemma(), _generator(seed, "text_encoder"), torch.float32)
    scheduler = _labelled("FlowMatchEulerDiscreteScheduler", recipe.SCHEDULER)
    _write_json(folder / "scheduler" / "scheduler_config.json", scheduler)
    _write_json(folder / "tokenizer" / "tokenizer_config.json", tokenizer_config())
    _write_text(folder / "tokenizer" / "tokenizer.json", tokenizer_json())


def _labelled(class_name: str, values: Mapping[str, Any]) -> dict[str, Any]:
    return {"_class_name": class_name, "_diffusers_version": recipe.DIFFUSERS_VERSION, **values}


def _generator(seed: int, name: str) -> torch.Generator:
    """One stream of numbers a component, so that a change of one leaves the others as they are."""
    return torch.Generator("cpu").manual_seed(1000 * seed + STREAMS.index(name))


def _gemma() -> nn.Module:
    # transformers takes seconds to import and only this function needs it.
    from transformers import Gemma3Config, Gemma3ForConditionalGeneration

    with torch.device("meta"):
        return Gemma3ForConditionalGeneration(Gemma3Config.from_dict(dict(recipe.GEMMA)))


def _write_weights(folder: Path, module: nn.Module, generator: torch.Generator, dtype: torch.dtype) -> None:
    state = {
        name: (draw(name, tensor, generator) if tensor.is_meta else tensor).to(dtype)
        for name, tensor in sorted(module.state_dict().items())
        if not name.startswith("lm_head.")  # tied to the embeddings
    }
    path = folder / f"{COMPONENTS[folder.name].stem}.safetensors"
    save_file(state, path, metadata={"format": "pt"})
    _sync(path)


def _write_json(path: Path, value: Mapping[str, Any]) -> None:
    _write_text(path, json.dumps(dict(value), indent=2, sort_keys=True) + "\n")


def _write_text(path: Path, text: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8", newline="\n")
    _sync(path)


def _sync(path: Path) -> None:
    """Have the bytes on the disk before the folder gets its name, or a power cut leaves a folder of empty files."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
