"""Configurations that are quick on a CPU, and those of the released models."""

from __future__ import annotations

from typing import Any

import attrs

from stagegraph_ltx2.model.config import (
    AudioVAEConfig,
    ConnectorsConfig,
    LatentUpsamplerConfig,
    TransformerConfig,
    VideoVAEConfig,
    VocoderConfig,
    WidebandVocoderConfig,
)

#: What the transformer of a later release has beyond that of LTX-2.0.
LTX_2_3: dict[str, Any] = {
    "gated_attn": True,
    "cross_attn_mod": True,
    "audio_gated_attn": True,
    "audio_cross_attn_mod": True,
    "use_prompt_embeddings": False,
    "perturbed_attn": True,
}
LTX_2_5: dict[str, Any] = LTX_2_3 | {"ff_bias": False, "use_keyframes_abs_pos_embedding": True}

#: How the decoder of the video VAE of LTX-2.3 differs from that of LTX-2.0, beside its sizes.
VAE_2_3: dict[str, Any] = {
    "decoder_spatio_temporal_scaling": (True,) * 4,
    "decoder_inject_noise": (False,) * 5,
    "upsample_type": ("spatiotemporal", "spatiotemporal", "temporal", "spatial"),
    "upsample_residual": (False,) * 4,
    "upsample_factor": (2, 2, 1, 2),
    "decoder_causal": False,
    "decoder_spatial_padding_mode": "zeros",
}

RELEASED_2_0 = {
    "transformer": TransformerConfig(rope_type="split"),
    "connectors": ConnectorsConfig(rope_type="split"),
    "vae": VideoVAEConfig(decoder_causal=False),
    "audio_vae": AudioVAEConfig(),
    "vocoder": VocoderConfig(),
    "latent_upsampler": LatentUpsamplerConfig(),
}
RELEASED_2_3 = {
    "transformer": TransformerConfig(rope_type="split", **LTX_2_3),
    "connectors": ConnectorsConfig(
        video_connector_num_attention_heads=32,
        video_connector_num_layers=8,
        video_gated_attn=True,
        audio_connector_num_attention_heads=32,
        audio_connector_attention_head_dim=64,
        audio_connector_num_layers=8,
        audio_gated_attn=True,
        rope_type="split",
        per_modality_projections=True,
        proj_bias=True,
    ),
    "vae": VideoVAEConfig(
        block_out_channels=(256, 512, 1024, 1024),
        decoder_block_out_channels=(256, 512, 512, 1024),
        layers_per_block=(4, 6, 4, 2, 2),
        decoder_layers_per_block=(4, 6, 4, 2, 2),
        **VAE_2_3,
    ),
    "audio_vae": AudioVAEConfig(),
    "vocoder": WidebandVocoderConfig(),
    "latent_upsampler": LatentUpsamplerConfig(use_rational_resampler=False),
}
RELEASED: dict[str, dict[str, Any]] = {
    "2.0": RELEASED_2_0,
    "2.3": RELEASED_2_3,
    "2.5": {"transformer": TransformerConfig(rope_type="split", **LTX_2_5)},
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

TRANSFORMER_2_3 = attrs.evolve(TRANSFORMER, **LTX_2_3)
TRANSFORMER_2_5 = attrs.evolve(TRANSFORMER, **LTX_2_5)
CONNECTORS_2_3 = ConnectorsConfig(
    caption_channels=24,
    text_proj_in_factor=3,
    video_connector_num_attention_heads=2,
    video_connector_attention_head_dim=16,
    video_connector_num_learnable_registers=4,
    video_gated_attn=True,
    audio_connector_num_attention_heads=2,
    audio_connector_attention_head_dim=8,
    audio_connector_num_learnable_registers=4,
    audio_gated_attn=True,
    rope_type="split",
    per_modality_projections=True,
    video_hidden_dim=32,
    audio_hidden_dim=16,
    proj_bias=True,
)
VAE_SMALL_2_3 = VideoVAEConfig(
    latent_channels=8,
    block_out_channels=(8, 8, 16, 16),
    decoder_block_out_channels=(4, 8, 8, 16),
    layers_per_block=(1, 1, 1, 1, 1),
    decoder_layers_per_block=(1, 1, 1, 1, 1),
    **VAE_2_3,
)
VOCODER_2_3 = WidebandVocoderConfig(
    in_channels=32,
    hidden_channels=16,
    upsample_kernel_sizes=(7, 4),
    upsample_factors=(5, 2),
    resnet_kernel_sizes=(3, 5),
    resnet_dilations=((1, 3), (1, 2)),
    bwe_in_channels=16,
    bwe_hidden_channels=16,
    bwe_upsample_kernel_sizes=(7, 5),
    bwe_upsample_factors=(5, 3),
    bwe_resnet_kernel_sizes=(3,),
    bwe_resnet_dilations=((1, 3),),
    filter_length=16,
    hop_length=5,
    window_length=16,
    num_mel_channels=8,
)
UPSAMPLER = LatentUpsamplerConfig(in_channels=8, mid_channels=32, num_blocks_per_stage=1, use_rational_resampler=False)
UPSAMPLERS = {
    "spatial x2": UPSAMPLER,
    "rational x2": attrs.evolve(UPSAMPLER, use_rational_resampler=True),
    "rational x1.5": attrs.evolve(UPSAMPLER, use_rational_resampler=True, rational_spatial_scale=1.5),
    "temporal x2": attrs.evolve(UPSAMPLER, spatial_upsample=False, temporal_upsample=True),
    "spatial and temporal x2": attrs.evolve(UPSAMPLER, temporal_upsample=True),
}
