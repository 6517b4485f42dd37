"""Sizes of what LTX-2 makes, in pixels, latents, tokens and audio samples, and the way from one to the next.

Needs no torch. Video shrinks by 32 in height and width and by 8 in time, where the first pixel frame has a latent frame
of its own; audio has 25 latent frames a second.
"""

from __future__ import annotations

import attrs

SPATIAL = 32
"""Pixels a latent covers in height and in width."""

TEMPORAL = 8
"""Pixel frames a latent frame covers, but for the first, which covers one."""

VIDEO_CHANNELS = 128
"""Channels of a video latent, and of a video token."""

MIN_SIZE = 2 * SPATIAL
"""Pixels of the smallest side: the video decoder pads by reflection, which takes two latents."""

SAMPLE_RATE = 16_000
"""Hz of the sound that mel spectrograms are made of. The vocoder plays at a rate of its own."""

HOP_LENGTH = 160
"""Samples from one mel frame to the next: 100 mel frames a second."""

MEL_BINS = 64
MEL_CHANNELS = 2

AUDIO_COMPRESSION = 4
"""Mel frames, and mel bins, that an audio latent covers; the first latent frame covers one mel frame."""

AUDIO_LATENTS_PER_SECOND = SAMPLE_RATE / HOP_LENGTH / AUDIO_COMPRESSION

AUDIO_CHANNELS = 8
"""Channels of an audio latent; a token holds them for all 16 latent mel bins, which makes 128."""


class ShapeError(ValueError):
    """A video size that the model cannot make.

    Attributes:
        faults: Every fault, one sentence each, with the nearest sizes that it can make.
    """

    def __init__(self, faults: tuple[str, ...]) -> None:
        self.faults = faults
        super().__init__("; ".join(faults))


@attrs.frozen
class LatentShape:
    """Video latents, without batch and channels: f, h, w."""

    frames: int
    height: int
    width: int

    @property
    def tokens(self) -> int:
        """t: transformer positions, ordered by frame, then row, then column."""
        return self.frames * self.height * self.width

    @property
    def tokens_per_frame(self) -> int:
        return self.height * self.width

    def pixel(self, frame_rate: float) -> PixelShape:
        """The video that these latents decode to, at so many pixel frames a second."""
        return PixelShape(pixel_frames(self.frames), self.height * SPATIAL, self.width * SPATIAL, frame_rate)


@attrs.frozen
class AudioShape:
    """Sound as latents, which are also tokens."""

    frames: int

    @property
    def tokens(self) -> int:
        """t: transformer positions, one a latent frame."""
        return self.frames

    @property
    def mel_frames(self) -> int:
        return (self.frames - 1) * AUDIO_COMPRESSION + 1

    @property
    def seconds(self) -> float:
        """How much sound the latents stand for. The decoded waveform is 3 mel frames shorter."""
        return self.frames / AUDIO_LATENTS_PER_SECOND

    def samples(self, samples_per_mel_frame: int) -> int:
        """s: length of the decoded waveform, given what the vocoder makes of one mel frame (240 in LTX-2.0)."""
        return self.mel_frames * samples_per_mel_frame


@attrs.frozen
class PixelShape:
    """A video as it is seen.

    Raises:
        ShapeError: Frames that are not 8k + 1, or sides that are not multiples of 32 from 64 on.
    """

    frames: int
    height: int
    width: int
    frame_rate: float = 24.0
    """Pixel frames a second."""

    def __attrs_post_init__(self) -> None:
        faults = shape_faults(self.frames, self.height, self.width, self.frame_rate)
        if faults:
            raise ShapeError(faults)

    @property
    def seconds(self) -> float:
        return self.frames / self.frame_rate

    def latent(self) -> LatentShape:
        return LatentShape(latent_frames(self.frames), self.height // SPATIAL, self.width // SPATIAL)

    def audio(self) -> AudioShape:
        """The sound that goes with the video."""
        return AudioShape(audio_latent_frames(self.frames, self.frame_rate))


def latent_frames(frames: int) -> int:
    """Latent frames of 8k + 1 pixel frames: k + 1."""
    return (frames - 1) // TEMPORAL + 1


def pixel_frames(frames: int) -> int:
    """Pixel frames that so many latent frames decode to."""
    return (frames - 1) * TEMPORAL + 1


def audio_latent_frames(frames: int, frame_rate: float) -> int:
    """Audio latent frames of a video; a half rounds to the even count, as it does in every other implementation."""
    return round(frames / frame_rate * AUDIO_LATENTS_PER_SECOND)


def sound_before(size: PixelShape, seconds: float) -> AudioShape:
    """The sound of a video that begins so many seconds after its sound."""
    return AudioShape(round((size.frames / size.frame_rate + seconds) * AUDIO_LATENTS_PER_SECOND))


def nearest_size(size: int, multiple: int = SPATIAL) -> tuple[int, int]:
    """The valid heights (or widths) around `size`, both equal to it if it is valid: 400 gives (384, 416).

    Args:
        size: Pixels.
        multiple: 32; 64 where a base pass at half the size comes first.
    """
    least = max(MIN_SIZE, multiple)
    below = size // multiple * multiple
    above = -(-size // multiple) * multiple
    return max(below, least), max(above, least)


def nearest_num_frames(frames: int) -> tuple[int, int]:
    """The valid frame counts around `frames`, both equal to it if it is valid: 120 gives (113, 121)."""
    below = (frames - 1) // TEMPORAL
    above = -(-(frames - 1) // TEMPORAL)
    return max(below, 0) * TEMPORAL + 1, max(above, 0) * TEMPORAL + 1


def shape_faults(
    frames: int, height: int, width: int, frame_rate: float = 24.0, multiple: int = SPATIAL
) -> tuple[str, ...]:
    """What keeps the model from making such a video, one sentence each; empty if nothing does."""
    faults = []
    if frames not in nearest_num_frames(frames):
        faults.append(f"num_frames={frames} must be a multiple of {TEMPORAL} plus 1{_try(nearest_num_frames(frames))}")
    for name, size in (("height", height), ("width", width)):
        nearest = nearest_size(size, multiple)
        if size not in nearest:
            faults.append(
                f"{name}={size} must be a multiple of {multiple} and at least {max(MIN_SIZE, multiple)}{_try(nearest)}"
            )
    if not 0 < frame_rate < float("inf"):
        faults.append(f"frame_rate={frame_rate} must be above 0")
    elif audio_latent_frames(max(frames, 1), frame_rate) < 1:
        faults.append(f"frame_rate={frame_rate} leaves {frames} frames without a single frame of sound")
    return tuple(faults)


def _try(nearest: tuple[int, int]) -> str:
    return f"; try {' or '.join(map(str, dict.fromkeys(nearest)))}"
