"""What a checkpoint lends to stages: each part is a loaded module under a type of its own. Needs no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from stagegraph.facts import Facts

if TYPE_CHECKING:
    from torch import Tensor

    from stagegraph_ltx2 import scene, text_encoder
    from stagegraph_ltx2.checkpoint.lora.lay import Originals
    from stagegraph_ltx2.model import (
        audio_vae,
        connectors,
        latent_upsampler,
        transformer,
        video_vae,
        vocoder,
        wideband_vocoder,
    )
    from stagegraph_ltx2.parallel.team import Team


@attrs.frozen(eq=False)
class TextEncoder:
    """Gemma 3 with its tokenizer: prompts to hidden states."""

    gemma: text_encoder.GemmaTextEncoder


@attrs.frozen(eq=False)
class Connectors:
    """Hidden states to what the transformer reads; `under` as of a `Transformer`."""

    module: connectors.TextConnectors
    under: Originals | None = None


@attrs.frozen(eq=False)
class Transformer:
    """Noisy tokens and text to velocities.

    `traits` are what the checkpoint says of it: its "family" ("2.0", "2.3"), whether it is "distilled" (None if it does
    not say), and how many "layers" it has. `team` are the processes that evaluate it together, if this is not the only
    one. `under` are its weights as they were before something was laid over them.
    """

    module: transformer.AudioVideoTransformer
    traits: Facts = attrs.field(factory=dict)
    team: Team | None = None
    under: Originals | None = None

    @property
    def evaluator(self) -> scene.Evaluator:
        """What evaluates it."""
        from stagegraph_ltx2.scene import alone

        return alone if self.team is None else self.team.evaluator


@attrs.frozen(eq=False)
class VideoVAE:
    """Video latents to pixels, and back.

    `image_crf` is the H.264 quality that stills are given before they are encoded, because the transformer was trained
    on frames of videos.
    """

    module: video_vae.VideoVAE
    image_crf: int = 33


@attrs.frozen(eq=False)
class VideoStatistics:
    """What the latents of the video VAE are normalised by: mean and deviation of each channel, [c]."""

    mean: Tensor
    std: Tensor

    def normalize(self, z: Tensor) -> Tensor:
        """Latents [b, c, f, h, w] of the VAE to those of the transformer."""
        return (z - self.mean.to(z)[:, None, None, None]) / self.std.to(z)[:, None, None, None]

    def denormalize(self, z: Tensor) -> Tensor:
        """Latents [b, c, f, h, w] of the transformer to those of the VAE."""
        return z * self.std.to(z)[:, None, None, None] + self.mean.to(z)[:, None, None, None]


@attrs.frozen(eq=False)
class LatentUpsampler:
    """Video latents, not normalised, to those of a larger video."""

    module: latent_upsampler.LatentUpsampler

    @property
    def temporal_scale(self) -> int:
        """By how much the frame rate grows."""
        return 2 if self.module.config.temporal_upsample else 1


@attrs.frozen(eq=False)
class AudioVAE:
    """Audio latents to mel spectrograms, and back."""

    module: audio_vae.AudioVAE


@attrs.frozen(eq=False)
class Vocoder:
    """Mel spectrograms to sound."""

    module: vocoder.Vocoder | wideband_vocoder.WidebandVocoder
