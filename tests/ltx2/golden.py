"""Weights and inputs without a random number generator, so that recorded outputs hold on every machine."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor, nn

WORD = np.uint64(0xFFFF_FFFF)


def hashed(shape: Iterable[int], stream: int) -> Tensor:
    """Numbers in [-1, 1) from an integer hash of their flat index and the number of the stream, fp32."""
    shape = tuple(shape)
    index = np.arange(1, math.prod(shape) + 1, dtype=np.uint64)
    h = (index * np.uint64(2654435761) + np.uint64((stream + 1) * 2246822519)) & WORD
    h ^= h >> np.uint64(15)
    h = h * np.uint64(2246822519) & WORD
    h ^= h >> np.uint64(13)
    h = h * np.uint64(3266489917) & WORD
    h ^= h >> np.uint64(16)
    return torch.from_numpy((h / 2**32 * 2 - 1).astype(np.float32)).reshape(shape)


def fill(model: nn.Module) -> None:
    """Give every entry of the state dict hashed values of a sensible scale; norm weights are about 1."""
    state = model.state_dict()
    for stream, (name, old) in enumerate(sorted(state.items())):
        if name.endswith("timestep_scale_multiplier"):
            continue
        u = hashed(old.shape, stream)
        if name.endswith("latents_std") or (old.ndim == 1 and name.endswith("weight")):
            u = 1 + 0.1 * u
        elif old.ndim <= 1:
            u = 0.1 * u
        else:
            u = u * math.sqrt(3 / (old.numel() / old.shape[0]))
        state[name] = u
    model.load_state_dict(state, strict=True)


def summary(x: Tensor) -> list[float]:
    """Sum, mean magnitude and six elements: what a golden record holds of an output."""
    flat = x.flatten()
    n = len(flat)
    picked = flat[[0, 1, n // 3, n // 2, n - 2, n - 1]].tolist()
    return [flat.double().sum().item(), flat.double().abs().mean().item(), *picked]
