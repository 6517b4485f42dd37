"""Training of a LoRA over a transformer that stays as it is, kept in the form of diffusers."""

from __future__ import annotations

import copy
import math
import time
from argparse import Namespace
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from stagegraph_ltx2.model.video_vae import pack, unpack

from . import flow
from .flow import Bucket, Pool
from .loop import Task, tell
from .lowpass import latents
from .optim import Optimizer
from .pieces import REGISTERS, WHOLE, Trained, assembled, said
from .scenes import Scenes, draw
from .sentences import sentence
from .stripes import can_be_striped, striped_pictures, striped_sentence, stripes
from .words import tokens

RANK = 8

LAYERS = tuple(f".{attention}.{layer}" for attention in ("attn1", "attn2") for layer in ("to_q", "to_k", "to_v", "to_out.0"))
"""What it changes: how video tokens attend to each other and to the text. What is heard does not change."""

FILE = "striped.safetensors"


class Adapted(nn.Module):
    """A linear layer that stays as it is, and what a LoRA adds."""

    def __init__(self, layer: nn.Linear, rank: int) -> None:
        super().__init__()
        self.layer = layer
        weight = layer.weight
        self.down = nn.Parameter(torch.randn(rank, weight.shape[1], device=weight.device) / math.sqrt(weight.shape[1]))
        self.up = nn.Parameter(torch.zeros(weight.shape[0], rank, device=weight.device))

    def forward(self, x: Tensor) -> Tensor:
        """As the layer, whose weights were changed by up @ down."""
        made: Tensor = self.layer(x) + x @ self.down.T @ self.up.T
        return made


def adapt(transformer: nn.Module, rank: int = RANK) -> dict[str, Adapted]:
    """Put adapters, which change nothing yet, around layers of a transformer; by the paths of these."""
    transformer.requires_grad_(False)
    made = {}
    for path, layer in list(transformer.named_modules()):
        if path.endswith(LAYERS) and isinstance(layer, nn.Linear):
            parent, _, name = path.rpartition(".")
            made[path] = Adapted(layer, rank)
            transformer.get_submodule(parent).register_module(name, made[path])
    return made


def save(path: Path, adapters: dict[str, Adapted]) -> None:
    """Write a LoRA with the names that diffusers gives."""
    tensors = {}
    for name, adapter in adapters.items():
        for end, factor in (("lora_A", adapter.down), ("lora_B", adapter.up)):
            tensors[f"transformer.{name}.{end}.weight"] = factor.detach().to("cpu", torch.bfloat16).contiguous()
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, path, metadata={"format": "pt"})
