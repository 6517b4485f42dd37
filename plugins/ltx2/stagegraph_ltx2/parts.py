"""What a checkpoint lends to stages: each part is a loaded module under a type of its own. Needs no torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
    """Gemma 3 with its tokenizer: prompts to hidden states.

    `preprocess` is done to each prompt before it is read; `postprocess` gives the hidden states that are handed on, in
    their shape.
    """

    gemma: text_encoder.GemmaTextEncoder
    preprocess: Callable[[str], str] | None = None
    postprocess: Callable[[text_encoder.EncodedText], Tensor] | None = None

    def encode(self, prompts: Sequence[str]) -> text_encoder.EncodedText:
        """Hidden states of prompts.

        Raises:
            TypeError: what should be done to a prompt gives no text, or what is done to hidden states other shapes.
        """
        if self.preprocess is not None:
            prompts = [self.preprocess(prompt) for prompt in prompts]
            if not all(isinstance(prompt, str) for prompt in prompts):
                raise TypeError(f"{_named(self.preprocess)} made a {type(prompts[0]).__name__} of a prompt, not a str")
        encoded = self.gemma.encode(prompts)
        if self.postprocess is None:
            return encoded
        states = self.postprocess(encoded)
        wanted = encoded.hidden_states.shape
        if getattr(states, "shape", None) != wanted:
            made = f"a tensor {list(states.shape)}" if hasattr(states, "shape") else f"a {type(states).__name__}"
            raise TypeError(f"{_named(self.postprocess)} gave {made} in place of hidden states {list(wanted)}")
        return attrs.evolve(encoded, hidden_states=states)


def _named(function: Callable[..., object]) -> str:
    return getattr(function, "__qualname__", None) or repr(function)


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
    on frames of videos. `tiling` is whether videos may be decoded piece by piece.
    """

    module: video_vae.VideoVAE
    image_crf: int = 33
    tiling: bool = True


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
