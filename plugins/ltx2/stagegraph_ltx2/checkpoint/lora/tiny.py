"""Write small random LoRAs, in each form that trainers write, for tests and first steps."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Literal

import torch
from safetensors.torch import save_file
from torch import Tensor

from stagegraph_ltx2.checkpoint.contents import Checkpoint
from stagegraph_ltx2.checkpoint.lora.fit import NAMES, Layer, Layers
from stagegraph_ltx2.checkpoint.lora.scale import CONFIG, METADATA, PEFT_FILE
from stagegraph_ltx2.errors import failure

Form = Literal["official", "diffusers", "peft", "kohya"]

#: What trainers change if nobody says otherwise: the projections of attention.
TRAINED = (".to_q", ".to_k", ".to_v", ".to_out.0")

#: Of what is added, beside the size of the weights that it is added to.
LIVELINESS = 0.5


def write_tiny_lora(
    path: Path,
    checkpoint: Checkpoint,
    form: Form = "official",
    *,
    rank: int = 4,
    alpha: float | None = None,
    seed: int = 0,
) -> Path:
    """Write a LoRA that changes the attention of a checkpoint's transformer; the same seed writes the same numbers.

    Args:
        path: the file; of the form "peft", the folder. Neither may exist.
        checkpoint: what it is for; any, but the numbers are meant for small ones.
        form: of its keys. Official ones have no place for alpha.
        rank: of each layer's change.
        alpha: None writes none, which counts as the rank.
        seed: of its numbers.

    Returns:
        The file.

    Raises:
        ComponentError: the file exists, or has no place for alpha.
    """
    if form == "official" and alpha is not None:
        why = "official files say none, and their readers ignore it"
        raise failure(
            "contradiction", f"alpha is {alpha:g} in official form", why=why, fix="use kohya, diffusers or peft"
        )
    file = path / PEFT_FILE if form == "peft" else path
    if file.exists():
        raise failure("not_empty", f"{file} exists", where=file, why="nothing is overwritten", fix=f"rm {file}")
    file.parent.mkdir(parents=True, exist_ok=True)
    shapes = Layers.of(checkpoint).shapes
    layers = {
        layer: size
        for layer, size in shapes.items()
        if layer.component == "transformer" and layer.path.endswith(TRAINED)
    }
    most = min((max(size) for size in layers.values()), default=0)
    if not 1 <= rank <= most:
        raise failure("contradiction", f"the rank is {rank}", why="the layers are small", fix=f"use 1 to {most}")
    generator = torch.Generator("cpu").manual_seed(seed)
    tensors: dict[str, Tensor] = {}
    for layer, (out, width) in sorted(layers.items(), key=lambda item: item[0].path):
        down = torch.randn(rank, width, generator=generator) / math.sqrt(width)
        up = torch.randn(out, rank, generator=generator) * LIVELINESS / math.sqrt(rank)
        tensors |= _named(layer, form, down, up, alpha)
    save_file(
        {name: tensor.contiguous() for name, tensor in tensors.items()}, file, metadata=_metadata(form, rank, alpha)
    )
    if form == "peft":
        config = {"peft_type": "LORA", "r": rank, "lora_alpha": alpha or rank, "target_modules": _targets(layers)}
        (path / CONFIG).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8", newline="\n")
    return file


def _named(layer: Layer, form: Form, down: Tensor, up: Tensor, alpha: float | None) -> dict[str, Tensor]:
    official = NAMES[layer.component].official(layer.path)
    if form == "kohya":
        name = f"lora_unet_{official.replace('.', '_')}"
        said = {} if alpha is None else {f"{name}.alpha": torch.tensor(float(alpha))}
        return {f"{name}.lora_down.weight": down, f"{name}.lora_up.weight": up, **said}
    start, path = {
        "official": ("diffusion_model.", official),
        "diffusers": ("transformer.", layer.path),
        "peft": ("base_model.model.", layer.path),
    }[form]
    return {f"{start}{path}.lora_A.weight": down, f"{start}{path}.lora_B.weight": up}


def _metadata(form: Form, rank: int, alpha: float | None) -> dict[str, str]:
    made = {"format": "pt"}
    if form == "diffusers" and alpha is not None:
        said = {"transformer.r": rank, "transformer.lora_alpha": alpha}
        made[METADATA] = json.dumps(said, indent=2, sort_keys=True)
    return made


def _targets(layers: Mapping[Layer, object] = MappingProxyType({})) -> list[str]:
    return sorted(layer.path for layer in layers)
