"""`ltx2.segment_trimming`: what is new in a segment."""

from __future__ import annotations

from stagegraph import outputs, stage
from stagegraph_ltx2.continuation import LTX2ContinuationState
from stagegraph_media.values import Frames, Waveform


@outputs
class TrimmedSegment:
    """What a segment adds to the video.

    Attributes:
        frames: its new frames.
        waveform: its new sound, exactly as long.
        start_frame: how many frames came before it.
    """

    frames: Frames
    waveform: Waveform
    start_frame: int


@stage("ltx2.segment_trimming", version=1, lane="cpu")
class LTX2SegmentTrimmingStage:
    """Cut off what a segment repeats of the one before, so that segments join without a gap or a repeat.

    The samples of each segment follow from the frames of all so far, so that sound and video do not drift apart.
    """

    def run(self, frames: Frames, waveform: Waveform, previous: LTX2ContinuationState | None = None) -> TrimmedSegment:
        """Cut.

        Args:
            frames: the decoded segment.
            waveform: its sound.
            previous: what the segment went on from; None for the first.

        Raises:
            InputError: the sound does not reach the end of the video, or the segment is of another frame rate than
                those before.
        """
        from stagegraph.errors import InputError
        from stagegraph_ltx2.errors import fault
        from stagegraph_ltx2.segments import Cut, Overlap, Timeline

        before, overlap, rate = Timeline.of(previous), Overlap.of(previous), waveform.sample_rate
        try:
            cut = Cut.make(before, overlap, len(frames.pixels), frames.frame_rate, rate)
        except ValueError as error:
            raise InputError(fault("contradiction", str(error), fix="make segments alike")) from None
        have = waveform.samples.shape[1]
        if not 0 <= cut.sample < cut.end <= have:
            what = f"the sound has {have} samples, but the new frames take those from {cut.sample} to {cut.end}"
            fix = "pass the latents through ltx2.continuation_input, which makes the sound long enough"
            raise InputError(fault("no_such_time", what, fix=fix))
        return TrimmedSegment(
            Frames(frames.pixels[cut.frame :], frames.frame_rate),
            Waveform(waveform.samples[:, cut.sample : cut.end], rate),
            before.frames,
        )
