"""The vocoder: mel spectrograms to sound, in the manner of HiFi-GAN (LTX-2.0) or of BigVGAN (LTX-2.3)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .antialias import AntiAliased
from .config import VocoderConfig


def activation(config: VocoderConfig, channels: int) -> nn.Module:
    """What comes before a convolution."""
    if config.act_fn == "snakebeta":
        return AntiAliased(channels)
    return nn.LeakyReLU(config.leaky_relu_negative_slope)


class ResBlock(nn.Module):
    """Pairs of convolutions beside the identity, the first of each pair dilated."""

    def __init__(self, channels: int, kernel: int, dilations: tuple[int, ...], config: VocoderConfig) -> None:
        super().__init__()
        self.convs1 = nn.ModuleList(
            nn.Conv1d(channels, channels, kernel, dilation=dilation, padding="same") for dilation in dilations
        )
        self.convs2 = nn.ModuleList(nn.Conv1d(channels, channels, kernel, padding="same") for _ in dilations)
        self.acts1 = nn.ModuleList(activation(config, channels) for _ in dilations)
        self.acts2 = nn.ModuleList(activation(config, channels) for _ in dilations)

    def forward(self, x: Tensor) -> Tensor:
        for act1, conv1, act2, conv2 in zip(self.acts1, self.convs1, self.acts2, self.convs2, strict=True):
            x = x + conv2(act2(conv1(act1(x))))
        return x


class Vocoder(nn.Module):
    """Upsample mel frames step by step; at each step, average residual blocks of several kernel sizes."""

    def __init__(self, config: VocoderConfig) -> None:
        super().__init__()
        self.config = c = config
        widths = [c.hidden_channels >> step for step in range(len(c.upsample_factors) + 1)]
        self.conv_in = nn.Conv1d(c.in_channels, widths[0], 7, padding=3)
        self.upsamplers = nn.ModuleList(
            nn.ConvTranspose1d(widths[i], widths[i + 1], kernel, stride=factor, padding=(kernel - factor) // 2)
            for i, (factor, kernel) in enumerate(zip(c.upsample_factors, c.upsample_kernel_sizes, strict=True))
        )
        # All in one list, those of the first step first.
        self.resnets = nn.ModuleList(
            ResBlock(width, kernel, dilations, c)
            for width in widths[1:]
            for kernel, dilations in zip(c.resnet_kernel_sizes, c.resnet_dilations, strict=True)
        )
        # The default slope of 0.01, not the configured one: that is how LTX-2.0 was trained.
        self.act_out = AntiAliased(widths[-1]) if c.act_fn == "snakebeta" else nn.LeakyReLU()
        self.conv_out = nn.Conv1d(widths[-1], c.out_channels, 7, padding=3, bias=c.final_bias)

    def forward(self, mel: Tensor) -> Tensor:
        """Turn log-mel spectrograms [b, 2, t, mel bins] into waveforms [b, 2, s], s being 240 t in LTX-2.0."""
        c = self.config
        x = self.conv_in(mel.transpose(2, 3).flatten(1, 2))
        kernels = len(c.resnet_kernel_sizes)
        for i, upsample in enumerate(self.upsamplers):
            if c.act_fn == "leaky_relu":
                x = F.leaky_relu(x, c.leaky_relu_negative_slope)
            x = upsample(x)
            x = torch.stack([block(x) for block in self.resnets[i * kernels : (i + 1) * kernels]]).mean(0)
        return self._finish(self.conv_out(self.act_out(x)))

    def _finish(self, x: Tensor) -> Tensor:
        if self.config.final_act_fn == "tanh":
            return x.tanh()
        return x.clamp(-1, 1) if self.config.final_act_fn == "clamp" else x
