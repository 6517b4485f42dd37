"""What `micro` is built from, as data: LTX-2.0 in its true geometry, with small widths and depths. Needs no torch."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

VOCABULARY = 384 + 256
IMAGE_TOKENS = {
    "boi_token_index": VOCABULARY - 3,
    "eoi_token_index": VOCABULARY - 2,
    "image_token_index": VOCABULARY - 1,
}
TEXT_WIDTH = 80
TEXT_LAYERS = 3
TEXT_LENGTH = 64
"""Tokens of the longest sentence, in training; afterwards as many as LTX-2 takes."""

GEMMA: Mapping[str, Any] = MappingProxyType(
    {
        "architectures": ["Gemma3ForConditionalGeneration"],
        "model_type": "gemma3",
        # By default transformers computes in what this says and diffusers in fp32: so both agree.
        "dtype": "float32",
        "tie_word_embeddings": True,
        "mm_tokens_per_image": 4,
        **IMAGE_TOKENS,
        "text_config": {
            "model_type": "gemma3_text",
            "vocab_size": VOCABULARY,
            "hidden_size": TEXT_WIDTH,
            "intermediate_size": 160,
            "num_hidden_layers": TEXT_LAYERS,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "head_dim": 40,
            "query_pre_attn_scalar": 40,
            "max_position_embeddings": 1024,
            "sliding_window": 256,
            "layer_types": ["sliding_attention", "sliding_attention", "full_attention"],
            "pad_token_id": 0,
            "eos_token_id": 1,
            "bos_token_id": 2,
        },
        "vision_config": {
            "model_type": "siglip_vision_model",
            "hidden_size": 16,
            "intermediate_size": 16,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "image_size": 28,
            "patch_size": 14,
        },
    }
)

TRANSFORMER: Mapping[str, Any] = MappingProxyType(
    {
        "num_layers": 6,
        "num_attention_heads": 3,
        "attention_head_dim": 48,
        "cross_attention_dim": 144,
        "audio_num_attention_heads": 3,
        "audio_attention_head_dim": 32,
        "audio_cross_attention_dim": 96,
        "caption_channels": TEXT_WIDTH,
        "rope_type": "split",
        "base_height": 256,
        "base_width": 256,
    }
)

CONNECTORS: Mapping[str, Any] = MappingProxyType(
    {
        "caption_channels": TEXT_WIDTH,
        "text_proj_in_factor": TEXT_LAYERS + 1,
        "video_connector_num_attention_heads": 2,
        "video_connector_attention_head_dim": 40,
        "video_connector_num_layers": 1,
        "audio_connector_num_attention_heads": 2,
        "audio_connector_attention_head_dim": 40,
        "audio_connector_num_layers": 1,
        "rope_type": "split",
    }
)

VIDEO_VAE: Mapping[str, Any] = MappingProxyType(
    {
        "block_out_channels": [64, 64, 64, 64],
        # The first level has the width of the latents, 128; a block there would weigh more than all others.
        "layers_per_block": [0, 1, 1, 1, 1],
        "decoder_block_out_channels": [24, 48, 96],
        "decoder_layers_per_block": [2, 2, 2, 0],
        "upsample_factor": [1, 2, 2],
        "decoder_causal": False,
        "spatial_compression_ratio": 32,
        "temporal_compression_ratio": 8,
    }
)

# The statistics of the 8 x 16 channels of a packed audio latent have the length of base_channels, so that this is 128;
# the least number of blocks keeps it small.
AUDIO_VAE: Mapping[str, Any] = MappingProxyType({"ch_mult": [1, 1, 1], "num_res_blocks": 0})

# Fewer steps than LTX-2.0 has to the same rate: 16 channels are left at the end, where those would leave 4.
VOCODER: Mapping[str, Any] = MappingProxyType(
    {
        "hidden_channels": 128,
        "upsample_factors": [6, 5, 8],
        "upsample_kernel_sizes": [16, 15, 16],
        "resnet_kernel_sizes": [3, 7],
        "resnet_dilations": [[1, 3], [1, 3]],
    }
)

# Norms are of 32 groups, so that fewer than 64 channels lose what a picture's colours are; edges take blocks.
LATENT_UPSAMPLER: Mapping[str, Any] = MappingProxyType(
    {"mid_channels": 64, "num_blocks_per_stage": 1, "use_rational_resampler": True}
)

NETWORKS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "transformer": TRANSFORMER,
        "connectors": CONNECTORS,
        "vae": VIDEO_VAE,
        "audio_vae": AUDIO_VAE,
        "vocoder": VOCODER,
        "latent_upsampler": LATENT_UPSAMPLER,
    }
)
