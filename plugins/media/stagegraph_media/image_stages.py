"""The stages `media.write_image` and `media.contact_sheet`.

PyAV and numpy are imported when a stage runs, so that a program that only lists or checks graphs starts quickly.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from stagegraph import StageContext, param, stage
from stagegraph.errors import Fault
from stagegraph.facts import Facts
from stagegraph_media.stages import Written
from stagegraph_media.targets import target
from stagegraph_media.values import Frames, Image, Waveform

_SUFFIX = ".png"


@stage("media.write_image", version=1, cache=False, lane="io")
class WriteImage:
    """Write an image to a PNG file, without loss, and the run record beside it.

    Without `path` the file is NODE.png in the run's directory, and the record is run.json there. With `path`, say
    folder/fox.png, the folder is made if need be, and the record is folder/fox.run.json.
    """

    path: str | None = param(
        default=None, help="Where to write, ending in .png; by default NODE.png in the run's directory"
    )

    def __attrs_post_init__(self) -> None:
        # Found when the graph is built, not after the image has been made
        if self.path is not None and Path(self.path).suffix.lower() != _SUFFIX:
            raise ValueError(f'path is "{self.path}": must end in {_SUFFIX}')

    def check(self) -> Iterable[Fault]:
        """Whether the encoder is there."""
        from stagegraph_media.writing import missing_encoders

        return missing_encoders("png")

    def writes(self) -> Iterable[str]:
        """The path, if it is set; the run's directory is the run's own."""
        return [self.path] if self.path is not None else []

    def run(self, image: Image, *, context: StageContext) -> Written:
        """Write the file, then the record; a failure leaves no part of either."""
        from stagegraph_media.png import write_image

        context.check_cancelled()
        files = target(self.path, _SUFFIX, context)
        write_image(files.file, image)
        files.write_record(dict(context.record()))
        return Written(str(files.file))


@stage("media.contact_sheet", version=1)
class ContactSheet:
    """Show a video at a glance: evenly spaced frames in a grid with their times, and its sound below."""

    count: int = param(default=12, ge=1, le=1000, help="How many frames; all if the video has no more")
    columns: int = param(default=4, ge=1, le=100, help="How many frames are abreast")
    width: int = param(default=1280, ge=64, le=16384, help="Of the sheet, in pixels")

    def facts(self, inputs: Mapping[str, Facts]) -> Mapping[str, Facts]:
        """How wide the sheet is; its height depends on whether there is sound."""
        return {"output": {"width": self.width}}

    def run(self, frames: Frames, waveform: Waveform | None = None, *, context: StageContext) -> Image:
        """The first and the last frame, and those between."""
        from stagegraph_media.sheets import contact_sheet

        context.check_cancelled()
        return contact_sheet(frames, waveform, count=self.count, columns=self.columns, width=self.width)
