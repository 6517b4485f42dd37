"""The vocoder: mel spectrograms to sound, in the manner of HiFi-GAN."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .config import VocoderConfig


class ResBlock(nn.Module):
    """Pairs of convolutions beside the identity, the first of each pair dilated."""

    def __init__(self, channels: int, kernel: int, dilations: tuple[int, ...], slope: float) -> None:
        super().__init__()
        self.slope = slope
        self.convs1 = nn.ModuleList(
            nn.Conv1d(channels, channels, kernel, dilation=dilation, padding="same") for dilation in dilations
        )
        self.convs2 = nn.ModuleList(nn.Conv1d(channels, channels, kernel, padding="same") for _ in dilations)

    def forward(self, x: Tensor) -> Tensor:
        for conv1, conv2 in zip(self.convs1, self.convs2, strict=True):
            x = x + conv2(F.leaky_relu(conv1(F.leaky_relu(x, self.slope)), self.slope))
        return x


class Vocoder(nn.Module):
    """Upsample mel frames step by step; at each step, average residual blocks of several kernel sizes."""

    def __init__(self, config: VocoderConfig) -> None:
        super().__init__()
        self.config = config
        c = config
        widths = [c.hidden_channels >> step for step in range(len(c.upsample_factors) + 1)]
        self.conv_in = nn.Conv1d(c.in_channels, widths[0], 7, padding=3)
        self.upsamplers = nn.ModuleList(
            nn.ConvTranspose1d(widths[i], widths[i + 1], kernel, stride=factor, padding=(kernel - factor) // 2)
            for i, (factor, kernel) in enumerate(zip(c.upsample_factors, c.upsample_kernel_sizes, strict=True))
        )
        # All in one list, those of the first step first.
        self.resnets = nn.ModuleList(
            ResBlock(width, kernel, dilations, c.leaky_relu_negative_slope)
            for width in widths[1:]
            for kernel, dilations in zip(c.resnet_kernel_sizes, c.resnet_dilations, strict=True)
        )
        self.conv_out = nn.Conv1d(widths[-1], c.out_channels, 7, padding=3)

    def forward(self, mel: Tensor) -> Tensor:
        """Turn log-mel spectrograms [b, 2, t, mel bins] into waveforms [b, 2, s] in [-1, 1], s being 240 t."""
        x = self.conv_in(mel.transpose(2, 3).flatten(1, 2))
        kernels = len(self.config.resnet_kernel_sizes)
        for i, upsample in enumerate(self.upsamplers):
            x = upsample(F.leaky_relu(x, self.config.leaky_relu_negative_slope))
            x = torch.stack([block(x) for block in self.resnets[i * kernels : (i + 1) * kernels]]).mean(0)
        # The default slope of 0.01, not the configured one: that is how the released model was trained.
        y: Tensor = self.conv_out(F.leaky_relu(x))
        return y.tanh()
