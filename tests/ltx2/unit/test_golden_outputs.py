"""Each network gives the outputs that diffusers 0.42.1 gave for the same weights and inputs, here without diffusers."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from stagegraph_ltx2.model.attention import as_bias
from stagegraph_ltx2.model.audio_vae import AudioVAE
from stagegraph_ltx2.model.config import (
    AudioVAEConfig,
    ConnectorsConfig,
    TransformerConfig,
    VideoVAEConfig,
    VocoderConfig,
)
from stagegraph_ltx2.model.connectors import TextConnectors
from stagegraph_ltx2.model.positions import audio_positions, video_positions
from stagegraph_ltx2.model.transformer import AudioVideoTransformer
from stagegraph_ltx2.model.video_vae import VideoVAE
from stagegraph_ltx2.model.vocoder import Vocoder
from stagegraph_ltx2.shapes import AudioShape, LatentShape

from ..golden import fill, hashed, summary


def assert_golden(x: Tensor, shape: list[int], total: float, magnitude: float, *elements: float) -> None:
    """Compare with a record of six significant digits."""
    assert list(x.shape) == shape
    got_total, got_magnitude, *got = summary(x)
    assert got == pytest.approx(elements, rel=2e-5, abs=1e-5)
    assert got_magnitude == pytest.approx(magnitude, rel=1e-5)
    # A sum cancels, so its error is that of its terms.
    assert got_total == pytest.approx(total, rel=1e-5, abs=1e-6 * magnitude * x.numel())


def transformer(rope_type: str) -> AudioVideoTransformer:
    model = AudioVideoTransformer(
        TransformerConfig(
            in_channels=4,
            out_channels=4,
            num_attention_heads=2,
            attention_head_dim=8,
            cross_attention_dim=16,
            audio_in_channels=4,
            audio_out_channels=4,
            audio_num_attention_heads=2,
            audio_attention_head_dim=4,
            audio_cross_attention_dim=8,
            num_layers=2,
            caption_channels=16,
            rope_double_precision=False,
            rope_type=rope_type,
        )
    )
    fill(model)
    return model


@torch.no_grad()
def velocities(model: AudioVideoTransformer, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
    t = torch.tensor([700.0, 300.0])
    bias = None if mask is None else as_bias(mask, torch.float32)
    return model(
        hashed((2, 24, 4), 10001),
        hashed((2, 5, 4), 10002),
        hashed((2, 6, 16), 10003),
        hashed((2, 6, 16), 10004),
        t,
        t,
        model.rotary(video_positions(LatentShape(2, 3, 4), 25), audio_positions(AudioShape(5))),
        video_context_bias=bias,
        audio_context_bias=bias,
    )


def test_transformer_gives_the_recorded_velocities() -> None:
    """Split RoPE and no mask."""
    video, audio = velocities(transformer("split"))
    assert_golden(
        video,
        [2, 24, 4],
        *(25.8808, 0.913443, 1.42134, 0.299914, 1.15106, 0.319842, -0.549543, -0.0619023),
    )
    assert_golden(audio, [2, 5, 4], *(12.3071, 0.895395, -2.20836, 0.0396417, 0.288561, 2.28898, 0.143168, 0.557483))


def test_transformer_ignores_masked_text_as_recorded() -> None:
    """Each row hides two other positions."""
    mask = torch.ones(2, 6, dtype=torch.long)
    mask[0, 4:] = 0
    mask[1, :2] = 0
    video, audio = velocities(transformer("split"), mask)
    assert_golden(video, [2, 24, 4], *(24.102, 0.888002, 1.12301, 0.402578, 0.777041, 0.215223, -0.716725, 0.18683))
    assert_golden(audio, [2, 5, 4], *(11.4033, 0.932246, -2.23585, 0.123037, 0.482442, 2.58784, 0.193427, 0.415648))


def test_transformer_with_interleaved_rope_gives_the_recorded_velocities() -> None:
    """The other layout of channel pairs, the default of the configuration class."""
    video, audio = velocities(transformer("interleaved"))
    assert_golden(video, [2, 24, 4], *(33.2708, 0.912392, 1.51369, 0.298396, 1.1073, 0.231459, -0.346546, -0.46763))
    assert_golden(audio, [2, 5, 4], *(10.7074, 0.828769, -1.77755, -0.118164, 0.417322, 2.01128, -0.0585041, 0.073331))


@torch.no_grad()
def test_connectors_give_the_recorded_text_features() -> None:
    """Rows of five and two valid tokens, padded on the left."""
    model = TextConnectors(
        ConnectorsConfig(
            caption_channels=16,
            text_proj_in_factor=3,
            video_connector_num_attention_heads=4,
            video_connector_attention_head_dim=4,
            video_connector_num_learnable_registers=4,
            audio_connector_num_attention_heads=4,
            audio_connector_attention_head_dim=4,
            audio_connector_num_learnable_registers=4,
            connector_rope_base_seq_len=32,
            rope_type="split",
        )
    )
    fill(model)
    position = torch.arange(8)
    mask = torch.stack((position >= 3, position >= 6)).long()
    video, audio, seen = model(hashed((2, 8, 16, 3), 10010), mask)
    assert_golden(video, [2, 8, 16], *(7.73839, 0.804652, -0.486337, 1.92451, -0.100556, 1.21695, -0.885207, -0.535742))
    assert_golden(audio, [2, 8, 16], *(-25.6533, 0.813257, -0.410006, 0.665098, 0.550102, 0.337459, -1.20938, 0.626216))
    assert torch.equal(seen, torch.ones(2, 8, dtype=torch.long))


def video_vae(**changes: object) -> VideoVAE:
    small: dict[str, object] = {
        "latent_channels": 8,
        "block_out_channels": (8, 8, 8, 8),
        "decoder_block_out_channels": (16, 32, 64),
        "layers_per_block": (1, 1, 1, 1, 1),
        "decoder_layers_per_block": (1, 1, 1, 1),
        "patch_size": 2,
        "decoder_causal": False,
    }
    model = VideoVAE(VideoVAEConfig.from_dict(small | changes))
    fill(model)
    return model


@torch.no_grad()
def test_video_vae_gives_the_recorded_latents_and_pixels() -> None:
    """The 2.0 structure: three residual upsamplings and reflection in the decoder."""
    vae = video_vae()
    assert_golden(
        vae.encode(hashed((1, 3, 9, 64, 64), 10020)),
        [1, 8, 2, 4, 4],
        *(71.687, 0.637203, 0.445167, 0.0836931, 0.384544, 0.00449309, 0.593873, 0.96373),
    )
    assert_golden(
        vae.decode(hashed((1, 8, 2, 3, 4), 10021)),
        [1, 3, 9, 48, 64],
        *(-1051.35, 0.489709, 0.327315, -0.0142999, -0.26168, -1.12749, 0.40027, 0.266291),
    )


@torch.no_grad()
def test_video_vae_of_ltx_2_3_gives_the_recorded_latents_and_pixels() -> None:
    """Four upsamplings of three kinds, not residual, and zeros around the decoder's convolutions."""
    vae = video_vae(
        block_out_channels=(8, 8, 16, 16),
        decoder_block_out_channels=(16, 32, 32, 64),
        decoder_layers_per_block=(1, 1, 1, 1, 1),
        decoder_spatio_temporal_scaling=(True,) * 4,
        decoder_inject_noise=(False,) * 5,
        upsample_type=("spatiotemporal", "spatiotemporal", "temporal", "spatial"),
        upsample_residual=(False,) * 4,
        upsample_factor=(2, 2, 1, 2),
        decoder_spatial_padding_mode="zeros",
    )
    assert_golden(
        vae.encode(hashed((1, 3, 9, 64, 64), 10020)),
        [1, 8, 2, 4, 4],
        *(-11.1448, 0.426891, 0.142338, 0.274947, -0.0534001, 0.134449, 0.903778, 0.584162),
    )
    assert_golden(
        vae.decode(hashed((1, 8, 2, 3, 4), 10021)),
        [1, 3, 9, 48, 64],
        *(-4738.2, 0.408527, -0.816354, 0.553979, -0.471523, -0.173, -0.315747, -0.154812),
    )


