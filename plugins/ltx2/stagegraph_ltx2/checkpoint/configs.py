"""What each component is built from, whichever layout told it. Needs no torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from stagegraph_ltx2.model.config import (
    AudioVAEConfig,
    Config,
    ConnectorsConfig,
    LatentUpsamplerConfig,
    TransformerConfig,
    VideoVAEConfig,
    VocoderConfig,
    WidebandVocoderConfig,
    read_vocoder,
)

PARSERS: Mapping[str, Callable[[Mapping[str, Any]], Config]] = MappingProxyType(
    {
        "transformer": TransformerConfig.from_dict,
        "connectors": ConnectorsConfig.from_dict,
        "vae": VideoVAEConfig.from_dict,
        "audio_vae": AudioVAEConfig.from_dict,
        "vocoder": read_vocoder,
        "latent_upsampler": LatentUpsamplerConfig.from_dict,
    }
)

#: Of the video VAE: what the strides say already, a norm that no block has, and what has one value in every release.
VIDEO_VAE_UNREAD = frozenset(
    {
        "spatial_compression_ratio",
        "temporal_compression_ratio",
        "resnet_norm_eps",
        "down_block_types",
        "spatio_temporal_scaling",
        "decoder_spatio_temporal_scaling",
        "decoder_inject_noise",
    }
)


def parse(name: str, config: Mapping[str, Any]) -> Config:
    """The checked configuration of a network.

    Raises:
        ConfigError: it cannot be built.
    """
    return PARSERS[name](config)


def identity(config: Config) -> dict[str, object]:
    """Everything that makes one network another, and nothing else."""
    values = {"_class_name": config.diffusers_class, **config.to_dict()}
    for key in _unread(config):
        values.pop(key, None)
    if isinstance(config, VideoVAEConfig):
        values["upsample_residual"] = list(config.residual_up_blocks)
    return values


def _unread(config: Config) -> frozenset[str]:
    if isinstance(config, TransformerConfig):
        text = frozenset() if config.use_prompt_embeddings else frozenset({"caption_channels"})
        return text if config.modulates_text else text | {"use_prompt_adaln_single"}
    if isinstance(config, ConnectorsConfig):
        return frozenset() if config.per_modality_projections else frozenset({"video_hidden_dim", "audio_hidden_dim"})
    if isinstance(config, VideoVAEConfig):
        return VIDEO_VAE_UNREAD
    if isinstance(config, VocoderConfig | WidebandVocoderConfig):
        return frozenset({"leaky_relu_negative_slope", "bwe_leaky_relu_negative_slope"} if _snakes(config) else ())
    return frozenset()


def _snakes(config: VocoderConfig | WidebandVocoderConfig) -> bool:
    return config.act_fn == "snakebeta"
