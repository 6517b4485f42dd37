"""`ltx2.continuation_output`: what a segment leaves for the next one."""

from __future__ import annotations

from typing import Literal

from stagegraph import param, stage
from stagegraph_ltx2.continuation import LTX2ContinuationState
from stagegraph_ltx2.shapes import TEMPORAL
from stagegraph_ltx2.values import AudioLatent, VideoLatent
from stagegraph_media.values import Frames, Waveform


@stage("ltx2.continuation_output", version=1)
class LTX2ContinuationOutputStage:
    """Keep the end of a segment: frames or latents of the video, latents of the sound, and where both are in time."""

    video_frames: int = param(
        default=9, ge=1, le=257, multiple_of=TEMPORAL, remainder=1, help="Pixel frames that the next segment repeats."
    )
    audio_frames: int = param(
        default=49, ge=0, le=4097, help="The time of sound that it repeats, in pixel frames; 0 for none."
    )
    video_strength: float = param(default=1.0, ge=0, le=1, help="1 keeps the frames as they are, 0 not at all.")
    audio_strength: float = param(default=1.0, ge=0, le=1, help="1 keeps the sound as it is, 0 not at all.")
    hand_off: Literal["frames", "latents"] = param(
        default="frames",
        help="frames is what every program reads; latents loses nothing and is small, but is read by this one alone.",
    )

    def run(
        self,
        audio: AudioLatent,
        frames: Frames | None = None,
        video: VideoLatent | None = None,
        waveform: Waveform | None = None,
        previous: LTX2ContinuationState | None = None,
    ) -> LTX2ContinuationState:
        """Keep the end.

        Args:
            audio: latents of the sound, with what the segment repeats.
            frames: the decoded video, with what the segment repeats; needed to hand over frames.
            video: latents of the video; needed to hand over latents. If nothing but these is wired, the next segment
                can begin while this one is decoded.
            waveform: the decoded sound, for its rate.
            previous: what this segment went on from; None for the first.

        Raises:
            InputError: what is to be handed over is not wired, or the segment is shorter than that.
        """
        from stagegraph_ltx2.leaving import left

        return left(self, audio, frames, video, waveform.sample_rate if waveform is not None else None, previous)