@torch.no_grad()
def test_video_vae_that_takes_a_timestep_gives_the_recorded_pixels() -> None:
    """The noise level scales and shifts every residual block and the last norm."""
    vae = video_vae(timestep_conditioning=True)
    assert_golden(
        vae.decode(hashed((1, 8, 2, 3, 4), 10021), torch.tensor([0.05])),
        [1, 3, 9, 48, 64],
        *(20355.1, 0.684449, 1.01413, -0.226606, -0.226243, 0.669384, 0.679711, 0.144583),
    )


@torch.no_grad()
def test_audio_vae_gives_the_recorded_latents_and_spectrograms() -> None:
    """Nine mel frames make three latent frames and come back as nine."""
    vae = AudioVAE(AudioVAEConfig(base_channels=16, latent_channels=4, resolution=16, mel_bins=16))
    fill(vae)
    assert_golden(
        vae.encode(hashed((2, 2, 9, 16), 10030)),
        [2, 4, 3, 4],
        *(8.30714, 0.274489, 0.22385, 0.141745, 0.439386, 0.253036, -0.0372286, -0.0316675),
    )
    assert_golden(
        vae.decode(hashed((2, 4, 3, 4), 10031)),
        [2, 2, 9, 16],
        *(-112.192, 0.372486, 0.317522, 0.419759, -1.04405, 0.236127, -0.201221, -0.012462),
    )


@torch.no_grad()
def test_vocoder_gives_the_recorded_waveform() -> None:
    """Six mel frames, each upsampled four times."""
    vocoder = Vocoder(
        VocoderConfig(
            in_channels=16,
            hidden_channels=32,
            upsample_kernel_sizes=(4, 4),
            upsample_factors=(2, 2),
            resnet_kernel_sizes=(3,),
            resnet_dilations=((1, 3, 5),),
        )
    )
    fill(vocoder)
    assert_golden(
        vocoder(hashed((1, 2, 6, 8), 10040)),
        [1, 2, 24],
        *(0.726539, 0.169885, 0.11525, -0.0698374, 0.11873, -0.105048, -0.217064, 0.213265),
    )
