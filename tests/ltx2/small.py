"""Configurations that are quick on a CPU, and those of the released LTX-2.0 models."""

from __future__ import annotations

from stagegraph_ltx2.model.config import (
    AudioVAEConfig,
    ConnectorsConfig,
    TransformerConfig,
    VideoVAEConfig,
    VocoderConfig,
)

RELEASED = {
    "transformer": TransformerConfig(rope_type="split"),
    "connectors": ConnectorsConfig(rope_type="split"),
    "vae": VideoVAEConfig(decoder_causal=False),
    "audio_vae": AudioVAEConfig(),
    "vocoder": VocoderConfig(),
}

TRANSFORMER = TransformerConfig(
    in_channels=8,
    out_channels=8,
    num_attention_heads=2,
    attention_head_dim=16,
    cross_attention_dim=32,
    audio_in_channels=6,
    audio_out_channels=6,
    audio_num_attention_heads=2,
    audio_attention_head_dim=8,
    audio_cross_attention_dim=16,
    num_layers=2,
    caption_channels=24,
    rope_type="split",
)
CONNECTORS = ConnectorsConfig(
    caption_channels=24,
    text_proj_in_factor=3,
    video_connector_num_attention_heads=2,
    video_connector_attention_head_dim=12,
    video_connector_num_learnable_registers=4,
    audio_connector_num_attention_heads=2,
    audio_connector_attention_head_dim=12,
    audio_connector_num_learnable_registers=4,
    rope_type="split",
)
VAE = VideoVAEConfig(
    latent_channels=8,
    block_out_channels=(8, 8, 8, 8),
    decoder_block_out_channels=(8, 16, 32),
    layers_per_block=(1, 1, 1, 1, 1),
    decoder_layers_per_block=(1, 1, 1, 1),
    decoder_causal=False,
)
AUDIO_VAE = AudioVAEConfig(base_channels=16, latent_channels=4, mel_bins=16, num_res_blocks=1)
VOCODER = VocoderConfig(
    in_channels=32,
    hidden_channels=16,
    upsample_kernel_sizes=(5, 4),
    upsample_factors=(3, 2),
    resnet_kernel_sizes=(3, 5),
    resnet_dilations=((1, 3), (1, 2)),
)
