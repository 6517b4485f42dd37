"""The networks of `micro`, as they are before they have learned anything."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from stagegraph_ltx2.model.audio_vae import AudioVAE
from stagegraph_ltx2.model.config import (
    AudioVAEConfig,
    ConnectorsConfig,
    LatentUpsamplerConfig,
    TransformerConfig,
    VideoVAEConfig,
    VocoderConfig,
)
from stagegraph_ltx2.model.connectors import TextConnectors
from stagegraph_ltx2.model.latent_upsampler import LatentUpsampler
from stagegraph_ltx2.model.transformer import AudioVideoTransformer
from stagegraph_ltx2.model.video_blocks import ResBlock
from stagegraph_ltx2.model.video_vae import VideoVAE
from stagegraph_ltx2.model.vocoder import Vocoder

from . import recipe
from .lowpass import deafen

_BUILDERS: Mapping[str, tuple[Any, Callable[[Any], nn.Module]]] = {
    "transformer": (TransformerConfig, AudioVideoTransformer),
    "connectors": (ConnectorsConfig, TextConnectors),
    "vae": (VideoVAEConfig, VideoVAE),
    "audio_vae": (AudioVAEConfig, AudioVAE),
    "vocoder": (VocoderConfig, Vocoder),
    "latent_upsampler": (LatentUpsamplerConfig, LatentUpsampler),
}

MEAN_LOUDNESS = -8.0
"""Of spectrograms of our sounds, about, as a logarithm."""


def configuration(name: str) -> Any:
    """What a network is built from."""
    return _BUILDERS[name][0].from_dict(dict(recipe.NETWORKS[name]))


def build(name: str, seed: int = 0) -> Any:
    """A network in fp32, with the random weights that go with a seed."""
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        module = _BUILDERS[name][1](configuration(name))
        _prepare(module)
    return module


def gemma(seed: int = 0) -> Any:
    """The text model of Gemma 3, without its head and without eyes."""
    # transformers takes seconds to import.
    from transformers import Gemma3TextConfig, Gemma3TextModel

    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        settings = {key: value for key, value in recipe.GEMMA["text_config"].items() if key != "model_type"}
        model = Gemma3TextModel(Gemma3TextConfig(**settings))
        for name, p in model.named_parameters():
            if p.ndim == 2:
                nn.init.normal_(p, std=0.5 if "embed" in name else p.shape[1] ** -0.5)
    return model


def _prepare(module: nn.Module) -> None:
    """Begin with residual branches that add nothing."""
    zero: list[Tensor] = []
    for part in module.modules():
        if isinstance(part, ResBlock):
            zero += [part.conv2.conv.weight, part.conv2.conv.bias]  # type: ignore[list-item]
    if isinstance(module, AudioVideoTransformer):
        for name, p in module.named_parameters():
            modulates = ".linear." in name or "scale_shift_table" in name or "proj_out" in name
            if modulates:
                zero.append(p)
            elif p.ndim == 2:
                nn.init.normal_(p, std=p.shape[1] ** -0.5)
        deafen(module.proj_in.weight, 1)
    if isinstance(module, VideoVAE):
        zero += [module.encoder.conv_out.conv.weight, module.encoder.conv_out.conv.bias]  # type: ignore[list-item]
        deafen(module.decoder.conv_in.conv.weight, 1)
    if isinstance(module, LatentUpsampler):
        deafen(module.initial_conv.weight, 1)
        zero += [module.final_conv.weight, module.final_conv.bias]  # type: ignore[list-item]
    if isinstance(module, AudioVAE):
        nn.init.constant_(module.decoder.conv_out.conv.bias, MEAN_LOUDNESS)  # type: ignore[arg-type]
    with torch.no_grad():
        for tensor in zero:
            tensor.zero_()


def tables(*modules: nn.Module) -> set[int]:
    """Parameters that are lists of vectors, or the first and the last layer: Adam's."""
    names = ("embed_tokens", "registers", "table", "proj_in.", "proj_out.")
    return {id(p) for module in modules for name, p in module.named_parameters() if any(part in name for part in names)}
