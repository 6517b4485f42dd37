"""What the text connectors are built from. Needs no torch."""

from __future__ import annotations

from collections.abc import Iterator

import attrs

from .base import Config, depth, odd_heads, only, positive, size


@attrs.frozen
class ConnectorsConfig(Config):
    """The text connectors: in LTX-2.0 they share one projection of the hidden states, later each has its own."""

    diffusers_class = "LTX2TextConnectors"

    caption_channels: int = size(3840)
    text_proj_in_factor: int = size(49)  # hidden states of the text encoder: one per layer and the embeddings
    video_connector_num_attention_heads: int = size(30)
    video_connector_attention_head_dim: int = size(128)
    video_connector_num_layers: int = depth(2)
    video_connector_num_learnable_registers: int = size(128)
    video_gated_attn: bool = False
    audio_connector_num_attention_heads: int = size(30)
    audio_connector_attention_head_dim: int = size(128)
    audio_connector_num_layers: int = depth(2)
    audio_connector_num_learnable_registers: int = size(128)
    audio_gated_attn: bool = False
    connector_rope_base_seq_len: int = size(4096)  # tokens
    rope_theta: float = positive(10000.0)
    rope_double_precision: bool = True
    causal_temporal_positioning: bool = only(False)
    rope_type: str = only("interleaved", "split")
    per_modality_projections: bool = False
    video_hidden_dim: int = size(4096)  # this and the next are read together with per_modality_projections only
    audio_hidden_dim: int = size(2048)
    proj_bias: bool = False

    def _contradictions(self) -> Iterator[str]:
        yield from odd_heads(self, "video_connector_attention_head_dim", "audio_connector_attention_head_dim")
        for side in ("video", "audio"):
            heads = getattr(self, f"{side}_connector_num_attention_heads")
            head_dim = getattr(self, f"{side}_connector_attention_head_dim")
            name = f"{side}_hidden_dim" if self.per_modality_projections else "caption_channels"
            if heads * head_dim != getattr(self, name):
                why = "" if self.per_modality_projections else ": both connectors read the same projection"
                yield (
                    f"{name}={getattr(self, name)} must be {side} connector heads x head dim = {heads * head_dim}{why}"
                )
