"""From the configuration in an official file to those of a diffusers folder. Needs no torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from stagegraph_ltx2.checkpoint.official_media import (
    read_audio_vae,
    read_latent_upsampler,
    read_video_vae,
    read_vocoder,
)
from stagegraph_ltx2.checkpoint.official_section import Shapes
from stagegraph_ltx2.checkpoint.official_text import read_connectors, read_transformer

#: Component -> what reads its configuration.
READERS: Mapping[str, Callable[[Mapping[str, Any], Shapes], dict[str, Any]]] = MappingProxyType(
    {
        "transformer": read_transformer,
        "connectors": read_connectors,
        "vae": read_video_vae,
        "audio_vae": read_audio_vae,
        "vocoder": read_vocoder,
        "latent_upsampler": read_latent_upsampler,
    }
)
