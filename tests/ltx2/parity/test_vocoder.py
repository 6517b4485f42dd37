"""The vocoder gives what diffusers' LTX2Vocoder gives with the same weights, fp32 on the CPU."""

from __future__ import annotations

import pytest
import torch
from diffusers.pipelines.ltx2 import LTX2Vocoder

from stagegraph_ltx2.model.config import VocoderConfig
from stagegraph_ltx2.model.vocoder import Vocoder

from ..random_weights import relative_error, share

TOLERANCE = 2e-5

SMALL = VocoderConfig(
    in_channels=6,
    hidden_channels=12,
    out_channels=1,
    upsample_kernel_sizes=(9, 4),
    upsample_factors=(3, 2),
    resnet_kernel_sizes=(5, 3),
    resnet_dilations=((1, 2), (1, 3, 4)),
    leaky_relu_negative_slope=0.3,
)
RELEASED = VocoderConfig(hidden_channels=32)  # all five upsamplings, but narrow


@pytest.mark.parametrize("config", [SMALL, RELEASED], ids=["small", "as released"])
@torch.no_grad()
def test_waveforms(config: VocoderConfig) -> None:
    """Sound in [-1, 1], of so many samples a mel frame as the factors say."""
    ours, theirs = Vocoder(config), LTX2Vocoder.from_config(config.to_dict())
    share(ours, theirs)
    mel = torch.randn(2, 2, 5, config.in_channels // 2)
    waveform = ours(mel)
    assert waveform.shape == (2, config.out_channels, 5 * config.samples_per_mel_frame)
    assert waveform.abs().max() <= 1
    assert relative_error(waveform, theirs(mel)) < TOLERANCE


def test_the_released_vocoder_makes_240_samples_of_a_mel_frame() -> None:
    """24 kHz from 100 mel frames a second."""
    assert VocoderConfig().samples_per_mel_frame == 240
