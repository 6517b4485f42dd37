"""Pictures are stored lying or mirrored, with a note how to show them: `Turn` does what the note says."""

from __future__ import annotations

import struct
from typing import Any

import attrs
import numpy as np
from av import VideoFrame
from av.buffer import Buffer
from numpy.typing import NDArray


class UnknownTurn(ValueError):
    """A note that cannot be followed; the text says why."""


@attrs.frozen
class Turn:
    """First rows and columns change places, then the rows, then the columns are put in reverse order."""

    transpose: bool = False
    reverse_rows: bool = False
    reverse_columns: bool = False

    def upright(self, pixels: NDArray[Any]) -> NDArray[Any]:
        """`[h, w, 3]`, in memory as it is to be shown."""
        if self.transpose:
            pixels = pixels.swapaxes(0, 1)
        rows = slice(None, None, -1 if self.reverse_rows else None)
        columns = slice(None, None, -1 if self.reverse_columns else None)
        return np.ascontiguousarray(pixels[rows, columns])


#: EXIF orientation -> what to do; 6 and 8 are the quarter turns of a camera held upright.
OF_ORIENTATION = {
    1: Turn(),
    2: Turn(reverse_columns=True),
    3: Turn(reverse_rows=True, reverse_columns=True),
    4: Turn(reverse_rows=True),
    5: Turn(transpose=True),
    6: Turn(transpose=True, reverse_columns=True),
    7: Turn(transpose=True, reverse_rows=True, reverse_columns=True),
    8: Turn(transpose=True, reverse_rows=True),
}


def of_frame(frame: VideoFrame) -> Turn:
    """What the display matrix of a video frame says.

    Raises:
        UnknownTurn: it says something else than quarter turns and mirroring.
    """
    try:
        data: object = frame.side_data.get("DISPLAYMATRIX")
    except ValueError:  # PyAV lists nothing at all next to a kind of side data that it does not know
        if frame.rotation:
            raise UnknownTurn("the picture is turned, but PyAV does not tell how") from None
        data = None
    if not isinstance(data, Buffer):
        return Turn()
    # x' = a x + c y, y' = b x + d y, with y downwards; the rest is translation and scale
    a, b, _, c, d, *_ = struct.unpack("=9i", bytes(data))
    if b == c == 0 and a and d:
        return Turn(reverse_rows=d < 0, reverse_columns=a < 0)
    if a == d == 0 and b and c:
        return Turn(transpose=True, reverse_rows=b < 0, reverse_columns=c < 0)
    raise UnknownTurn("the picture is to be shown at an angle that is not a multiple of 90 degrees")
