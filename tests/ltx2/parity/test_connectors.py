"""The text connectors give what diffusers' LTX2TextConnectors give with the same weights, fp32 on the CPU."""

from __future__ import annotations

import attrs
import pytest
import torch
from diffusers.pipelines.ltx2 import LTX2TextConnectors
from diffusers.pipelines.ltx2.connectors import per_layer_masked_mean_norm, per_token_rms_norm

from stagegraph_ltx2.model.config import ConnectorsConfig
from stagegraph_ltx2.model.connectors import TextConnectors, normalize, normalize_tokens

from ..random_weights import relative_error, share

TOLERANCE = 5e-6

ONE_HEAD = ConnectorsConfig(
    caption_channels=24,
    text_proj_in_factor=3,
    video_connector_num_attention_heads=1,
    video_connector_attention_head_dim=24,
    video_connector_num_layers=1,
    video_connector_num_learnable_registers=4,
    audio_connector_num_attention_heads=2,
    audio_connector_attention_head_dim=12,
    audio_connector_num_layers=3,
    audio_connector_num_learnable_registers=8,
    connector_rope_base_seq_len=16,
    rope_theta=300.0,
    rope_double_precision=False,
    proj_bias=True,
)
FOUR_HEADS = ConnectorsConfig(
    caption_channels=64,
    text_proj_in_factor=5,
    video_connector_num_attention_heads=4,
    video_connector_attention_head_dim=16,
    video_connector_num_learnable_registers=8,
    audio_connector_num_attention_heads=2,
    audio_connector_attention_head_dim=32,
    audio_connector_num_learnable_registers=16,
    rope_type="split",
)
PER_MODALITY = ConnectorsConfig(
    caption_channels=24,
    text_proj_in_factor=5,
    video_connector_num_attention_heads=4,
    video_connector_attention_head_dim=16,
    video_connector_num_layers=3,
    video_connector_num_learnable_registers=8,
    video_gated_attn=True,
    audio_connector_num_attention_heads=1,
    audio_connector_attention_head_dim=20,
    audio_connector_num_learnable_registers=4,
    audio_gated_attn=True,
    rope_type="split",
    per_modality_projections=True,
    video_hidden_dim=64,
    audio_hidden_dim=20,
    proj_bias=True,
)
UNGATED_VIDEO = attrs.evolve(PER_MODALITY, video_gated_attn=False, proj_bias=False, rope_type="interleaved")
CONFIGS = pytest.mark.parametrize(
    "config",
    [ONE_HEAD, FOUR_HEADS, PER_MODALITY, UNGATED_VIDEO],
    ids=["one head", "four heads", "as in LTX-2.3", "video not gated"],
)


@CONFIGS
@torch.no_grad()
def test_rows_of_every_length(config: ConnectorsConfig) -> None:
    """From a single valid token, padded on the left, to a row without padding."""
    ours, theirs = TextConnectors(config), LTX2TextConnectors.from_config(config.to_dict())
    share(ours, theirs)
    t, lengths = 16, torch.tensor([1, 6, 16])
    hidden_states = torch.randn(3, t, config.caption_channels, config.text_proj_in_factor) * 3 + 1
    mask = (torch.arange(t) >= t - lengths[:, None]).long()
    got, expected = ours(hidden_states, mask), theirs(hidden_states, mask)
    assert relative_error(got[0], expected[0]) < TOLERANCE
    assert relative_error(got[1], expected[1]) < TOLERANCE
    assert torch.equal(got[2], expected[2])
    assert relative_error(ours(hidden_states, torch.ones_like(mask))[0], expected[0]) > 100 * TOLERANCE


@pytest.mark.parametrize("side", ["left", "right"])
def test_normalisation_counts_valid_tokens_only(side: str) -> None:
    """On whichever side the padding is."""
    hidden_states = torch.randn(3, 12, 10, 4) * torch.tensor([0.1, 1, 10, 100]) + 5
    lengths = torch.tensor([2, 7, 12])
    position = torch.arange(12)
    mask = position >= 12 - lengths[:, None] if side == "left" else position < lengths[:, None]
    expected = per_layer_masked_mean_norm(hidden_states, lengths, "cpu", padding_side=side)
    assert relative_error(normalize(hidden_states, mask), expected) < TOLERANCE


def test_each_token_of_each_layer_is_normalised_alone() -> None:
    """LTX-2.3: whatever its neighbours are; padding becomes 0."""
    hidden_states = torch.randn(2, 6, 10, 4) * torch.tensor([0.1, 1, 10, 1000]) + 5
    mask = torch.tensor([[0, 0, 1, 1, 1, 1], [1, 1, 1, 1, 1, 0]])
    expected = per_token_rms_norm(hidden_states).flatten(2) * mask[:, :, None]
    assert relative_error(normalize_tokens(hidden_states, mask), expected) < TOLERANCE
    coarse = normalize_tokens(hidden_states.bfloat16(), mask)
    assert coarse.dtype == torch.bfloat16
    assert relative_error(coarse.float(), expected) < 0.01
