"""The small parts that several networks share: norms, feed-forward and the projection of text."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def rms_norm(x: Tensor, weight: Tensor | None = None, eps: float = 1e-6) -> Tensor:
    """Divide x [..., d] by the root mean square of its last axis, which is taken in fp32."""
    return F.rms_norm(x, x.shape[-1:], weight, eps)


def pixel_norm(x: Tensor, eps: float) -> Tensor:
    """Divide x [b, c, ...] by the root mean square over its channels."""
    return x / rms(x, eps)


def rms(x: Tensor, eps: float) -> Tensor:
    """The root mean square of x [b, c, ...] over its channels, [b, 1, ...]."""
    if x.device.type == "cpu":  # which has no fast norm across memory
        return (x.square().mean(1, keepdim=True) + eps).sqrt()
    norm: Tensor = torch.linalg.vector_norm(x, dim=1, keepdim=True)
    return ((norm / math.sqrt(x.shape[1])).square() + eps).sqrt()


class FeedForward(nn.Module):
    """Linear to 4d, GELU (tanh form), linear back to d."""

    def __init__(self, width: int, *, bias: bool = True) -> None:
        super().__init__()
        # The checkpoint counts a dropout between the two layers, which has no weights.
        self.net = nn.Sequential(GELULinear(width, 4 * width, bias), nn.Identity(), nn.Linear(4 * width, width, bias))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.net(x)
        return y


class GELULinear(nn.Module):
    """GELU (tanh form) of a linear layer."""

    def __init__(self, width_in: int, width_out: int, bias: bool) -> None:
        super().__init__()
        self.proj = nn.Linear(width_in, width_out, bias)

    def forward(self, x: Tensor) -> Tensor:
        return F.gelu(self.proj(x), approximate="tanh")


class TextProjection(nn.Module):
    """Bring text features to the width of a stream: [b, t, c] to [b, t, d]."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.linear_1 = nn.Linear(channels, width)
        self.linear_2 = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.linear_2(F.gelu(self.linear_1(x), approximate="tanh"))
        return y


def constant(values: Tensor) -> Tensor:
    """Values of a buffer, computed on the CPU, on the device where the network is being built.

    On the meta device, where models are built to be filled, most arithmetic imports the compiler (2 s).
    """
    return values.to(torch.get_default_device())


def learned_table(n: int, width: int) -> nn.Parameter:
    """n learned vectors [n, d] of modulation, of variance 1/d at first.

    Drawn uniformly: a normal draw on the meta device, where models are built to be filled, imports the compiler (2 s).
    """
    bound = (3 / width) ** 0.5
    return nn.Parameter(torch.empty(n, width).uniform_(-bound, bound))
