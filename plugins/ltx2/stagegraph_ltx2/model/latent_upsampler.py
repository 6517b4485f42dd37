"""Enlarging the latents of a video, in space or in time, between two passes of denoising."""

from __future__ import annotations

from math import prod

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .config import STRIDES, LatentUpsamplerConfig
from .layers import constant
from .video_blocks import depth_to_space

BINOMIAL = (1, 4, 6, 4, 1)
"""The blur that precedes thinning out, in height as in width."""


class ResBlock(nn.Module):
    """Two convolutions beside the identity, with the activation after the sum."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv3d(channels, channels, 3, padding=1)
        self.norm1 = nn.GroupNorm(32, channels)
        self.conv2 = nn.Conv3d(channels, channels, 3, padding=1)
        self.norm2 = nn.GroupNorm(32, channels)

    def forward(self, x: Tensor) -> Tensor:
        y = F.silu(self.norm1(self.conv1(x)))
        return F.silu(x + self.norm2(self.conv2(y)))


class Unfold(nn.Sequential):
    """A convolution to more channels, which become neighbours in space or in time."""

    def __init__(self, channels: int, stride: tuple[int, int, int]) -> None:
        conv = nn.Conv2d if stride[0] == 1 else nn.Conv3d
        super().__init__(conv(channels, channels * prod(stride), 3, padding=1))
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        y = _by_frame(self[0], x) if self.stride[0] == 1 else self[0](x)
        # The first latent frame stands for one frame: of the two that it unfolds to, the copy goes.
        return depth_to_space(y, self.stride)[:, :, self.stride[0] - 1 :]


class Blur(nn.Module):
    """Blur frames [b, c, h, w] and keep every n-th row and column."""

    kernel: Tensor

    def __init__(self, n: int) -> None:
        super().__init__()
        self.n = n
        weights = torch.tensor(BINOMIAL, dtype=torch.float32, device="cpu") / sum(BINOMIAL)
        self.register_buffer("kernel", constant(torch.outer(weights, weights)[None, None]))

    def forward(self, x: Tensor) -> Tensor:
        if self.n == 1:
            return x
        return F.conv2d(x, self.kernel.expand(x.shape[1], -1, -1, -1), stride=self.n, padding=2, groups=x.shape[1])


class RationalResampler(nn.Module):
    """Enlarge height and width by a whole number, then thin them out by another one."""

    def __init__(self, channels: int, up: int, down: int) -> None:
        super().__init__()
        self.up = up
        self.conv = nn.Conv2d(channels, channels * up**2, 3, padding=1)
        self.blur_down = Blur(down)

    def forward(self, x: Tensor) -> Tensor:
        return _by_frame(self.blur_down, depth_to_space(_by_frame(self.conv, x), (1, self.up, self.up)))


class LatentUpsampler(nn.Module):
    """Enlarge latents [b, c, f, h, w] of the video VAE, which are not normalised."""

    def __init__(self, config: LatentUpsamplerConfig) -> None:
        super().__init__()
        self.config = c = config
        width = c.mid_channels
        self.initial_conv = nn.Conv3d(c.in_channels, width, 3, padding=1)
        self.initial_norm = nn.GroupNorm(32, width)
        self.res_blocks = nn.Sequential(*(ResBlock(width) for _ in range(c.num_blocks_per_stage)))
        if c.temporal_upsample:
            self.upsampler: nn.Module = Unfold(width, STRIDES["spatiotemporal" if c.spatial_upsample else "temporal"])
        elif c.use_rational_resampler:
            self.upsampler = RationalResampler(width, c.scale.numerator, c.scale.denominator)
        else:
            self.upsampler = Unfold(width, STRIDES["spatial"])
        self.post_upsample_res_blocks = nn.Sequential(*(ResBlock(width) for _ in range(c.num_blocks_per_stage)))
        self.final_conv = nn.Conv3d(width, c.in_channels, 3, padding=1)

    def forward(self, z: Tensor) -> Tensor:
        """Enlarge z; height and width by `config.scale`, f frames to 2 f - 1 if it enlarges time."""
        x = F.silu(self.initial_norm(self.initial_conv(z)))
        x = self.upsampler(self.res_blocks(x))
        y: Tensor = self.final_conv(self.post_upsample_res_blocks(x))
        return y


def match_statistics(z: Tensor, reference: Tensor, factor: float = 1.0) -> Tensor:
    """Give each channel of each sample the mean and deviation that it has in the reference (AdaIN).

    Args:
        z: [b, c, ...].
        reference: [b, c, ...], of any size.
        factor: How far: 0 leaves z, 1 matches.
    """
    deviation, mean = torch.std_mean(z.flatten(2), dim=2, keepdim=True)
    wanted_deviation, wanted_mean = torch.std_mean(reference.flatten(2), dim=2, keepdim=True)
    matched = (z.flatten(2) - mean) / deviation * wanted_deviation + wanted_mean
    return torch.lerp(z, matched.view_as(z), factor)


def compress_range(z: Tensor, strength: float) -> Tensor:
    """Make large values smaller (tone mapping), from not at all at strength 0 to by more than half at 1."""
    k = 0.75 * strength
    return z * (1 - 0.8 * k * torch.sigmoid(4 * k * (z.abs() - 1)))


def _by_frame(module: nn.Module, x: Tensor) -> Tensor:
    """Apply a module for pictures to each frame of x [b, c, f, h, w]."""
    y: Tensor = module(x.transpose(1, 2).flatten(0, 1))
    return torch.unflatten(y, 0, (len(x), -1)).transpose(1, 2)
