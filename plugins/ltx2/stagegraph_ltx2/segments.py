"""How segments of a video join: which frames and samples of each are new, and what the next one starts from.

A segment repeats the end of the one before, so that it can go on from it: some frames at the head of its video, and
often more of the sound, which then begins before the video. Sound comes in latent frames of 40 ms, which frames of
video seldom fall on; so the time by which a segment's video begins after its sound is made such that both meet exactly
where they met in the segment before, however many segments follow. What is new is counted in frames, and samples follow
from frames, so that nothing adds up. Needs no torch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from fractions import Fraction
from typing import Any, Final

import attrs

from stagegraph.continuation import refusal
from stagegraph_ltx2.continuation import LTX2ContinuationState
from stagegraph_ltx2.shapes import AUDIO_COMPRESSION, AUDIO_LATENTS_PER_SECOND, HOP_LENGTH, SAMPLE_RATE, pixel_frames
from stagegraph_media.values import exact_rate

_KEY: Final = "timeline"
_MEL_RATE: Final = SAMPLE_RATE // HOP_LENGTH
_MOST: Final = 2**53


@attrs.frozen
class Timeline:
    """How far a video has come.

    Attributes:
        frames: pixel frames of all segments so far, each counted once.
        frame_rate: pixel frames per second; None before the first segment.
    """

    frames: int = 0
    frame_rate: Fraction | None = None

    def samples(self, sample_rate: int, frames: int | None = None) -> int:
        """The samples of sound that go with so many frames, or with all of them."""
        count = self.frames if frames is None else frames
        return round(count * sample_rate / self.frame_rate) if self.frame_rate is not None else 0

    def as_metadata(self, sample_rate: int | None) -> dict[str, Any]:
        """As it stands in the metadata of a state."""
        counts: dict[str, Any] = {"frames": self.frames, "frame_rate": str(self.frame_rate)}
        if sample_rate is not None:
            counts |= {"samples": self.samples(sample_rate)}
        return {_KEY: counts}

    @classmethod
    def of(cls, state: LTX2ContinuationState | None) -> Timeline:
        """As a state says; none if it does not, as those of other programs do not.

        Raises:
            ContinuationError: what it says is no timeline.
        """
        told = state.metadata.get(_KEY) if state is not None else None
        if told is None:
            return cls()
        path = ("metadata", _KEY)
        frames, rate = (told.get("frames"), told.get("frame_rate")) if isinstance(told, Mapping) else (None, None)
        if type(frames) is not int or not 0 <= frames < _MOST:
            raise refusal((*path, "frames"), "invalid_value", "it is no count of frames", "must be an integer from 0")
        if not isinstance(rate, str) or len(rate) > 40:
            raise refusal(
                (*path, "frame_rate"), "invalid_value", "it is no frame rate", 'must be like "24" or "30000/1001"'
            )
        try:
            return cls(frames, exact_rate(rate))
        except ValueError as error:
            raise refusal((*path, "frame_rate"), "invalid_value", "it is no frame rate", str(error)) from None


@attrs.frozen
class Overlap:
    """What a segment repeats of the one before.

    Attributes:
        frames: pixel frames at the head of the video.
        offset: seconds by which the video begins after the sound.
    """

    frames: int = 0
    offset: float = 0.0

    @classmethod
    def of(cls, state: LTX2ContinuationState | None) -> Overlap:
        """What a segment repeats that goes on from a state.

        Raises:
            ContinuationError: it says where frames are, not which.
        """
        if state is None:
            return cls()
        held = 0
        if state.video_frames is not None:
            held = len(state.video_frames)
        elif state.video_latents is not None:
            held = pixel_frames(state.video_latents.shape[2])
        elif state.video_frames_blob_id is not None or state.video_latents_blob_id is not None:
            raise unresolved("video")
        at = state.video_conditioning_frame_idx
        if held and at < 0:
            what = f"frames of the segment before go at {at}, counted from the end"
            raise refusal(
                ("video_conditioning_frame_idx",), "invalid_value", what, "a segment repeats what came before"
            )
        return cls(held + at if held else 0, state.video_position_offset_sec)


@attrs.frozen
class Cut:
    """What of a decoded segment is new.

    Attributes:
        frame: the first new frame.
        sample: the first new sample.
        end: the sample after the last new one.
        timeline: with the segment.
    """

    frame: int
    sample: int
    end: int
    timeline: Timeline

    @classmethod
    def make(
        cls, before: Timeline, overlap: Overlap, frames: int, frame_rate: Fraction, sample_rate: int = SAMPLE_RATE
    ) -> Cut:
        """Cut a segment of so many frames.

        Raises:
            ValueError: it repeats all there is, or has another frame rate than the segments before.
        """
        if overlap.frames >= frames:
            raise ValueError(f"the segment has {frames} frames, of which {overlap.frames} repeat the one before")
        if before.frame_rate not in (None, frame_rate):
            raise ValueError(f"the segment has {frame_rate} frames a second, those before {before.frame_rate}")
        known = Timeline(before.frames, frame_rate)
        after = Timeline(before.frames + frames - overlap.frames, frame_rate)
        # Where the sample 0 of the segment is in the whole
        start = round(((before.frames - overlap.frames) / frame_rate - Fraction(overlap.offset)) * sample_rate)
        return cls(overlap.frames, known.samples(sample_rate) - start, after.samples(sample_rate) - start, after)


def sound_latents(seconds: float) -> int:
    """The fewest latent frames whose sound is at least so long, and one more, so that its end is not an edge."""
    mel = math.ceil(seconds * _MEL_RATE - 1e-6)
    return math.ceil((mel - 1) / AUDIO_COMPRESSION) + 2


@attrs.frozen
class Tail:
    """The end of a segment, from which the next goes on.

    Attributes:
        latents: latent frames of sound that are carried over.
        num_frames: the same in pixel frames, as states say it.
        offset: seconds by which the video of the next segment begins after its sound.
    """

    latents: int
    num_frames: int
    offset: float

    @classmethod
    def make(
        cls, frames: int, frame_rate: Fraction, latents: int, offset: float, video_frames: int, audio_frames: int
    ) -> Tail:
        """What to carry over.

        Args:
            frames: pixel frames of the segment, with those that it repeats.
            frame_rate: of them.
            latents: latent frames of its sound.
            offset: seconds by which its video begins after its sound.
            video_frames: how many pixel frames the next one repeats.
            audio_frames: how many pixel frames' time of sound.
        """
        rate = float(frame_rate)
        joint = offset + (frames - video_frames) / rate  # where the next video begins, in the time of this sound
        wanted = max(1, round(audio_frames / rate * AUDIO_LATENTS_PER_SECOND))
        at_least = math.ceil(latents - joint * AUDIO_LATENTS_PER_SECOND - 1e-6)  # no later than the video
        kept = min(max(wanted, at_least), latents)
        begin = (latents - kept) / AUDIO_LATENTS_PER_SECOND
        return cls(kept, math.ceil(kept / AUDIO_LATENTS_PER_SECOND * rate - 1e-6), max(0.0, joint - begin))


def carried_latents(state: LTX2ContinuationState, frame_rate: Fraction) -> int:
    """How many latent frames at the end of a state's sound are kept."""
    if state.audio_latents is None or not state.audio_conditioning_num_frames:
        return 0
    wanted = round(state.audio_conditioning_num_frames / float(frame_rate) * AUDIO_LATENTS_PER_SECOND)
    return min(max(1, wanted), int(state.audio_latents.shape[2]))


def unresolved(what: str) -> Exception:
    """The error of a state whose content stands in a store."""
    return refusal(
        (what,),
        "unknown_blob",
        f"the {what} of the segment before is not here, only the id of a blob",
        "the state was decoded without the store of its blobs",
        "give blob_store= where it is decoded",
    )
