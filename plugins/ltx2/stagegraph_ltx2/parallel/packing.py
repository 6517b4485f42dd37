"""What is told of tensors before they follow, and scenes as messages."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from stagegraph_ltx2.model.adaln import Levels
from stagegraph_ltx2.model.conditions import Biases, Perturbation
from stagegraph_ltx2.scene import Batch, Scene, Side


def described(tensors: list[Tensor]) -> list[list[Any]]:
    """Number formats and shapes, for a message."""
    return [[str(tensor.dtype).removeprefix("torch."), list(tensor.shape)] for tensor in tensors]


def like(descriptions: list[list[Any]], device: torch.device) -> list[Tensor]:
    """Tensors of these number formats and shapes, to be filled."""
    return [torch.empty(shape, dtype=getattr(torch, dtype), device=device) for dtype, shape in descriptions]


def pack(scene: Scene) -> tuple[Any, list[Tensor]]:
    """A scene as plain JSON, which counts its tensors, and these."""
    tensors: list[Tensor] = []

    def put(tensor: Tensor | None) -> int | None:
        if tensor is None:
            return None
        tensors.append(tensor)
        return len(tensors) - 1

    def side(one: Side) -> Any:
        levels = [put(tensor) for tensor in one.levels] if one.levels is not None else None
        return put(one.positions), levels, one.moving

    def batch(one: Batch) -> Any:
        left_out = one.perturbation
        blocks = sorted(left_out.video_blocks), sorted(left_out.audio_blocks)
        return one.passes, put(one.video_text), put(one.audio_text), (*blocks, put(left_out.kept), left_out.isolated)

    sides, batches = [side(scene.video), side(scene.audio)], [batch(one) for one in scene.batches]
    return (sides, batches, scene.cross_timestep, [put(bias) for bias in scene.biases]), tensors


def unpack(plain: Any, tensors: list[Tensor]) -> Scene:
    """The scene again."""
    sides, batches, cross_timestep, biases = plain

    def get(number: int | None) -> Tensor | None:
        return None if number is None else tensors[number]

    def side(positions: int, levels: list[int] | None, moving: bool) -> Side:
        values = Levels(*(tensors[number] for number in levels)) if levels is not None else None
        return Side(tensors[positions], values, moving)

    def batch(passes: int, video: int, audio: int, left_out: Any) -> Batch:
        video_blocks, audio_blocks, kept, isolated = left_out
        perturbation = Perturbation(frozenset(video_blocks), frozenset(audio_blocks), get(kept), isolated)
        return Batch(passes, tensors[video], tensors[audio], perturbation)

    video, audio = (side(*one) for one in sides)
    return Scene(video, audio, tuple(batch(*one) for one in batches), cross_timestep, Biases(*map(get, biases)))
