"""The upsamplers give what diffusers' LTX2LatentUpsamplerModel gives with the same weights, fp32 on the CPU."""

from __future__ import annotations

import attrs
import pytest
import torch
from diffusers.pipelines.ltx2 import LTX2LatentUpsamplePipeline
from diffusers.pipelines.ltx2.latent_upsampler import LTX2LatentUpsamplerModel

from stagegraph_ltx2.model.config import LatentUpsamplerConfig
from stagegraph_ltx2.model.latent_upsampler import LatentUpsampler, compress_range, match_statistics

from ..random_weights import relative_error, share
from ..small import UPSAMPLER, UPSAMPLERS

TOLERANCE = 5e-6

CASES = UPSAMPLERS | {
    "rational x0.75": attrs.evolve(UPSAMPLER, use_rational_resampler=True, rational_spatial_scale=0.75),
    "rational x4": attrs.evolve(UPSAMPLER, use_rational_resampler=True, rational_spatial_scale=4.0, in_channels=3),
    "two blocks": attrs.evolve(UPSAMPLER, num_blocks_per_stage=2, mid_channels=64),
}


@pytest.mark.parametrize("config", CASES.values(), ids=CASES.keys())
@pytest.mark.parametrize("frames", [1, 3])
@torch.no_grad()
def test_enlarging(config: LatentUpsamplerConfig, frames: int) -> None:
    """Odd sizes, which differ in height and width; what is not whole is rounded up, the first frame stays alone."""
    ours, theirs = LatentUpsampler(config), LTX2LatentUpsamplerModel.from_config(config.to_dict())
    share(ours, theirs)
    z = torch.randn(2, config.in_channels, frames, 5, 7)
    y = ours(z)
    height, width = (-(-side * config.scale.numerator // config.scale.denominator) for side in (5, 7))
    assert y.shape == (2, config.in_channels, 2 * frames - 1 if config.temporal_upsample else frames, height, width)
    assert relative_error(y, theirs(z)) < TOLERANCE


def test_matching_statistics() -> None:
    """Each channel gets the mean and the deviation of the smaller latents, or goes part of the way."""
    z, reference = 3 * torch.randn(2, 4, 3, 6, 6) + 1, torch.randn(2, 4, 3, 3, 3)
    for factor in (0.0, 0.4, 1.0):
        expected = LTX2LatentUpsamplePipeline.adain_filter_latent(None, z, reference, factor)
        assert relative_error(match_statistics(z, reference, factor), expected) < TOLERANCE


def test_compressing_the_range() -> None:
    """Small values stay nearly as they are."""
    z = 4 * torch.randn(2, 4, 3, 6, 6)
    for strength in (0.0, 0.3, 1.0):
        expected = LTX2LatentUpsamplePipeline.tone_map_latents(None, z, strength)
        assert relative_error(compress_range(z, strength), expected) < TOLERANCE
