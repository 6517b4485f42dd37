"""The vocoders give what diffusers' LTX2Vocoder and LTX2VocoderWithBWE give with the same weights, fp32 on the CPU."""

from __future__ import annotations

import attrs
import pytest
import torch
from diffusers.pipelines.ltx2 import LTX2Vocoder
from diffusers.pipelines.ltx2.vocoder import DownSample1d, LTX2VocoderWithBWE, UpSample1d

from stagegraph_ltx2.model.antialias import Downsample, Upsample
from stagegraph_ltx2.model.config import VocoderConfig, WidebandVocoderConfig
from stagegraph_ltx2.model.resample import resample
from stagegraph_ltx2.model.vocoder import Vocoder
from stagegraph_ltx2.model.wideband_vocoder import WidebandVocoder

from ..random_weights import relative_error, share
from ..small import VOCODER_2_3

TOLERANCE = 5e-6

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
SNAKE = attrs.evolve(SMALL, act_fn="snakebeta", antialias=True, final_act_fn="clamp", final_bias=False)
NO_END = attrs.evolve(SNAKE, final_act_fn=None)
RELEASED_2_3 = WidebandVocoderConfig(hidden_channels=64, bwe_hidden_channels=32)


@pytest.mark.parametrize("config", [SMALL, RELEASED, SNAKE], ids=["small", "as released", "snake"])
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


@torch.no_grad()
def test_a_base_vocoder_ends_without_a_limit() -> None:
    """Both halves of a wideband vocoder give what comes of their last convolution."""
    ours, theirs = Vocoder(NO_END), LTX2Vocoder.from_config(NO_END.to_dict())
    share(ours, theirs)
    mel = 5 * torch.randn(2, 2, 5, 3)
    assert ours(mel).abs().max() > 1
    assert relative_error(ours(mel), theirs(mel)) < TOLERANCE


@pytest.mark.parametrize("config", [VOCODER_2_3, RELEASED_2_3], ids=["small", "as released"])
@torch.no_grad()
def test_waveforms_whose_bandwidth_is_extended(config: WidebandVocoderConfig) -> None:
    """At three times the base vocoder's rate."""
    ours, theirs = WidebandVocoder(config), LTX2VocoderWithBWE.from_config(config.to_dict())
    share(ours, theirs)
    # Loud sound would be clamped, and equal for that alone.
    quiet = {name: x * (0.03 if name.endswith("conv_out.weight") else 1) for name, x in theirs.state_dict().items()}
    ours.load_state_dict(quiet)
    theirs.load_state_dict(quiet)
    mel = torch.randn(2, 2, 5, config.in_channels // 2)
    waveform = ours(mel)
    assert waveform.shape == (2, 2, 5 * config.samples_per_mel_frame)
    assert 0.01 < waveform.abs().max() < 1
    assert relative_error(waveform, theirs(mel)) < 2e-5


@torch.no_grad()
def test_the_base_can_be_clamped() -> None:
    """As the official code does: the same as a base vocoder that ends in a clamp, and nothing where it is quiet."""
    clamped = attrs.evolve(VOCODER_2_3, final_act_fn="clamp")
    ours, theirs = WidebandVocoder(VOCODER_2_3), LTX2VocoderWithBWE.from_config(clamped.to_dict())
    share(ours, theirs)
    mel = 5 * torch.randn(2, 2, 6, 16)
    assert ours.vocoder(mel).abs().max() > 1
    assert relative_error(ours(mel, clamp_base=True), theirs(mel)) < 2e-5
    assert relative_error(ours(mel), theirs(mel)) > 0.01


@torch.no_grad()
def test_a_base_of_any_length_is_extended() -> None:
    """7 frames of 10 samples are not a multiple of 4: silence fills the last window, and is cut off again."""
    config = attrs.evolve(VOCODER_2_3, hop_length=4, bwe_upsample_factors=(4, 3), bwe_upsample_kernel_sizes=(6, 5))
    ours = WidebandVocoder(config).eval()
    waveform = ours(torch.randn(1, 2, 7, 16))
    assert waveform.shape == (1, 2, 7 * 30)


def test_filters_are_those_of_diffusers() -> None:
    """A checkpoint brings its own; these are what a network without one starts from."""
    assert torch.allclose(Upsample().filter, UpSample1d(2, 12).filter, atol=1e-8)
    assert torch.allclose(Downsample().filter, DownSample1d(2, 12).filter, atol=1e-8)
    x = torch.randn(2, 3, 20)
    expected = UpSample1d(3, window_type="hann", persistent=False)(x)
    assert relative_error(resample(x, 16000, 48000, edge="replicate"), expected) < TOLERANCE


def test_the_released_vocoders_make_240_and_480_samples_of_a_mel_frame() -> None:
    """24 and 48 kHz from 100 mel frames a second."""
    assert VocoderConfig().samples_per_mel_frame == 240
    assert WidebandVocoderConfig().samples_per_mel_frame == 480
