"""A checkpoint with the sizes of a released one and no weights: true headers over files that are one hole."""

from __future__ import annotations

import json
import shutil
import struct
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import Gemma3TextConfig, Gemma3TextModel

from stagegraph_ltx2.model.audio_vae import AudioVAE
from stagegraph_ltx2.model.connectors import TextConnectors
from stagegraph_ltx2.model.latent_upsampler import LatentUpsampler
from stagegraph_ltx2.model.transformer import AudioVideoTransformer
from stagegraph_ltx2.model.video_vae import VideoVAE
from stagegraph_ltx2.model.wideband_vocoder import build_vocoder

from .small import RELEASED

NETWORKS: dict[str, Any] = {
    "transformer": AudioVideoTransformer,
    "connectors": TextConnectors,
    "vae": VideoVAE,
    "audio_vae": AudioVAE,
    "vocoder": build_vocoder,
    "latent_upsampler": LatentUpsampler,
}

#: Gemma 3 12B, without its eyes.
GEMMA = {
    "vocab_size": 262208,
    "hidden_size": 3840,
    "intermediate_size": 15360,
    "num_hidden_layers": 48,
    "num_attention_heads": 16,
    "num_key_value_heads": 8,
    "head_dim": 256,
}


def write_hollow(folder: Path, tiny: Path, version: str = "2.0") -> Path:
    """The folder of a checkpoint that is as large as a released one and takes a few kilobytes of disk.

    Args:
        folder: where to write; not there yet.
        tiny: a checkpoint of which the files that are not about sizes are taken.
        version: of the release.
    """
    shutil.copytree(tiny, folder, ignore=shutil.ignore_patterns("*.safetensors"))
    for name, network in NETWORKS.items():
        config = RELEASED[version][name]
        with torch.device("meta"):
            module = network(config)
        _write_config(folder / name, {"_class_name": config.diffusers_class, **config.to_dict()})
        _write_hole(folder / name / "diffusion_pytorch_model.safetensors", module, "")
    with torch.device("meta"):
        gemma = Gemma3TextModel(Gemma3TextConfig(**GEMMA))
    _write_config(folder / "text_encoder", {"architectures": ["Gemma3ForConditionalGeneration"], "text_config": GEMMA})
    _write_hole(folder / "text_encoder" / "model.safetensors", gemma, "model.language_model.")
    return folder


def _write_config(folder: Path, config: dict[str, Any]) -> None:
    (folder / "config.json").write_text(json.dumps(config))


def _write_hole(path: Path, module: nn.Module, prefix: str) -> None:
    header, end = {}, 0
    for name, tensor in module.state_dict().items():
        begin, end = end, end + 2 * tensor.numel()
        header[prefix + name] = {"dtype": "BF16", "shape": list(tensor.shape), "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + end)
