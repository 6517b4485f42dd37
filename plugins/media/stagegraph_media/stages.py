"""The stages `media.read_video`, `media.read_image` and `media.write_video`.

PyAV and numpy are imported when a stage runs, so that a program that only lists or checks graphs starts quickly.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from stagegraph import StageContext, outputs, param, stage
from stagegraph.errors import Fault
from stagegraph.facts import FactError, Facts
from stagegraph_media.mp4 import PRESETS, RECORD_TAG, WORST_CRF
from stagegraph_media.sources import Limits
from stagegraph_media.targets import check_mp4, record_json, target
from stagegraph_media.values import Frames, Image, Waveform


@outputs
class Clip:
    """What a video file holds; `waveform` is None if the file has no sound."""

    frames: Frames
    waveform: Waveform | None
    metadata: dict[str, str]


@outputs
class Written:
    """Where the file is."""

    path: str


@stage("media.read_video", version=1, cache=False, lane="io")
class ReadVideo:
    """Read the pictures, the sound and the tags of a video file.

    mp4, QuickTime, Matroska and WebM, at one frame rate. The file is taken for untrusted: it is refused, before it is
    decoded, if it exceeds the limits.
    """

    max_frames: int = param(default=20_000, ge=1, help="The most pixel frames that are accepted")
    max_gib: float = param(default=8.0, gt=0, help="The most memory for pixels and samples, in GiB")

    def facts(self, inputs: Mapping[str, Facts]) -> Mapping[str, Facts]:
        """The file must be a video, if it is known."""
        from stagegraph_media import looking

        if (path := looking.known_path(inputs)) is not None:
            looking.video(path, self._limits)
        return {}

    def run(self, path: str, *, context: StageContext) -> Clip:
        """The file at a path, relative to the current directory."""
        from stagegraph_media.reading import read_video

        clip = read_video(path, limits=self._limits, progress=context.progress)
        return Clip(clip.frames, clip.waveform, clip.metadata)

    @property
    def _limits(self) -> Limits:
        return Limits(frames=self.max_frames, decoded_bytes=int(self.max_gib * 2**30))


@stage("media.read_image", version=1, cache=False, lane="io")
class ReadImage:
    """Read a PNG, JPEG or WebP image, upright and without transparency."""

    max_megapixels: float = param(default=64.0, gt=0, help="The largest image that is accepted, in millions of pixels")

    def facts(self, inputs: Mapping[str, Facts]) -> Mapping[str, Facts]:
        """The file must be an image, if it is known; it tells its size."""
        from stagegraph_media import looking

        path = looking.known_path(inputs)
        return {} if path is None else {"output": looking.image(path, self._limits)}

    def run(self, path: str) -> Image:
        """The file at a path, relative to the current directory."""
        from stagegraph_media.reading import read_image

        return read_image(path, limits=self._limits)

    @property
    def _limits(self) -> Limits:
        return Limits(frame_pixels=int(self.max_megapixels * 1_000_000))


@stage("media.write_video", version=1, cache=False, lane="io")
class WriteVideo:
    """Write frames and sound to an mp4 file, and the run record beside it.

    Without `path` the file is NODE.mp4 in the run's directory, and the record is run.json there. With `path`, say
    folder/fox.mp4, the folder is made if need be, and the record is folder/fox.run.json.
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

        return missing_encoders()

    def writes(self) -> Iterable[str]:
        """The path, if it is set; the run's directory is the run's own."""
        return [self.path] if self.path is not None else []

    def facts(self, inputs: Mapping[str, Facts]) -> Mapping[str, Facts]:
        """Frames must have even sizes."""
        check_even(inputs.get("frames", {}))
        return {}

    def run(self, frames: Frames, waveform: Waveform | None = None, *, context: StageContext) -> Written:
        """Write the file, then the record; a failure leaves no part of either."""
        from stagegraph_media.writing import write_video

        files = target(self.path, ".mp4", context)
        record = dict(context.record())
        write_video(
            files.file,
            frames,
            waveform,
            crf=self.crf,
            preset=self.preset,
            metadata={RECORD_TAG: record_json(record)} if self.embed_record else {},
            progress=context.progress,
        )
        files.write_record(record)
        return Written(str(files.file))


def check_even(frames: Facts) -> None:
    """Refuse frames that 4:2:0 video cannot hold.

    Raises:
        FactError: a size is known to be odd.
    """
    height, width = frames.get("height", 2), frames.get("width", 2)
    if height % 2 or width % 2:
        what = f"the frames are {width}x{height}"
        why = "4:2:0 video needs an even width and height"
        fix = f"crop or scale to {max(width // 2, 1) * 2}x{max(height // 2, 1) * 2}"
        raise FactError(what, port="frames", why=why, fix=fix)
