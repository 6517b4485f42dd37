"""What is red stays red, in this reader and in any other that follows the tags."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from stagegraph_media.errors import MediaError
from stagegraph_media.reading import read_video
from stagegraph_media.values import Frames
from stagegraph_media.writing import write_video

PATCH = 32
COLOURS = np.array(
    [
        *([255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 0], [0, 255, 255], [255, 0, 255]),
        *([0, 0, 0], [128, 128, 128], [255, 255, 255], [200, 30, 90], [17, 101, 180]),
    ],
    np.uint8,
)


def patches(height: int = PATCH) -> Frames:
    """Three equal frames with a square of each colour side by side."""
    row = np.repeat(COLOURS, PATCH, axis=0)
    return Frames(np.broadcast_to(row, (3, height, len(row), 3)), 24)


def inside(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    """The mean of each patch `[f, n, 3]`, without its edges, where 4:2:0 mixes neighbours."""
    tiles = pixels.reshape(*pixels.shape[:2], len(COLOURS), PATCH, 3)
    return tiles[:, :, :, 8:-8].mean(axis=(1, 3), dtype=np.float64)


@pytest.mark.parametrize("height", [PATCH, 720])
def test_flat_colours_survive(tmp_path: Path, height: int) -> None:
    """Within 3 of 255, at standard and at high definition, where an untagged file would be guessed differently."""
    write_video(tmp_path / "a.mp4", patches(height), preset="ultrafast")
    error = np.abs(inside(read_video(tmp_path / "a.mp4").frames.pixels) - COLOURS)
    assert error.max() <= 3


def test_the_samples_are_what_the_tags_say(tmp_path: Path) -> None:
    """The stored Y, Cb and Cr follow the formulas of ITU-R BT.709 in limited range."""
    write_video(tmp_path / "a.mp4", patches(), crf=0)
    with av.open(str(tmp_path / "a.mp4")) as container:
        context = container.streams.video[0].codec_context
        tags = (context.color_primaries, context.color_trc, context.colorspace, context.color_range)
        frame = next(container.decode(video=0))
        planes = [
            np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)[:, : plane.width]
            for plane in frame.planes
        ]
    stored = [
        plane.reshape(plane.shape[0], len(COLOURS), -1)[:, :, plane.shape[1] // len(COLOURS) // 2].mean(0)
        for plane in planes
    ]
    assert tags == (1, 1, 1, 1)
    r, g, b = COLOURS.T / 255
    y = 0.2126 * r + 0.7152 * g + 0.0722 * b
    expected = [16 + 219 * y, 128 + 224 * (b - y) / 1.8556, 128 + 224 * (r - y) / 1.5748]
    np.testing.assert_allclose(stored, expected, atol=1)


def test_hdr_video_is_refused(tmp_path: Path) -> None:
    """Its values would come out as a flat grey picture, so nothing comes out."""
    path = tmp_path / "hdr.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=24)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        stream.codec_context.color_trc = 16
        container.mux(stream.encode(av.VideoFrame(32, 32, "yuv420p")))
        container.mux(stream.encode(None))
    with pytest.raises(MediaError) as caught:
        read_video(path)
    assert str(caught.value) == (
        f"{path}: error[media.unsupported]: the picture is HDR (PQ), which 8-bit RGB cannot hold"
    )
