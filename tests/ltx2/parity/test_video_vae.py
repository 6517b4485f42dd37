"""The video VAE gives what diffusers' AutoencoderKLLTX2Video gives with the same weights, fp32 on the CPU."""

from __future__ import annotations

import pytest
import torch
from diffusers import AutoencoderKLLTX2Video, LTX2Pipeline
from torch import Tensor

from stagegraph_ltx2.model.config import VideoVAEConfig
from stagegraph_ltx2.model.video_vae import VideoVAE, pack, unpack
from stagegraph_ltx2.shapes import LatentShape

from ..random_weights import relative_error, share
from ..small import VAE_2_3

TOLERANCE = 5e-6

RELEASED = VideoVAEConfig(  # the structure of LTX-2.0, with its compression and latent channels, but narrow
    block_out_channels=(16, 16, 32, 64),
    decoder_block_out_channels=(16, 32, 64),
    layers_per_block=(1, 2, 1, 1, 2),
    decoder_layers_per_block=(1, 2, 1, 2),
    decoder_causal=False,
)
CAUSAL = VideoVAEConfig(
    in_channels=1,
    out_channels=2,
    latent_channels=16,
    block_out_channels=(8, 16, 32, 32),
    decoder_block_out_channels=(24, 48, 48, 96),
    layers_per_block=(2, 1, 1, 2, 1),
    decoder_layers_per_block=(1, 1, 2, 1, 2),
    decoder_spatio_temporal_scaling=True,
    decoder_inject_noise=False,
    downsample_type=("temporal", "spatial", "spatiotemporal", "spatiotemporal"),
    upsample_type=("spatiotemporal", "spatial", "temporal", "spatiotemporal"),
    upsample_residual=(True, False, True, False),
    upsample_factor=(2, 2, 1, 2),
    patch_size=1,
    encoder_causal=False,
    decoder_causal=True,
    encoder_spatial_padding_mode="reflect",
    decoder_spatial_padding_mode="zeros",
)
RELEASED_2_3 = VideoVAEConfig(
    block_out_channels=(16, 16, 32, 32),
    decoder_block_out_channels=(8, 16, 16, 32),
    layers_per_block=(1, 2, 1, 1, 2),
    decoder_layers_per_block=(1, 2, 1, 1, 2),
    **VAE_2_3,
)
CONFIGS = pytest.mark.parametrize(
    "config", [RELEASED, RELEASED_2_3, CAUSAL], ids=["as released", "as in LTX-2.3", "otherwise"]
)


def pair(config: VideoVAEConfig) -> tuple[VideoVAE, AutoencoderKLLTX2Video]:
    ours, theirs = VideoVAE(config), AutoencoderKLLTX2Video.from_config(config.to_dict())
    share(ours, theirs)
    return ours, theirs


def pixels(config: VideoVAEConfig, frames: int, height: int, width: int) -> Tensor:
    return torch.rand(2, config.in_channels, frames, height, width) * 2 - 1


@CONFIGS
@torch.no_grad()
def test_encoding(config: VideoVAEConfig) -> None:
    """Odd latent sizes, which differ in height and width."""
    ours, theirs = pair(config)
    x = pixels(config, 9, 96, 160) if config.patch_size == 4 else pixels(config, 9, 24, 40)
    assert relative_error(ours.encode(x), theirs.encode(x).latent_dist.mode()) < TOLERANCE


@torch.no_grad()
def test_encoding_a_single_image() -> None:
    """One pixel frame makes one latent frame."""
    ours, theirs = pair(RELEASED)
    x = pixels(RELEASED, 1, 64, 96)
    z = ours.encode(x)
    assert z.shape == (2, 128, 1, 2, 3)
    assert relative_error(z, theirs.encode(x).latent_dist.mode()) < TOLERANCE


@CONFIGS
@pytest.mark.parametrize("frames", [1, 3])
@torch.no_grad()
def test_decoding(config: VideoVAEConfig, frames: int) -> None:
    """A single latent frame and several."""
    ours, theirs = pair(config)
    z = torch.randn(2, config.latent_channels, frames, 2, 3)
    assert relative_error(ours.decode(z), theirs.decode(z).sample) < TOLERANCE


@pytest.mark.parametrize("config", [RELEASED, RELEASED_2_3], ids=["2.0", "2.3"])
@torch.no_grad()
def test_the_released_structure_has_the_released_compression(config: VideoVAEConfig) -> None:
    """32 in height and width, 8 in time with one latent frame for the first pixel frame, 128 channels."""
    ours, _ = pair(config)
    z = ours.encode(pixels(config, 9, 64, 96))
    assert z.shape == (2, 128, 2, 2, 3)
    assert ours.decode(z).shape == (2, 3, 9, 64, 96)


@pytest.mark.parametrize("padding", ["zeros", "reflect"])
@torch.no_grad()
def test_decoding_at_a_timestep(padding: str) -> None:
    """Each sample of a batch has a noise level of its own."""
    config = VideoVAEConfig.from_dict(
        RELEASED.to_dict() | {"timestep_conditioning": True, "decoder_spatial_padding_mode": padding}
    )
    ours, theirs = pair(config)
    z, t = torch.randn(2, 128, 2, 3, 2), torch.tensor([0.05, 0.3])
    expected = theirs.decode(z, t).sample
    assert relative_error(ours.decode(z, t), expected) < TOLERANCE
    assert relative_error(ours.decode(z, t.flip(0)), expected) > 100 * TOLERANCE


def test_normalising_and_packing() -> None:
    """The statistics are per channel, and tokens run over frame, row and column."""
    ours, theirs = pair(RELEASED)
    shape = LatentShape(3, 2, 5)
    z = torch.randn(2, 128, *(shape.frames, shape.height, shape.width))
    normalized = LTX2Pipeline._normalize_latents(z, theirs.latents_mean, theirs.latents_std)
    assert relative_error(ours.normalize(z), normalized) < TOLERANCE
    assert relative_error(ours.denormalize(normalized), z) < TOLERANCE
    tokens = LTX2Pipeline._pack_latents(z)
    assert torch.equal(pack(z), tokens)
    assert torch.equal(unpack(tokens, shape), z)
