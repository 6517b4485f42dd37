"""Random weights under which every part of a network matters, for comparing two builds of the same network."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

#: What a checkpoint holds beside weights.
CONSTANTS = ("timestep_scale_multiplier", ".filter", ".kernel")


def randomize(model: nn.Module, seed: int = 0) -> None:
    """Give every entry of the state dict random values that keep activations near 1; nothing stays 0 or exactly 1."""
    generator = torch.Generator().manual_seed(seed)
    state = model.state_dict()
    for name, old in state.items():
        if name.endswith(CONSTANTS):
            continue
        u = torch.randn(old.shape, generator=generator)
        if name.endswith(("latents_std", "norm_q.weight", "norm_k.weight")):
            u = 1 + 0.2 * u.clamp(-2, 2)
        elif "table" in name:
            u = 0.5 * u
        elif name.endswith("mel_basis"):
            u = u.abs() / math.sqrt(old.shape[1])
        elif old.ndim <= 1:
            u = 0.2 * u
        else:
            u = u / math.sqrt(old.numel() / old.shape[0])
        state[name] = u
    model.load_state_dict(state, strict=True)


def share(ours: nn.Module, theirs: nn.Module, seed: int = 0) -> None:
    """Give both the same random weights, each loading what the other saves under the same names."""
    randomize(theirs, seed)
    ours.load_state_dict(theirs.state_dict(), strict=True)
    theirs.load_state_dict(ours.state_dict(), strict=True)
    ours.eval()
    theirs.eval()


def relative_error(got: Tensor, expected: Tensor) -> float:
    """Largest difference, in units of the largest expected value; the expected values must differ among themselves."""
    assert got.shape == expected.shape
    assert expected.isfinite().all()
    assert expected.std() > 1e-2 * expected.abs().max()
    return ((got - expected).abs().max() / expected.abs().max()).item()
