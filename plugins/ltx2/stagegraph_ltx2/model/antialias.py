"""Activations for sound: a periodic one, applied at twice the rate so that what it adds does not alias."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .layers import constant

TAPS = 12


def low_pass() -> Tensor:
    """A filter [1, 1, 12] of sum 1 that keeps the lower half of the frequencies: a sinc in a Kaiser window."""
    half_width = 0.3  # of the band in which it falls off, as a fraction of the sampling rate
    attenuation = 2.285 * (TAPS // 2 - 1) * torch.pi * 4 * half_width + 7.95  # dB
    window = torch.kaiser_window(TAPS, periodic=False, beta=0.1102 * (attenuation - 8.7), device="cpu")
    filter_ = window * torch.sinc((torch.arange(TAPS, device="cpu") - (TAPS - 1) / 2) / 2)
    return constant((filter_ / filter_.sum())[None, None])


class SnakeBeta(nn.Module):
    """x + sin²(α x) / β, with α and β learned for each channel, as logarithms."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.zeros(channels))
        self.beta = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """x [b, c, s]."""
        alpha, beta = self.alpha.exp()[:, None], self.beta.exp()[:, None]
        return x + (x * alpha).sin().square() / (beta + 1e-9)


class Upsample(nn.Module):
    """Double the rate of sound [b, c, s]."""

    filter: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("filter", low_pass())

    def forward(self, x: Tensor) -> Tensor:
        edge = TAPS // 2 - 1
        x = F.pad(x, (edge, edge), mode="replicate")
        x = 2 * F.conv_transpose1d(x, self.filter.expand(x.shape[1], -1, -1), stride=2, groups=x.shape[1])
        return x[..., 3 * edge : -3 * edge]


class Downsample(nn.Module):
    """Halve the rate of sound [b, c, s]."""

    filter: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("filter", low_pass())

    def forward(self, x: Tensor) -> Tensor:
        x = F.pad(x, (TAPS // 2 - 1, TAPS // 2), mode="replicate")
        return F.conv1d(x, self.filter.expand(x.shape[1], -1, -1), stride=2, groups=x.shape[1])


class AntiAliased(nn.Module):
    """SnakeBeta at twice the rate."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.upsample = Upsample()
        self.act = SnakeBeta(channels)
        self.downsample = Downsample()

    def forward(self, x: Tensor) -> Tensor:
        """x [b, c, s]."""
        y: Tensor = self.downsample(self.act(self.upsample(x)))
        return y
