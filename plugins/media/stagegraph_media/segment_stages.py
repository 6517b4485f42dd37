"""The stages `media.write_segment` and `media.join_videos`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from stagegraph import StageContext, param, stage
from stagegraph.errors import Fault
from stagegraph.facts import FactError, Facts
from stagegraph_media import soundforms
from stagegraph_media.mp4 import PRESETS, RECORD_TAG, WORST_CRF
from stagegraph_media.stages import Written, check_even
from stagegraph_media.targets import check_mp4, record_json, target
from stagegraph_media.values import Frames, Waveform


@stage("media.write_segment", version=1, cache=False, lane="io")
class WriteSegment:
    """Write a part of a video that grows: a fragmented mp4 file whose times go on from the part before.

    Sound is FLAC and pictures are in the order in which they are shown, so that parts join to the sample: a player can
    be fed one after the other, from any of them on. Without `path` the file is NODE.mp4 in the run's directory, and the
    record is run.json there.
    """

    path: str | None = param(
        default=None, help="Where to write, ending in .mp4; by default NODE.mp4 in the run's directory"
    )
    crf: int = param(default=18, ge=0, le=WORST_CRF, help="Quality: 0 is best, 18 looks lossless, 51 is worst")
    preset: str = param(
        default="medium",
        choices=PRESETS,
        help="Speed of the encoder: a slower one makes a smaller file of the same quality",
    )
    bits: int = param(default=16, choices=tuple(sorted(soundforms.FLAC)), help="Of a sample of the sound")
    clip: bool = param(default=False, help="Cut off sound that is beyond full scale; else it is refused")
    embed_record: bool = param(
        default=True,
        help="Whether the file carries the run record (prompts too) in its tag `stagegraph`; the record beside it is "
        "written either way",
    )

    def __attrs_post_init__(self) -> None:
        # Found when the graph is built, not after the video has been made
        check_mp4(self.path)

    def check(self) -> Iterable[Fault]:
        """Whether the encoders are there."""
        from stagegraph_media.writing import missing_encoders

        return missing_encoders("libx264", "flac")

    def writes(self) -> Iterable[str]:
        """The path, if it is set; the run's directory is the run's own."""
        return [self.path] if self.path is not None else []

    def facts(self, inputs: Mapping[str, Facts]) -> Mapping[str, Facts]:
        """Frames must have even sizes, and FLAC does not have every rate."""
        check_even(inputs.get("frames", {}))
        sound = inputs.get("waveform", {})
        if {"num_channels", "sample_rate"} <= sound.keys():
            form = soundforms.FLAC[self.bits]
            for fault in soundforms.rate_faults(form, sound["num_channels"], sound["sample_rate"]):
                raise FactError(fault.what, port="waveform", why=fault.why)
        return {}

    def run(
        self, frames: Frames, waveform: Waveform | None = None, start_frame: int = 0, *, context: StageContext
    ) -> Written:
        """Write the file, then the record; a failure leaves no part of either.

        Args:
            frames: of this part.
            waveform: its sound, exactly as long.
            start_frame: how many frames come before it.
            context: of the run.
        """
        from stagegraph_media.segments import write_segment

        files = target(self.path, ".mp4", context)
        record = dict(context.record())
        write_segment(
            files.file,
            frames,
            waveform,
            start_frame=start_frame,
            crf=self.crf,
            preset=self.preset,
            bits=self.bits,
            clip=self.clip,
            metadata={RECORD_TAG: record_json(record)} if self.embed_record else {},
            progress=context.progress,
        )
        files.write_record(record)
        return Written(str(files.file))


@stage("media.join_videos", version=1, cache=False, lane="io")
class JoinVideos:
    """Join mp4 files of one size, rate and encoding, one after the other, without encoding the pictures again.

    Sound that is FLAC stays what it is, to the sample. Other sound becomes AAC, encoded in one go over all parts, which
    leaves no gap where they meet.
    """

    path: str | None = param(
        default=None, help="Where to write, ending in .mp4; by default NODE.mp4 in the run's directory"
    )
    sound: str = param(
        default="keep",
        choices=("keep", "aac"),
        help="keep: FLAC as FLAC; aac: AAC in any case, which more players know and is smaller",
    )
    fragmented: bool = param(
        default=False,
        help="Write fragments, with the times that the parts have, for streaming; takes files of media.write_segment",
    )

    def __attrs_post_init__(self) -> None:
        check_mp4(self.path)
        if self.fragmented and self.sound != "keep":
            raise ValueError(f"sound is {self.sound}: must be keep with fragmented, which takes the parts as they are")

    def writes(self) -> Iterable[str]:
        """The path, if it is set; the run's directory is the run's own."""
        return [self.path] if self.path is not None else []

    def run(self, *parts: str, context: StageContext) -> Written:
        """Join the files at these paths; a failure leaves no part of the whole."""
        from stagegraph_media.growing import concatenate
        from stagegraph_media.joining import join_videos

        file = target(self.path, ".mp4", context).file
        paths = [Path(part) for part in parts]
        if self.fragmented:
            concatenate(paths, file, context.progress)
        else:
            join_videos(paths, file, aac=self.sound == "aac", progress=context.progress)
        return Written(str(file))
