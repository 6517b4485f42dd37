"""Adaptive layer norm: how the noise level reaches a network, as scales, shifts and gates."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SINUSOIDS = 256


def sinusoidal(t: Tensor) -> Tensor:
    """Embed timesteps t [...] in fp32 as [..., 256]: first the cosines, then the sines, of falling frequency."""
    half = SINUSOIDS // 2
    # The product comes before the quotient: at t = 1000 another order already moves the angle by 1e-4.
    exponents = -math.log(10_000) * torch.arange(half, dtype=torch.float32, device=t.device) / half
    angles = t.float()[..., None] * exponents.exp()
    return torch.cat((angles.cos(), angles.sin()), dim=-1)


def modulate(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    return x * (1 + scale) + shift


def rows(table: Tensor, modulation: Tensor) -> tuple[Tensor, ...]:
    """Add a block's learned table [n, d] to the shared modulation [b, 1 or t, n, d]; n tensors [b, 1 or t, d]."""
    return (table + modulation).unbind(2)


class TimestepMLP(nn.Module):
    """Two linear layers with SiLU between them."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear_1 = nn.Linear(SINUSOIDS, width)
        self.linear_2 = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.linear_2(F.silu(self.linear_1(x)))
        return y


class TimestepEmbedder(nn.Module):
    """Timesteps t [...] to features [..., d] of the given dtype."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.timestep_embedder = TimestepMLP(width)

    def forward(self, t: Tensor, dtype: torch.dtype) -> Tensor:
        y: Tensor = self.timestep_embedder(sinusoidal(t).to(dtype))
        return y


class AdaLN(nn.Module):
    """Timesteps to n vectors of modulation, which all blocks share and each adds its own table to."""

    def __init__(self, width: int, n: int) -> None:
        super().__init__()
        self.n = n
        self.emb = TimestepEmbedder(width)
        self.linear = nn.Linear(width, n * width)

    def forward(self, t: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Embed the timesteps of samples [b] or of tokens [b, t].

        Returns:
            The modulation [b, 1 or t, n, d], and the features [b, 1 or t, d] that it was made from.
        """
        features = self.emb(t if t.ndim == 2 else t[:, None], dtype)
        return torch.unflatten(self.linear(F.silu(features)), 2, (self.n, -1)), features
