"""What a checkpoint lends to stages: each part is a loaded module under a type of its own. Needs no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from stagegraph_ltx2 import text_encoder
    from stagegraph_ltx2.model import audio_vae, connectors, transformer, video_vae, vocoder, wideband_vocoder


@attrs.frozen(eq=False)
class TextEncoder:
    """Gemma 3 with its tokenizer: prompts to hidden states."""

    gemma: text_encoder.GemmaTextEncoder


@attrs.frozen(eq=False)
class Connectors:
    """Hidden states to what the transformer reads."""

    module: connectors.TextConnectors


@attrs.frozen(eq=False)
class Transformer:
    """Noisy tokens and text to velocities."""

    module: transformer.AudioVideoTransformer


@attrs.frozen(eq=False)
class VideoVAE:
    """Video latents to pixels, and back."""

    module: video_vae.VideoVAE


@attrs.frozen(eq=False)
class AudioVAE:
    """Audio latents to mel spectrograms, and back."""

    module: audio_vae.AudioVAE


@attrs.frozen(eq=False)
class Vocoder:
    """Mel spectrograms to sound."""

    module: vocoder.Vocoder | wideband_vocoder.WidebandVocoder
