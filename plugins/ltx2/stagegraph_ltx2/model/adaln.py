"""Adaptive layer norm: how the noise level reaches a network, as scales, shifts and gates."""

from __future__ import annotations

import math
from typing import NamedTuple

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


class Levels(NamedTuple):
    """Timesteps of tokens that share few: what is made of them is made once a value, not once a token."""

    values: Tensor
    """[b, k], k distinct timesteps."""
    which: Tensor
    """[b, t], which of the k each token has."""


def scaled(t: Tensor | Levels, by: Tensor | float) -> Tensor | Levels:
    """The same tokens at other timesteps; `by` is a number, or one [b, 1] a sample."""
    return t._replace(values=t.values * by) if isinstance(t, Levels) else t * by


def levels(x: Tensor) -> Levels:
    """Find what tokens share, for example in a denoise mask [b, t].

    Waits for the device, so call it once before a loop, whose steps then scale the result.
    """
    values, which = torch.unique(x, return_inverse=True)
    return Levels(values.expand(len(x), -1), which)


class Modulation(NamedTuple):
    """n vectors for each token, those that tokens share only once."""

    vectors: Tensor
    """[b, 1, n, d] of whole samples, [b, t, n, d] of tokens, or [b, k, n, d] of levels."""
    which: Tensor | None
    """[b, t], each token's row of the vectors of all samples; None if the vectors are not of levels."""


def modulate(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """x (1 + scale) + shift, in one pass over x."""
    return torch.addcmul(shift, x, 1 + scale)


def rows(table: Tensor, modulation: Modulation, first: int = 0, last: int | None = None) -> tuple[Tensor, ...]:
    """Add rows of a block's learned table [n, d] to the shared modulation; tensors [b, 1 or t, d]."""
    vectors = table[first:last] + modulation.vectors[:, :, first:last]
    if modulation.which is not None:
        vectors = vectors.flatten(0, 1)[modulation.which]
    return vectors.unbind(2)


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

    def forward(self, t: Tensor | Levels, dtype: torch.dtype) -> tuple[Modulation, Modulation]:
        """Embed the timesteps of samples [b], of tokens [b, t], or of tokens by their levels.

        Returns:
            The n vectors of modulation, and the one vector of features that they were made from.
        """
        values, which = t if isinstance(t, Levels) else (t if t.ndim == 2 else t[:, None], None)
        if which is not None:
            which = which + values.shape[1] * torch.arange(len(values), device=which.device)[:, None]
        features = self.emb(values, dtype)
        vectors = torch.unflatten(self.linear(F.silu(features)), 2, (self.n, -1))
        return Modulation(vectors, which), Modulation(features[:, :, None], which)
