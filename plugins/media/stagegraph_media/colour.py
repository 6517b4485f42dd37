"""RGB to YCbCr and back, in the way that the tags of a file say.

What is written is BT.709 with limited range at every size: an untagged file is guessed by its size, differently by
each player, so the tags are always set. What is read is converted by its tags, and only an untagged file by its size.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from av import VideoFrame
from av.video.codeccontext import VideoCodecContext
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter
from numpy.typing import NDArray

# ITU-T H.273 code points, as in the files
BT709 = 1
UNSPECIFIED = 2
LIMITED = 1
HDR_TRANSFERS = {16: "PQ", 18: "HLG"}
# From this height on an untagged video is taken for high definition
HD_HEIGHT = 720

# Constants of swscale that older releases of PyAV do not name
_BT2020 = 9
_BICUBIC, _FULL_CHROMA_OUT, _FULL_CHROMA_IN, _ACCURATE_ROUNDING = 0x4, 0x2000, 0x4000, 0x40000

_MATRICES: dict[int, int] = {
    0: Colorspace.ITU709,  # RGB samples: swscale needs no matrix
    BT709: Colorspace.ITU709,
    4: Colorspace.FCC,
    5: Colorspace.ITU601,
    6: Colorspace.ITU601,
    7: Colorspace.SMPTE240M,
    9: _BT2020,
}
# With the other flags left out the chroma of a flat patch is off by up to 3 steps, with these by 1
_EXACT = _BICUBIC | _ACCURATE_ROUNDING | _FULL_CHROMA_IN | _FULL_CHROMA_OUT


class UnsupportedColour(ValueError):
    """A frame whose samples have no faithful 8-bit RGB picture here; the text says why."""


def refuse_hdr(context: VideoCodecContext) -> None:
    """Check what a decoder says about its pictures.

    Raises:
        UnsupportedColour: they have a high dynamic range.
    """
    transfer = HDR_TRANSFERS.get(context.color_trc)
    if transfer:
        raise UnsupportedColour(f"the picture is HDR ({transfer}), which 8-bit RGB cannot hold")


class Converter:
    """Converts the frames of one video; it keeps the scaler's tables between frames."""

    def __init__(self) -> None:
        self._scaler = VideoReformatter()

    def to_yuv420p(self, pixels: NDArray[np.uint8]) -> VideoFrame:
        """A BT.709 limited-range frame of `[h, w, 3]` RGB; both sizes even."""
        return self._scaler.reformat(
            VideoFrame.from_ndarray(pixels, format="rgb24"),
            format="yuv420p",
            interpolation=_EXACT,
            dst_colorspace=Colorspace.ITU709,
            src_color_range=ColorRange.JPEG,
            dst_color_range=ColorRange.MPEG,
        )

    def to_rgb(self, frame: VideoFrame, format: str = "rgb24") -> NDArray[Any]:
        """The picture as `[h, w, 3]` (or 4 for "rgba") of uint8; deeper samples are rounded to 8 bits.

        Raises:
            UnsupportedColour: a matrix that swscale does not know.
        """
        matrix = int(frame.colorspace)
        if matrix == UNSPECIFIED:
            source = int(Colorspace.ITU709 if frame.height >= HD_HEIGHT else Colorspace.ITU601)
        elif matrix in _MATRICES:
            source = _MATRICES[matrix]
        else:
            raise UnsupportedColour(f"the colour matrix has the code {matrix}, which swscale does not convert")
        return self._scaler.reformat(
            frame,
            format=format,
            interpolation=_EXACT,
            src_colorspace=source,
            src_color_range=int(frame.color_range),
            dst_color_range=ColorRange.JPEG,
        ).to_ndarray()
