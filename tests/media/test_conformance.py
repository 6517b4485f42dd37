"""stagegraph-media keeps to what every plugin must."""

from __future__ import annotations

from typing import Any

import av
import numpy as np

from stagegraph.testing import Example, conformance
from stagegraph_media.stages import ReadImage, ReadVideo, WriteVideo
from stagegraph_media.values import Frames, Waveform
from stagegraph_media.writing import write_video

PIXELS = np.random.default_rng(0).integers(0, 256, (3, 16, 24, 3), np.uint8)
SAMPLES = np.sin(np.arange(6000, dtype=np.float32) / 9).reshape(1, -1)


def frames_and_sound() -> dict[str, Any]:
    """A short clip."""
    return {"frames": Frames(PIXELS.copy(), 24), "waveform": Waveform(SAMPLES.copy(), 24000)}


def a_video() -> dict[str, Any]:
    """A file in the current folder."""
    return {"path": str(write_video("clip.mp4", *frames_and_sound().values()))}


def an_image() -> dict[str, Any]:
    """A file in the current folder."""
    with av.open("picture.png", "w", format="image2") as file:
        stream = file.add_stream("png", rate=1)
        stream.height, stream.width, stream.pix_fmt = 16, 24, "rgb24"
        file.mux(stream.encode(av.VideoFrame.from_ndarray(PIXELS[0], format="rgb24")))
        file.mux(stream.encode(None))
    return {"path": "picture.png"}


test_conformance = conformance(
    "media",
    examples=[
        Example(ReadVideo(max_frames=10), inputs=a_video),
        Example(ReadImage(max_megapixels=1.0), inputs=an_image),
        Example(WriteVideo(crf=30, preset="ultrafast"), inputs=frames_and_sound, name="in-the-folder-of-the-run"),
        Example(WriteVideo(path="new/fox.mp4", embed_record=False), inputs=frames_and_sound, name="at-a-path"),
    ],
)
