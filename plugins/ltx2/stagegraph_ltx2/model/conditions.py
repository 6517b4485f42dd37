"""What the transformer is told beside the latents, as named tuples of tensors."""

from __future__ import annotations

from typing import Literal, NamedTuple

from torch import Tensor

from .adaln import Levels, Modulation
from .attention import Attend, KeyValue, attention
from .rope import Rope

CrossTimestep = Literal["other", "own", "mixed"]
"""By which noise level the streams are modulated and gated where they meet. These differ only where some tokens, or one
whole stream, are kept clean.

- "other": the level of the other stream, as in diffusers' pipelines.
- "own": the levels of the own tokens, the original recipe of LTX-2.0.
- "mixed": the levels of the own tokens modulate, that of the other stream gates, as in the official code of LTX-2.3.
"""


class Timesteps(NamedTuple):
    """How noisy the latents are: 1000 times the noise level."""

    video: Tensor | Levels
    """Of whole samples [b], or of tokens, [b, t] or by their levels: 0 for tokens that are clean already."""
    audio: Tensor | Levels
    video_sigma: Tensor
    """Of the stream [b], whatever single tokens are at: the level that denoising is at, 0 if it is kept as it is."""
    audio_sigma: Tensor

    @classmethod
    def alike(cls, t: Tensor) -> Timesteps:
        """All tokens of a sample, video and audio, at the same timestep: t [b]."""
        return cls(t, t, t, t)


class Text(NamedTuple):
    """A prompt as the blocks read it: features [b, t, d] at the width of each stream."""

    video: Tensor
    audio: Tensor
    read: tuple[tuple[KeyValue, KeyValue], ...] = ()
    """What each block makes of the features for video and for audio, if that was computed ahead."""


class Rotary(NamedTuple):
    """The RoPE of both streams: within each, and between them, where only time counts."""

    video: Rope
    audio: Rope
    video_cross: Rope
    audio_cross: Rope


class Biases(NamedTuple):
    """What is added to the scores of each attention, broadcast to [b, heads, queries, keys]; None adds nothing."""

    video: Tensor | None = None
    audio: Tensor | None = None
    video_text: Tensor | None = None
    audio_text: Tensor | None = None
    audio_to_video: Tensor | None = None
    """Its queries are video, its keys audio tokens."""
    video_to_audio: Tensor | None = None


class Attends(NamedTuple):
    """How each attention is computed: by default, among the tokens at hand.

    The seam at which tokens are divided. A network that holds some of the tokens is told attentions that see them all;
    everything else in it treats each token by itself. Text is whole everywhere.
    """

    video: Attend = attention
    audio: Attend = attention
    audio_to_video: Attend = attention
    """Its queries are video, its keys audio tokens."""
    video_to_audio: Attend = attention


class Perturbation(NamedTuple):
    """What a forward pass leaves out, so that guidance can move away from what comes of it."""

    video_blocks: frozenset[int] = frozenset()
    """Blocks, counted from 0, whose video tokens do not attend to each other but keep their own values."""
    audio_blocks: frozenset[int] = frozenset()
    kept: Tensor | None = None
    """[b], 1 for samples whose blocks are not perturbed after all, 0 for the others; None perturbs all."""
    isolated: bool = False
    """Whether video and audio do not attend to each other, in any block and sample."""


class Stream(NamedTuple):
    """What every block is told of one stream."""

    modulation: Modulation
    cross: Modulation
    """Where it meets the other stream."""
    gate: Modulation
    """Of what it takes from the other stream."""
    prompt: Modulation | None
    """Of the text that it reads, if that follows the noise level."""
    rope: Rope
    cross_rope: Rope
    bias: Tensor | None
    text_bias: Tensor | None
    cross_bias: Tensor | None
    attend: Attend
    cross_attend: Attend


class Conditions(NamedTuple):
    """What every block is told."""

    video: Stream
    audio: Stream
    perturbation: Perturbation
