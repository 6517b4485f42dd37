"""Pictures of another size."""

from __future__ import annotations

import numpy as np
from av import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter
from numpy.typing import NDArray


def scaled(pixels: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """A picture [h, w, 3] in another size: the mean of the area of each pixel if it is smaller, else bicubic."""
    if pixels.shape[:2] == (height, width):
        return pixels
    smaller = height * width < pixels.shape[0] * pixels.shape[1]
    frame = VideoReformatter().reformat(
        VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24"),
        width=width,
        height=height,
        interpolation=Interpolation.AREA if smaller else Interpolation.BICUBIC,
    )
    return np.asarray(frame.to_ndarray(), np.uint8)
