"""Weights and inputs without a random number generator, so that recorded outputs hold on every machine."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import pytest
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
        if name.endswith(("timestep_scale_multiplier", ".filter", ".kernel")):
            continue
        u = hashed(old.shape, stream)
        if name.endswith("latents_std") or (old.ndim == 1 and name.endswith("weight")):
            u = 1 + 0.1 * u
        elif name.endswith("mel_basis"):
            u = u.abs() / math.sqrt(old.shape[1])
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


def assert_golden(x: Tensor, shape: list[int], total: float, magnitude: float, *elements: float) -> None:
    """Compare with a record of six significant digits."""
    assert list(x.shape) == shape
    got_total, got_magnitude, *got = summary(x)
    assert got == pytest.approx(elements, rel=2e-5, abs=1e-5)
    assert got_magnitude == pytest.approx(magnitude, rel=1e-5)
    # A sum cancels, so its error is that of its terms.
    assert got_total == pytest.approx(total, rel=1e-5, abs=1e-6 * magnitude * x.numel())
