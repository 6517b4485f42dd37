"""Small videos, sounds and images that the media tests share."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from stagegraph_media.values import Frames, Waveform

MemoryPeak = Callable[[int], AbstractContextManager[None]]
EncodeSound = Callable[..., Path]
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


@pytest.fixture
def encode_sound() -> EncodeSound:
    """A sound file as another program might write it."""

    def encode(
        path: Path, sound: Waveform, codec: str, sample_format: str, muxer: str | None = None, **options: str
    ) -> Path:
        layout = {1: "mono", 2: "stereo"}.get(sound.num_channels, f"{sound.num_channels} channels")
        with av.open(str(path), "w", format=muxer, container_options=options) as container:
            track = container.add_stream(codec, rate=sound.sample_rate)
            assert isinstance(track, av.AudioStream)
            track.codec_context.format, track.codec_context.layout = sample_format, layout
            piece = av.AudioFrame.from_ndarray(sound.samples.copy(), format="fltp", layout=layout)
            piece.sample_rate, piece.pts, piece.time_base = sound.sample_rate, 0, Fraction(1, sound.sample_rate)
            container.mux(track.encode(piece))
            container.mux(track.encode(None))
        return path

    return encode


@pytest.fixture
def memory_below() -> MemoryPeak:
    """A block that may take so many bytes of memory more than there is in use before; looked at where Linux tells."""
    peak, status = Path("/proc/self/clear_refs"), Path("/proc/self/status")

    def kibibytes(name: str) -> int:
        found = re.search(rf"{name}:\s+(\d+)", status.read_text())
        assert found
        return int(found[1])

    @contextmanager
    def below(most: int) -> Iterator[None]:
        if not peak.exists():
            yield
            return
        peak.write_text("5")  # forget the peak so far
        before = kibibytes("VmRSS")
        yield
        assert (kibibytes("VmHWM") - before) * 1024 < most

    return below
