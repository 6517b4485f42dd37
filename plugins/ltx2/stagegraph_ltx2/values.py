"""What flows between the stages. Needs no torch: graphs are built and checked without it.

Shapes: `b` batch, `t` tokens, `c` channels, `d` width, `f` latent frames, `h w` latent rows and columns.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

import attrs

from stagegraph.facts import Facts
from stagegraph_ltx2.shapes import PixelShape

if TYPE_CHECKING:
    from torch import Tensor


@attrs.frozen(eq=False)
class TextContext:
    """A prompt as the transformer reads it.

    Attributes:
        video: features [b, t, d] for the video stream.
        audio: features [b, t, d] for the audio stream.
    """

    video: Tensor
    audio: Tensor


@attrs.frozen(eq=False)
class LatentState:
    """Video and audio on their way from noise to content, normalised, as tokens in fp32 on the CPU.

    Attributes:
        video: [b, t, c], ordered by latent frame, row, column.
        audio: [b, t, c], one token a latent frame.
        size: the video that it becomes.
        frame_rate: its exact rate, in pixel frames per second.
    """

    video: Tensor
    audio: Tensor
    size: PixelShape
    frame_rate: Fraction

    @property
    def facts(self) -> Facts:
        """What was known of it before it was made."""
        return latent_facts(self.size, self.frame_rate)


def latent_facts(size: PixelShape, frame_rate: Fraction) -> Facts:
    """What is known of the latents of a video and its sound: their sizes, and pixel frames per second."""
    latent = size.latent()
    return {
        "latent_frames": latent.frames,
        "latent_height": latent.height,
        "latent_width": latent.width,
        "audio_frames": size.audio().frames,
        "frame_rate": frame_rate,
    }


@attrs.frozen(eq=False)
class VideoLatent:
    """A denoised video.

    Attributes:
        latent: [b, c, f, h, w], normalised, fp32.
        frame_rate: pixel frames per second.
    """

    latent: Tensor
    frame_rate: Fraction

    @property
    def facts(self) -> Facts:
        """What was known of it before it was made."""
        frames, height, width = self.latent.shape[2:]
        names = ("latent_frames", "latent_height", "latent_width", "frame_rate")
        return dict(zip(names, (frames, height, width, self.frame_rate), strict=True))


@attrs.frozen(eq=False)
class AudioLatent:
    """Denoised sound.

    Attributes:
        latent: tokens [b, t, c], normalised, fp32; 25 a second.
    """

    latent: Tensor

    @property
    def facts(self) -> Facts:
        """What was known of it before it was made."""
        return {"audio_frames": self.latent.shape[1]}
