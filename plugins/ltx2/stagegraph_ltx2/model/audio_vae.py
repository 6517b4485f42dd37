"""The audio VAE: mel spectrograms to latents that are 4 times smaller in time and in frequency, and back."""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .config import AudioVAEConfig
from .layers import pixel_norm

EPS = 1e-6


def pack(z: Tensor) -> Tensor:
    """Latents [b, c, l, mel] to tokens [b, l, c x mel]."""
    return z.transpose(1, 2).flatten(2)


def unpack(tokens: Tensor, channels: int = 8) -> Tensor:
    """The inverse of `pack`."""
    return torch.unflatten(tokens, 2, (channels, -1)).transpose(1, 2)


class CausalConv2d(nn.Module):
    """A convolution that keeps the size and, in time, sees no later frame; padded with zeros."""

    def __init__(self, channels_in: int, channels_out: int, kernel: int = 3) -> None:
        super().__init__()
        self.padding = (kernel // 2, kernel // 2, kernel - 1, 0)
        self.conv = nn.Conv2d(channels_in, channels_out, kernel)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv(F.pad(x, self.padding))
        return y


class ResBlock(nn.Module):
    """Two convolutions beside the identity, or beside a 1 x 1 convolution where the width changes."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.conv1 = CausalConv2d(channels_in, channels_out)
        self.conv2 = CausalConv2d(channels_out, channels_out)
        self.nin_shortcut = nn.Identity() if channels_in == channels_out else CausalConv2d(channels_in, channels_out, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv1(F.silu(pixel_norm(x, EPS)))
        h = self.conv2(F.silu(pixel_norm(h, EPS)))
        y: Tensor = self.nin_shortcut(x) + h
        return y


class Downsample(nn.Module):
    """Halve time and frequency; a single frame stays one."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv(F.pad(x, (0, 1, 2, 0)))
        return y


class Upsample(nn.Module):
    """Double time and frequency and drop the first frame: n frames become 2n - 1."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = CausalConv2d(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))
        return x[:, :, 1:]


class MidBlock(nn.Module):
    """The two residual blocks at the bottom."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.block_1 = ResBlock(channels, channels)
        self.block_2 = ResBlock(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.block_2(self.block_1(x))
        return y


class Level(nn.Module):
    """Residual blocks of one resolution, the first of which changes the width."""

    def __init__(self, channels_in: int, channels_out: int, layers: int) -> None:
        super().__init__()
        widths = pairwise((channels_in, *(channels_out,) * layers))
        self.block = nn.Sequential(*(ResBlock(*pair) for pair in widths))


class DownLevel(Level):
    """Residual blocks and, but for the last level, a downsampling."""

    def __init__(self, channels_in: int, channels_out: int, layers: int, *, last: bool) -> None:
        super().__init__(channels_in, channels_out, layers)
        self.downsample = nn.Identity() if last else Downsample(channels_out)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.downsample(self.block(x))
        return y


class UpLevel(Level):
    """Residual blocks and, but for the last level, an upsampling."""

    def __init__(self, channels_in: int, channels_out: int, layers: int, *, last: bool) -> None:
        super().__init__(channels_in, channels_out, layers)
        self.upsample = nn.Identity() if last else Upsample(channels_out)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.upsample(self.block(x))
        return y


class Encoder(nn.Module):
    """Mel spectrograms to the mean of the latent distribution."""

    def __init__(self, config: AudioVAEConfig) -> None:
        super().__init__()
        c = config
        self.latent_channels = c.latent_channels
        widths = [c.base_channels * multiple for multiple in c.ch_mult]
        self.conv_in = CausalConv2d(c.in_channels, c.base_channels)
        self.down = nn.ModuleList(
            DownLevel(*pair, c.num_res_blocks, last=level == len(widths) - 1)
            for level, pair in enumerate(pairwise((c.base_channels, *widths)))
        )
        self.mid = MidBlock(widths[-1])
        self.conv_out = CausalConv2d(widths[-1], 2 * c.latent_channels)  # mean and log variance

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv_in(x)
        for level in self.down:
            x = level(x)
        x = self.conv_out(F.silu(pixel_norm(self.mid(x), EPS)))
        return x[:, : self.latent_channels]


class Decoder(nn.Module):
    """Latents to mel spectrograms."""

    def __init__(self, config: AudioVAEConfig) -> None:
        super().__init__()
        c = config
        widths = [c.base_channels * multiple for multiple in c.ch_mult]
        self.conv_in = CausalConv2d(c.latent_channels, widths[-1])
        self.mid = MidBlock(widths[-1])
        # Numbered as in the encoder, shallow to deep, and run from deep to shallow.
        self.up = nn.ModuleList(
            UpLevel(deeper, width, c.num_res_blocks + 1, last=level == 0)
            for level, (width, deeper) in enumerate(pairwise((*widths, widths[-1])))
        )
        self.conv_out = CausalConv2d(widths[0], c.output_channels)

    def forward(self, z: Tensor) -> Tensor:
        z = self.mid(self.conv_in(z))
        for level in reversed(self.up):
            z = level(z)
        y: Tensor = self.conv_out(F.silu(pixel_norm(z, EPS)))
        return y


class AudioVAE(nn.Module):
    """Encoder, decoder, and the statistics by which the transformer's tokens are normalised."""

    latents_mean: Tensor
    latents_std: Tensor

    def __init__(self, config: AudioVAEConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.decoder = Decoder(config)
        self.register_buffer("latents_mean", torch.zeros(config.base_channels))
        self.register_buffer("latents_std", torch.ones(config.base_channels))

    def encode(self, mel: Tensor) -> Tensor:
        """Encode log-mel spectrograms.

        Args:
            mel: [b, 2, 4 l - 3, mel bins].

        Returns:
            The mode of the latents [b, c, l, mel bins / 4], not normalised.
        """
        y: Tensor = self.encoder(mel)
        return y

    def decode(self, z: Tensor) -> Tensor:
        """Decode latents that are not normalised: [b, c, l, mel bins / 4] to log-mel [b, 2, 4 l - 3, mel bins]."""
        y: Tensor = self.decoder(z)
        return y

    def normalize(self, tokens: Tensor) -> Tensor:
        """Packed latents [b, l, d] of the VAE to tokens of the transformer."""
        return (tokens - self.latents_mean.to(tokens)) / self.latents_std.to(tokens)

    def denormalize(self, tokens: Tensor) -> Tensor:
        """Tokens [b, l, d] of the transformer to packed latents of the VAE."""
        return tokens * self.latents_std.to(tokens) + self.latents_mean.to(tokens)
