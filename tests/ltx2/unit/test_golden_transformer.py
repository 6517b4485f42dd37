"""Transformer and connectors give the outputs that diffusers 0.42.1 gave for the same weights and inputs."""

from __future__ import annotations

import attrs
import pytest
import torch
from torch import Tensor

from stagegraph_ltx2.model.attention import as_bias
from stagegraph_ltx2.model.conditions import Biases, Perturbation, Timesteps
from stagegraph_ltx2.model.config import ConnectorsConfig, TransformerConfig
from stagegraph_ltx2.model.connectors import TextConnectors
from stagegraph_ltx2.model.positions import audio_positions, video_positions
from stagegraph_ltx2.model.transformer import AudioVideoTransformer
from stagegraph_ltx2.shapes import AudioShape, LatentShape

from ..golden import assert_golden, fill, hashed
from ..small import LTX_2_3, LTX_2_5

LTX_2_0 = TransformerConfig(
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
    rope_type="split",
)
LATER = attrs.evolve(LTX_2_0, rope_double_precision=True)


@torch.no_grad()
def velocities(config: TransformerConfig, timesteps: Timesteps, **options: object) -> tuple[Tensor, Tensor]:
    model = AudioVideoTransformer(config)
    fill(model)
    output: tuple[Tensor, Tensor] = model(
        hashed((2, 24, 4), 10001),
        hashed((2, 5, 4), 10002),
        model.text(hashed((2, 6, 16), 10003), hashed((2, 6, 16 if config.use_prompt_embeddings else 8), 10004)),
        timesteps,
        model.rotary(video_positions(LatentShape(2, 3, 4), 25), audio_positions(AudioShape(5))),
        **options,
    )
    return output


def whole() -> Timesteps:
    return Timesteps.alike(torch.tensor([700.0, 300.0]))


def per_token() -> Timesteps:
    """Video tokens at timesteps of their own; the audio quieter than the video."""
    sigma, audio_sigma = torch.tensor([700.0, 300.0]), torch.tensor([650.0, 250.0])
    return Timesteps(900 * hashed((2, 24), 10005).abs(), audio_sigma, sigma, audio_sigma)


def text_masked() -> Biases:
    mask = torch.ones(2, 6)
    mask[0, 4:] = 0
    mask[1, :2] = 0
    bias = as_bias(mask, torch.float32)
    return Biases(video_text=bias, audio_text=bias)


def video_masked() -> Biases:
    mask = (hashed((2, 24, 24), 10006) + 1) / 2
    mask[:, :, 0] = 0
    return Biases(video=as_bias(mask, torch.float32))


