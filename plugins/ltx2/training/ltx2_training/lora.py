"""Training of a LoRA over a transformer that stays as it is, kept in the form of diffusers: it teaches stripes."""

from __future__ import annotations

import copy
import math
from argparse import Namespace
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from stagegraph_ltx2.model.video_vae import pack
from stagegraph_ltx2.shapes import PixelShape

from . import flow
from .flow import Bucket, Pool, Trainee
from .loop import Task
from .lowpass import latents
from .optim import Optimizer
from .pieces import REGISTERS, WHOLE, Trained, assembled, said
from .scenes import Scenes, draw
from .sentences import sentence
from .stripes import are_striped, can_be_striped, striped_pictures, striped_sentence
from .words import tokens

RANK = 8

LAYERS = tuple(f".{kind}.{layer}" for kind in ("attn1", "attn2") for layer in ("to_q", "to_k", "to_v", "to_out.0"))
"""What it changes: how tokens of the video attend to each other and to the text. What is heard stays as it is."""

FILE = "striped.safetensors"

#: What is trained on: on a GPU, on a CPU, and in a trial.
GPU = (Bucket("long", flow.LONG, 53, 2048, 32, 3, 1), Bucket("short", flow.SHORT, 28, 2048, 64, 3, 1))
CPU = (Bucket("short", flow.SHORT, 28, 96, 2, 8, 1),)
TRIAL = (Bucket("trial", PixelShape(9, 64, 96), 14, 4, 2, 2, 1),)


class Adapted(nn.Module):
    """A linear layer that stays as it is, and what a LoRA adds to it: nothing, before it has learned."""

    def __init__(self, layer: nn.Linear, rank: int) -> None:
        super().__init__()
        self.layer = layer
        out, width = layer.weight.shape
        self.down = nn.Parameter(torch.randn(rank, width, device=layer.weight.device) / math.sqrt(width))
        self.up = nn.Parameter(torch.zeros(out, rank, device=layer.weight.device))

    def forward(self, x: Tensor) -> Tensor:
        """As a layer whose weights have up @ down added."""
        made: Tensor = self.layer(x) + x @ self.down.T @ self.up.T
        return made


def adapt(transformer: nn.Module, rank: int = RANK) -> dict[str, Adapted]:
    """Adapters in the place of layers of a transformer, which learns no more itself; by the paths of these."""
    transformer.requires_grad_(False)
    made = {}
    for path, layer in list(transformer.named_modules()):
        if path.endswith(LAYERS) and isinstance(layer, nn.Linear):
            parent, _, name = path.rpartition(".")
            made[path] = Adapted(layer, rank)
            transformer.get_submodule(parent).register_module(name, made[path])
    return made


def save(path: Path, adapters: Mapping[str, Adapted]) -> None:
    """Write a LoRA under the names that diffusers gives."""
    tensors = {}
    for name, adapter in adapters.items():
        for end, factor in (("lora_A", adapter.down), ("lora_B", adapter.up)):
            tensors[f"transformer.{name}.{end}.weight"] = factor.detach().to("cpu", torch.bfloat16).contiguous()
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, path, metadata={"format": "pt"})


def train_lora(options: Namespace, find: Callable[..., bool], train: Callable[..., Any]) -> dict[str, Any]:
    """Train with striped clips and with plain ones, write the LoRA, and say what it does."""
    trained = assembled(options, find)
    find(options, "flow", trained.modules, needed=True)
    trained.modules.to(torch.bfloat16).float().requires_grad_(False)  # what is shipped, and stays as it is
    buckets = TRIAL if options.small else GPU if options.device == "cuda" else CPU
    length = REGISTERS if options.small else WHOLE  # what is learned with few positions does not hold with all
    teacher = copy.deepcopy(trained.trainee)
    adapters = adapt(trained.trainee.transformer)
    tasks = [
        task
        for number, bucket in enumerate(buckets)
        for task in _tasks(trained, teacher, bucket, length, 6000 + 10 * options.seed + number, own=options.own)
    ]
    learning = nn.ModuleList(adapters.values())
    optimizer = Optimizer([learning], options.lr or 2e-2, averaging=100, matrices=False)
    told = train(options, nn.ModuleDict(), tasks, optimizer, options.seconds, anneal=options.anneal)
    save(options.out / FILE, adapters)
    count = 1 if options.small else 32 if options.device == "cuda" else 8
    return {**told, "rank": RANK, **evaluate(trained, count=count, length=length)}


def _tasks(trained: Trained, teacher: Trainee, bucket: Bucket, length: int, seed: int, *, own: bool) -> list[Task]:
    """Steps over striped clips that are said to be striped, and over plain ones, of which nothing is to change.

    Of plain ones the LoRA learns the velocities that the transformer has without it. Striped ones are always said:
    without a prompt, nothing is striped.
    """
    device = next(trained.trainee.parameters()).device
    scenes = _scenes(seed, bucket.clips)
    plain, striped = (said(scenes, seed, how) for how in (sentence, striped_sentence))
    pool = flow.fill(bucket, scenes.on(device), plain, trained.ear)
    guide = flow.Guide(teacher, 1.0, flow.no_prompt(pool))
    first = torch.zeros(len(scenes), device=device)  # always the same: a LoRA has little room
    pictures = [
        pack(latents(striped_pictures(scenes[rows].on(device), first[rows], bucket.size.frames, bucket.size.height)))
        for rows in np.array_split(np.arange(len(scenes)), -(-len(scenes) // 16))
    ]
    pools = Pool(torch.cat(pictures).to(pool.video), pool.audio, striped.to(device), pool.offset), pool
    kinds = attrs.evolve(bucket, name=f"striped {bucket.name}"), attrs.evolve(bucket, name=f"plain {bucket.name}")
    trainee = trained.trainee
    return [
        flow.task(trainee, kinds[0], pools[0], length, listed=0.75, dropped=0.0, own=own),
        flow.task(trainee, kinds[1], pools[1], length, listed=0.75, guide=guide),
    ]


def _scenes(seed: int, count: int, *, held_out: bool = False) -> Scenes:
    """Scenes that can be striped."""
    scenes = draw(seed, 4 * count, composed=True, held_out=held_out)
    return scenes[np.flatnonzero(can_be_striped(scenes))[:count]]


@torch.no_grad()
def evaluate(trained: Trained, *, count: int, length: int) -> dict[str, float]:
    """What share of clips is striped, of held-out prompts that say so and of the same without it."""
    scenes = _scenes(13, count, held_out=True)
    device = next(trained.trainee.parameters()).device
    told = {}
    for name, how in (("striped, said", striped_sentence), ("striped, not said", sentence)):
        ids = torch.from_numpy(tokens([how(scenes, row, 9) for row in range(len(scenes))])).to(device)
        x, _ = flow.sample(trained.trainee, ids, flow.SHORT, 28, seed=1, length=length)
        looked = [are_striped(clip, scenes, row) for row, clip in enumerate(trained.frames(x, flow.SHORT))]
        told[name] = round(float(np.mean(looked)), 4)
    return told
