"""Small videos, sounds and images that the media tests share."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from stagegraph_media.values import Frames, Waveform

MakeFrames = Callable[..., Frames]
MakeSound = Callable[..., Waveform]
EncodePicture = Callable[..., bytes]


@pytest.fixture
def make_frames() -> MakeFrames:
    """Smooth moving gradients, which any codec keeps well."""

    def make(count: int = 9, height: int = 32, width: int = 48, rate: float | str | Fraction = 24) -> Frames:
        f, y, x = np.ogrid[:count, :height, :width]
        planes = np.broadcast_arrays((f * 3 + x) % 200, (y * 4) % 200 + 0 * f, 60 + 0 * (f + x + y))
        return Frames(np.stack(planes, axis=-1).astype(np.uint8), rate)

    return make


@pytest.fixture
def make_sound() -> MakeSound:
    """A tone of 440 Hz on the left and of 300 Hz on the right."""

    def make(samples: int = 9000, rate: int = 24000, channels: int = 2) -> Waveform:
        time = np.arange(samples) / rate
        tones = [0.5 * np.sin(2 * np.pi * hertz * time) for hertz in (440, 300)[:channels]]
        return Waveform(np.stack(tones).astype(np.float32), rate)

    return make


@pytest.fixture
def encode_picture() -> EncodePicture:
    """The bytes of an image file."""

    def encode(codec: str, array: NDArray[np.generic], given: str, stored: str, **options: str) -> bytes:
        encoder = av.CodecContext.create(codec, "w")
        assert isinstance(encoder, av.VideoCodecContext)
        encoder.height, encoder.width = array.shape[:2]
        encoder.pix_fmt, encoder.time_base, encoder.options = stored, Fraction(1, 25), options
        frame = av.VideoFrame.from_ndarray(array, format=given).reformat(format=stored)
        frame.pts = 0
        return b"".join(bytes(packet) for packet in [*encoder.encode(frame), *encoder.encode(None)])

    return encode
