"""The noise that generation starts from, the same on every device."""

from __future__ import annotations

import torch
from torch import Tensor

from .shapes import AUDIO_CHANNELS, AUDIO_COMPRESSION, MEL_BINS, VIDEO_CHANNELS, AudioShape, LatentShape

AUDIO_WIDTH = AUDIO_CHANNELS * MEL_BINS // AUDIO_COMPRESSION


def seeded(seed: int) -> torch.Generator:
    """A generator on the CPU, whose numbers do not depend on the device that denoises."""
    return torch.Generator().manual_seed(seed)


def draw_noise(
    generator: torch.Generator,
    video: LatentShape,
    audio: AudioShape,
    *,
    batch: int = 1,
    video_channels: int = VIDEO_CHANNELS,
    audio_channels: int = AUDIO_WIDTH,
) -> tuple[Tensor, Tensor]:
    """Draw standard normal tokens: all video first, then all audio, each sample after sample in token order.

    A generator that has drawn once goes on where it was, so a refine pass that shares it gets new noise. The first
    sample of a batch gets the video noise that it would get alone, and other audio noise.

    Returns:
        Video [b, t, c] and audio [b, t, c], fp32, on the CPU.
    """
    video_noise = torch.randn(batch, video.tokens, video_channels, generator=generator)
    audio_noise = torch.randn(batch, audio.tokens, audio_channels, generator=generator)
    return video_noise, audio_noise


def add_noise(x: Tensor, noise: Tensor, sigma: float) -> Tensor:
    """Mix latents x with as much noise as sigma says: 0 leaves them, 1 is noise only."""
    return torch.lerp(x, noise, sigma)
