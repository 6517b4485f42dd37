"""What each network is built from: the `config.json` of a diffusers folder as a frozen, checked value. Needs no torch.

Keys and defaults are those of diffusers 0.42.1.
"""

from .audio_vae import AudioVAEConfig
from .base import Config, ConfigError
from .connectors import ConnectorsConfig
from .gemma import GemmaConfig
from .latent_upsampler import LatentUpsamplerConfig
from .transformer import TransformerConfig
from .video_vae import STRIDES, VideoVAEConfig
from .vocoder import VocoderConfig, WidebandVocoderConfig, read_vocoder

__all__ = [
    "STRIDES",
    "AudioVAEConfig",
    "Config",
    "ConfigError",
    "ConnectorsConfig",
    "GemmaConfig",
    "LatentUpsamplerConfig",
    "TransformerConfig",
    "VideoVAEConfig",
    "VocoderConfig",
    "WidebandVocoderConfig",
    "read_vocoder",
]
