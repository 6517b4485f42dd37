"""The audio VAE gives what diffusers' AutoencoderKLLTX2Audio gives with the same weights, fp32 on the CPU."""

from __future__ import annotations

import pytest
import torch
from diffusers import AutoencoderKLLTX2Audio, LTX2Pipeline

from stagegraph_ltx2.model.audio_vae import AudioVAE, pack, unpack
from stagegraph_ltx2.model.config import AudioVAEConfig
from stagegraph_ltx2.shapes import AudioShape

from ..random_weights import relative_error, share

TOLERANCE = 5e-6

SMALL = AudioVAEConfig(base_channels=24, latent_channels=6, mel_bins=16, in_channels=1, output_channels=3)
RELEASED = AudioVAEConfig(ch_mult=(1, 1, 2), num_res_blocks=1)  # 8 x 16 latents, but narrow and shallow
CONFIGS = pytest.mark.parametrize("config", [SMALL, RELEASED], ids=["small", "as released"])


def pair(config: AudioVAEConfig) -> tuple[AudioVAE, AutoencoderKLLTX2Audio]:
    ours, theirs = AudioVAE(config), AutoencoderKLLTX2Audio.from_config(config.to_dict())
    share(ours, theirs)
    return ours, theirs


@CONFIGS
@torch.no_grad()
@pytest.mark.parametrize("frames", [1, 4])
def test_encoding(config: AudioVAEConfig, frames: int) -> None:
    """A single latent frame and several."""
    ours, theirs = pair(config)
    mel = torch.randn(2, config.in_channels, AudioShape(frames).mel_frames, config.mel_bins) * 3 - 5
    z = ours.encode(mel)
    assert z.shape == (2, config.latent_channels, frames, config.mel_bins // 4)
    assert relative_error(z, theirs.encode(mel).latent_dist.mode()) < TOLERANCE


@CONFIGS
@torch.no_grad()
@pytest.mark.parametrize("frames", [1, 7])
def test_decoding(config: AudioVAEConfig, frames: int) -> None:
    """The first latent frame becomes one mel frame, each other one becomes four."""
    ours, theirs = pair(config)
    z = torch.randn(2, config.latent_channels, frames, config.mel_bins // 4)
    mel = ours.decode(z)
    assert mel.shape == (2, config.output_channels, AudioShape(frames).mel_frames, config.mel_bins)
    assert relative_error(mel, theirs.decode(z).sample) < TOLERANCE


def test_normalising_and_packing() -> None:
    """The statistics are of tokens, whose channels count latent channel, then mel bin."""
    ours, theirs = pair(RELEASED)
    z = torch.randn(2, 8, 5, 16)
    tokens = LTX2Pipeline._pack_audio_latents(z)
    assert torch.equal(pack(z), tokens)
    assert torch.equal(unpack(tokens), z)
    normalized = LTX2Pipeline._normalize_audio_latents(tokens, theirs.latents_mean, theirs.latents_std)
    assert relative_error(ours.normalize(tokens), normalized) < TOLERANCE
    assert relative_error(ours.denormalize(normalized), tokens) < TOLERANCE
