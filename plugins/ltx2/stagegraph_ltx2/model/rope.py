"""Rotary position embedding: each pair of channels is turned by an angle that grows with a position.

Positions are fractions of a range along each axis; frequencies grow geometrically from π/2 to θ·π/2. Everything is in
fp32, whatever the dtype of the model, because the highest frequencies turn by thousands of radians.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


class Rope(NamedTuple):
    """The angles of some positions: cos and sin [b or 1, heads, t, c / 2] for heads of c channels, fp32.

    A named tuple, as is all that carries tensors into a block: torch.compile cannot trace the making of an attrs value.
    """

    cos: Tensor
    sin: Tensor
    layout: str
    """Which channels of a head are pairs: "split" has channel i and i + c / 2, "interleaved" has 2i and 2i + 1."""


def rope(
    positions: Tensor,
    ranges: Sequence[float],
    width: int,
    heads: int,
    *,
    theta: float = 10_000.0,
    double: bool = True,
    layout: str = "split",
) -> Rope:
    """Compute the angles for positions along one or several axes.

    Args:
        positions: [b, axes, t], fp32.
        ranges: For each axis, the position at which the fraction is 1.
        width: Channels of all heads together.
        heads: How many heads share them.
        theta: Ratio of the highest frequency to the lowest.
        double: Compute the frequencies in fp64 before they become fp32.
        layout: See `Rope.layout`.
    """
    # Filled on the device: a copy from the host could not be captured in a CUDA graph.
    fractions = positions / torch.stack([positions.new_full((1,), extent) for extent in ranges])
    steps = width // (2 * len(ranges))
    exponents = torch.linspace(0, 1, steps, dtype=torch.float64 if double else torch.float32, device=positions.device)
    frequencies = (theta**exponents * torch.pi / 2).float()
    # Frequency-major: the axes alternate from one channel pair to the next.
    angles = ((2 * fractions - 1)[..., None] * frequencies).permute(0, 2, 3, 1).flatten(2)
    # Pairs that are left over when the axes do not divide the width come first, and do not turn.
    angles = F.pad(angles, (width // 2 - angles.shape[-1], 0))
    angles = torch.unflatten(angles, 2, (heads, -1)).transpose(1, 2)
    return Rope(angles.cos(), angles.sin(), layout)


def rotate(x: Tensor, by: Rope) -> Tensor:
    """Turn the channel pairs of x [b, heads, t, c]; computed in fp32, returned in the dtype of x."""
    if by.layout == "split":
        u, v = x.chunk(2, dim=-1)
        return torch.cat([half.type_as(x) for half in _turn(u, v, by)], dim=-1)
    u, v = torch.unflatten(x, -1, (-1, 2)).unbind(-1)
    return torch.stack([half.type_as(x) for half in _turn(u, v, by)], dim=-1).flatten(-2)


def _turn(u: Tensor, v: Tensor, by: Rope) -> tuple[Tensor, Tensor]:
    """Products with fp32 are fp32, whatever u and v are: they need not be copied into fp32 before."""
    return torch.addcmul(u * by.cos, v, by.sin, value=-1), torch.addcmul(v * by.cos, u, by.sin)
