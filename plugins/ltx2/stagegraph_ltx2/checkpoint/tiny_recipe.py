"""What the tiny checkpoint consists of, as data. Needs no torch.

Its geometry is that of LTX-2: 128 channels for 32 x 32 pixels and 8 frames, 8 x 16 for 64 mel bins and 4 mel frames,
stereo at 24 kHz. Only the widths and the depths are small. Its weights are noise.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import attrs

#: Counts up when the same seed no longer gives the same files, so that a cached copy is not mistaken for this one.
VERSION = 3


@attrs.frozen
class Variant:
    """One of the tiny checkpoints.

    Args:
        family: the release that it is shaped like.
        base: made as one that is not distilled: its scheduler shifts noise levels, and it takes guidance.
    """

    family: str = "2.0"
    base: bool = False


#: As LTX-2.0, distilled.
TINY = Variant()

#: The names under which tiny checkpoints are made on first use.
EMBEDDED: Mapping[str, Variant] = MappingProxyType(
    {
        "tiny": TINY,
        "tiny-base": Variant(base=True),
        "tiny-2.3": Variant("2.3"),
        "tiny-2.3-base": Variant("2.3", base=True),
    }
)

VOCABULARY = 512
#: Ids that no text gets: they stand for pictures.
IMAGE_TOKENS = {
    "boi_token_index": VOCABULARY - 3,
    "eoi_token_index": VOCABULARY - 2,
    "image_token_index": VOCABULARY - 1,
}
GEMMA_WIDTH = 32
GEMMA_LAYERS = 3

#: What the transformer, the connectors and the video VAE of LTX-2.3 have beyond those of LTX-2.0, and the sizes that
#: differ.
LATER: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "transformer": {
            "gated_attn": True,
            "cross_attn_mod": True,
            "audio_gated_attn": True,
            "audio_cross_attn_mod": True,
            "perturbed_attn": True,
            "use_prompt_embeddings": False,
        },
        "connectors": {
            "audio_connector_attention_head_dim": 8,
            "video_gated_attn": True,
            "audio_gated_attn": True,
            "per_modality_projections": True,
            "video_hidden_dim": 32,
            "audio_hidden_dim": 16,
            "proj_bias": True,
        },
        "vae": {
            "decoder_block_out_channels": [8, 16, 16, 32],
            "decoder_layers_per_block": [1, 1, 1, 1, 1],
            "decoder_spatio_temporal_scaling": [True] * 4,
            "decoder_inject_noise": [False] * 5,
            "upsample_type": ["spatiotemporal", "spatiotemporal", "temporal", "spatial"],
            "upsample_residual": [False] * 4,
            "upsample_factor": [2, 2, 1, 2],
            "decoder_spatial_padding_mode": "zeros",
        },
        "latent_upsampler": {"use_rational_resampler": False},
    }
)

TRANSFORMER: Mapping[str, Any] = MappingProxyType(
    {
        "num_layers": 2,
        "num_attention_heads": 2,
        "attention_head_dim": 16,
        "cross_attention_dim": 32,
        "audio_num_attention_heads": 2,
        "audio_attention_head_dim": 8,
        "audio_cross_attention_dim": 16,
        "caption_channels": GEMMA_WIDTH,
        "rope_type": "split",
    }
)

CONNECTORS: Mapping[str, Any] = MappingProxyType(
    {
        "caption_channels": GEMMA_WIDTH,
        "text_proj_in_factor": GEMMA_LAYERS + 1,
        "video_connector_num_attention_heads": 2,
        "video_connector_attention_head_dim": 16,
        "audio_connector_num_attention_heads": 2,
        "audio_connector_attention_head_dim": 16,
        "rope_type": "split",
    }
)

VIDEO_VAE: Mapping[str, Any] = MappingProxyType(
    {
        "block_out_channels": [8, 8, 16, 16],
        # The first level has the width of the latents, 128; a block there would weigh more than all others.
        "layers_per_block": [0, 1, 1, 1, 1],
        "decoder_block_out_channels": [8, 16, 32],
        "decoder_layers_per_block": [1, 1, 1, 1],
        "decoder_causal": False,
        "spatial_compression_ratio": 32,
        "temporal_compression_ratio": 8,
    }
)

# The statistics of the 8 x 16 channels of a packed audio latent have the length of base_channels, so that this is 128;
# the least number of blocks keeps it small.
AUDIO_VAE: Mapping[str, Any] = MappingProxyType({"ch_mult": [1, 1, 1], "num_res_blocks": 0})

VOCODER: Mapping[str, Any] = MappingProxyType(
    {"hidden_channels": 32, "resnet_kernel_sizes": [3], "resnet_dilations": [[1, 3, 5]]}
)

WIDEBAND_VOCODER: Mapping[str, Any] = MappingProxyType(
    {
        "hidden_channels": 64,
        "resnet_kernel_sizes": [3],
        "resnet_dilations": [[1, 3, 5]],
        "bwe_hidden_channels": 32,
        "bwe_resnet_kernel_sizes": [3],
        "bwe_resnet_dilations": [[1, 3, 5]],
    }
)

LATENT_UPSAMPLER: Mapping[str, Any] = MappingProxyType(
    {"mid_channels": 32, "num_blocks_per_stage": 1, "use_rational_resampler": True}
)

GEMMA: Mapping[str, Any] = MappingProxyType(
    {
        "architectures": ["Gemma3ForConditionalGeneration"],
        "model_type": "gemma3",
        # By default transformers loads in the stored format and diffusers in fp32: stored in fp32, both agree.
        "dtype": "float32",
        "tie_word_embeddings": True,
        "mm_tokens_per_image": 4,
        **IMAGE_TOKENS,
        "text_config": {
            "model_type": "gemma3_text",
            "vocab_size": VOCABULARY,
            "hidden_size": GEMMA_WIDTH,
            "intermediate_size": 64,
            "num_hidden_layers": GEMMA_LAYERS,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "head_dim": 16,
            "query_pre_attn_scalar": 16,
            "max_position_embeddings": 1024,
            "sliding_window": 256,
            # Layers of both kinds: the released model has five local ones for each global one.
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


def configurations(variant: Variant) -> dict[str, dict[str, Any]]:
    """Network -> what it is built from."""
    earlier = {
        "transformer": TRANSFORMER,
        "connectors": CONNECTORS,
        "vae": VIDEO_VAE,
        "audio_vae": AUDIO_VAE,
        "vocoder": VOCODER,
        "latent_upsampler": LATENT_UPSAMPLER,
    }
    if variant.family == "2.0":
        return {name: dict(values) for name, values in earlier.items()}
    vocoder = {"_class_name": "LTX2VocoderWithBWE", **WIDEBAND_VOCODER}
    later = {name: {**values, **LATER.get(name, {})} for name, values in earlier.items()}
    return {**later, "vocoder": vocoder}
