"""What flows between the stages. Needs no torch: graphs are built and checked without it.

Shapes: `b` batch, `t` tokens, `c` channels, `d` width, `f` latent frames, `h w` latent rows and columns.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

import attrs

from stagegraph.facts import Facts
from stagegraph_ltx2.shapes import LatentShape, PixelShape, pixel_frames

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
class TokenState:
    """The tokens of one stream before denoising: what it starts from, and what is to be kept of it.

    Attributes:
        initial: [b, t, c], the clean latents that denoising starts from; zeros where it starts from noise alone.
        noise: [b, t, c], standard normal.
        clean: [b, t, c], what is kept where the mask says so.
        mask: [b, t, 1], 1 = generate, 0 = keep; between, keep with less strength.
        positions: [b or 1, axes, t, 2], what each token covers: bounds in seconds and, of video, in pixels.
    """

    initial: Tensor
    noise: Tensor
    clean: Tensor
    mask: Tensor
    positions: Tensor

    @property
    def tokens(self) -> int:
        """t."""
        return int(self.noise.shape[1])

    @property
    def frozen(self) -> bool:
        """Whether all of it is kept."""
        return not bool(self.mask.any())


@attrs.frozen(eq=False)
class LatentState:
    """Video and audio before denoising, normalised, as tokens in fp32 on the CPU.

    Attributes:
        video: ordered by latent frame, row, column; after these, tokens of keyframes that are dropped in the end.
        audio: one token a latent frame.
        size: the video that it becomes.
        frame_rate: its exact rate, in pixel frames per second.
        noise_scale: the noise level that denoising starts at, 0 to 1.
        seed: of the request; what samplers draw later comes from it.
    """

    video: TokenState
    audio: TokenState
    size: PixelShape
    frame_rate: Fraction
    noise_scale: float = 1.0
    seed: int = 0

    @property
    def facts(self) -> Facts:
        """What was known of it before it was made."""
        return latent_facts(
            self.size,
            self.frame_rate,
            noise_scale=self.noise_scale,
            video_tokens=self.video.tokens,
            audio_frames=self.audio.tokens,
            kept=any(bool((tokens.mask < 1).any()) for tokens in (self.video, self.audio)),
        )


def latent_facts(
    size: PixelShape,
    frame_rate: Fraction,
    *,
    noise_scale: float = 1.0,
    video_tokens: int | None = None,
    audio_frames: int | None = None,
    kept: bool = False,
) -> Facts:
    """What is known of the latents of a video and its sound.

    Args:
        size: of the video.
        frame_rate: pixel frames per second.
        noise_scale: the noise level that denoising starts at.
        video_tokens: with those of keyframes, if there are any.
        audio_frames: latent frames of the sound, if not those of the video.
        kept: whether some of them are kept.
    """
    latent = size.latent()
    return {
        "latent_frames": latent.frames,
        "latent_height": latent.height,
        "latent_width": latent.width,
        "audio_frames": size.audio().frames if audio_frames is None else audio_frames,
        "frame_rate": frame_rate,
        "noise_scale": noise_scale,
        "video_tokens": latent.tokens if video_tokens is None else video_tokens,
        "kept": kept,
    }


def latent_shape(facts: Facts) -> LatentShape | None:
    """The size of the latents of a video; None if it is not known."""
    names = ("latent_frames", "latent_height", "latent_width")
    return LatentShape(*(facts[name] for name in names)) if facts.keys() >= {*names, "frame_rate"} else None


def facts_of_kept(known: Facts, frame_idx: int, frames: int | None, place: str) -> Facts:
    """What is known of latents that keep frames of a still or a clip.

    Args:
        known: of the latents before.
        frame_idx: the pixel frame at which they begin; negative ones count from the end.
        frames: how many latent frames they are; None if that is not known.
        place: "replace", "append", or "auto", which replaces at frame 0.
    """
    shape = latent_shape(known)
    if shape is None:
        return {}
    at_start = frame_idx in (0, -pixel_frames(shape.frames))
    made = {**known, "kept": True}
    tokens = made.pop("video_tokens", None)
    if place == "replace" or (place == "auto" and at_start):
        frames = 0
    if tokens is not None and frames is not None:
        made["video_tokens"] = tokens + frames * shape.tokens_per_frame
    return made


@attrs.frozen(eq=False)
class DenoisingProgress:
    """How far a denoising loop has come: all that it needs to go on.

    Attributes:
        step: steps that are done.
        video: [b, t, c], noisy latents after them, with the tokens of keyframes, fp32.
        audio: likewise.
        video_velocity: [b, t, c], of the last step; None for samplers that do not look back.
        audio_velocity: likewise.
    """

    step: int
    video: Tensor
    audio: Tensor
    video_velocity: Tensor | None = None
    audio_velocity: Tensor | None = None


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