RUNS = {
    "2.0": (
        (LTX_2_0, whole(), {}),
        (25.8808, 0.913443, 1.42134, 0.299914, 1.15106, 0.319842, -0.549543, -0.0619023),
        (12.3071, 0.895395, -2.20836, 0.0396417, 0.288561, 2.28898, 0.143168, 0.557483),
    ),
    "2.0, masked text": (
        (LTX_2_0, whole(), {"biases": text_masked()}),
        (24.102, 0.888002, 1.12301, 0.402578, 0.777041, 0.215223, -0.716725, 0.18683),
        (11.4033, 0.932246, -2.23585, 0.123037, 0.482442, 2.58784, 0.193427, 0.415648),
    ),
    "2.0, interleaved RoPE": (
        (attrs.evolve(LTX_2_0, rope_type="interleaved"), whole(), {}),
        (33.2708, 0.912392, 1.51369, 0.298396, 1.1073, 0.231459, -0.346546, -0.46763),
        (10.7074, 0.828769, -1.77755, -0.118164, 0.417322, 2.01128, -0.0585041, 0.073331),
    ),
    "2.3, between the streams by the own tokens": (
        (attrs.evolve(LATER, **LTX_2_3), per_token(), {"cross_timestep": "own"}),
        (123.122, 0.962599, 0.125776, 1.00172, 0.485024, 0.233689, 0.876057, -0.633356),
        (11.5994, 0.994467, 0.0431673, -0.610582, -0.0260168, 1.03076, -1.06097, 1.35832),
    ),
    "2.3, between the streams by the other stream": (
        (attrs.evolve(LATER, **LTX_2_3), per_token(), {}),
        (94.1409, 0.899541, 0.0405229, 1.02264, 0.367279, 0.507264, 0.35109, -0.852094),
        (11.6395, 0.971145, 0.426458, -0.212469, 0.290889, 0.601923, -0.858934, 1.11924),
    ),
    "2.3, a perturbed block": (
        (attrs.evolve(LATER, **LTX_2_3), per_token(), {"perturbation": Perturbation(frozenset({1}), frozenset({1}))}),
        (87.1639, 0.959446, 1.11624, 1.03002, 0.305576, 0.0893748, 0.341512, -1.03453),
        (9.95452, 0.878235, 0.802615, -0.00584815, -0.230663, -0.230696, -0.965927, 1.43692),
    ),
    "2.3, streams that do not meet": (
        (attrs.evolve(LATER, **LTX_2_3), per_token(), {"perturbation": Perturbation(isolated=True)}),
        (42.9565, 0.758433, -0.185922, 0.902339, -0.169106, 0.216878, 0.851437, -0.578904),
        (5.3957, 0.877926, -1.0945, -0.276654, -0.19955, -0.454565, -0.869427, 1.09873),
    ),
    "2.3, masked video": (
        (attrs.evolve(LATER, **LTX_2_3), per_token(), {"biases": video_masked()}),
        (80.6031, 0.936201, 0.569687, 1.30177, 0.160025, -0.490849, 0.181698, -1.5423),
        (11.3617, 0.951185, 0.269986, -0.0178429, 0.501175, 0.128672, -0.738706, 0.931713),
    ),
    "2.5, keyframes": (
        (attrs.evolve(LATER, **LTX_2_5), per_token(), {"keyframes": (torch.arange(24) < 12).expand(2, -1)}),
        (45.9115, 0.815244, 0.095114, -1.19776, -0.515923, 1.02618, 0.938864, -0.747897),
        (30.4794, 1.17317, 0.0964252, 1.35476, 1.45689, 1.58274, -1.51569, 2.01444),
    ),
}


@pytest.mark.parametrize(("run", "video", "audio"), RUNS.values(), ids=RUNS.keys())
def test_transformer_gives_the_recorded_velocities(
    run: tuple[TransformerConfig, Timesteps, dict[str, object]], video: tuple[float, ...], audio: tuple[float, ...]
) -> None:
    """24 video tokens and 5 audio tokens of two samples."""
    config, timesteps, options = run
    got, got_audio = velocities(config, timesteps, **options)
    assert_golden(got, [2, 24, 4], *video)
    assert_golden(got_audio, [2, 5, 4], *audio)


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


@torch.no_grad()
def test_connectors_of_ltx_2_3_give_the_recorded_text_features() -> None:
    """Gated, and each stream with a projection of its own width."""
    model = TextConnectors(
        ConnectorsConfig(
            caption_channels=16,
            text_proj_in_factor=3,
            video_connector_num_attention_heads=4,
            video_connector_attention_head_dim=4,
            video_connector_num_learnable_registers=4,
            video_gated_attn=True,
            audio_connector_num_attention_heads=4,
            audio_connector_attention_head_dim=2,
            audio_connector_num_learnable_registers=4,
            audio_gated_attn=True,
            connector_rope_base_seq_len=32,
            rope_type="split",
            per_modality_projections=True,
            video_hidden_dim=16,
            audio_hidden_dim=8,
            proj_bias=True,
        )
    )
    fill(model)
    position = torch.arange(8)
    mask = torch.stack((position >= 3, position >= 6)).long()
    video, audio, _ = model(hashed((2, 8, 16, 3), 10010), mask)
    assert_golden(video, [2, 8, 16], *(44.8347, 0.804477, 1.01822, -0.310984, -1.24648, 0.357207, 1.93848, 0.253305))
    assert_golden(audio, [2, 8, 8], *(61.6516, 0.824212, -1.1925, 0.488272, 2.00139, -1.4253, 1.08845, 1.57431))
