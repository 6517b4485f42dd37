"""Frames, sound and pictures as artifacts."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stagegraph.errors import ArtifactError
from stagegraph_media.codecs import CODECS
from stagegraph_media.values import Frames, Image, Waveform

GENERATOR = np.random.default_rng(0)
PIXELS = GENERATOR.integers(0, 256, (3, 4, 6, 3), np.uint8)
SAMPLES = GENERATOR.standard_normal((2, 100), np.float32)
VALUES = {
    "media.frames": Frames(PIXELS, Fraction(24000, 1001)),
    "media.waveform": Waveform(SAMPLES, 24000),
    "media.image": Image(PIXELS[0]),
}


@pytest.fixture(params=CODECS, ids=lambda codec: codec.name)
def codec(request: pytest.FixtureRequest) -> Any:
    return request.param


def written(codec: Any) -> bytes:
    return b"".join(codec.encode(VALUES[codec.name]))


def test_a_value_comes_back_as_it_is(codec: Any) -> None:
    """Equal, read-only still, and made of the bytes in place."""
    value = VALUES[codec.name]
    back = codec.decode(bytearray(written(codec)))
    assert (type(back), back) == (type(value), value)
    array = back.samples if isinstance(back, Waveform) else back.pixels
    assert not array.flags.writeable
    assert not array.flags.owndata


def test_every_truncation_is_refused(codec: Any) -> None:
    """At every byte, and what follows the end too."""
    data = written(codec)
    for length in range(len(data)):
        with pytest.raises(ArtifactError):
            codec.decode(bytearray(data[:length]))
    with pytest.raises(ArtifactError):
        codec.decode(bytearray(data + b"\0"))


def test_another_version_is_refused(codec: Any) -> None:
    """The bytes say it themselves, beside the store."""
    data = written(codec).replace(codec.form.encode(), f"{codec.name}/2".encode())
    with pytest.raises(ArtifactError, match=f'cannot be read as {codec.form}: it is of the form "{codec.name}/2"'):
        codec.decode(bytearray(data))


def test_an_additional_key_is_refused(codec: Any) -> None:
    """Of texts and of arrays."""
    data = written(codec)
    length = int.from_bytes(data[:8], "little")
    for old, new in ((b'"stagegraph":', b'"x":"","stagegraph":'), (b'"dtype":', b'"x":0,"dtype":')):
        header = data[8 : 8 + length].rstrip().replace(old, new, 1)
        with pytest.raises(ArtifactError):
            codec.decode(bytearray(len(header).to_bytes(8, "little") + header + data[8 + length :]))


@pytest.mark.parametrize(
    ("old", "new"),
    [(b'"24000"', b'"-1"'), (b'"24000"', b'"1.5"'), (b'"24000"', b'""')],
)
def test_sound_that_cannot_be_is_refused(old: bytes, new: bytes) -> None:
    """A rate that is no whole number above 0, and samples that are not finite."""
    codec = CODECS[1]
    data = written(codec)
    length = int.from_bytes(data[:8], "little")
    header = data[8 : 8 + length].replace(old, new)
    with pytest.raises(ArtifactError, match="sample_rate"):
        codec.decode(bytearray(len(header).to_bytes(8, "little") + header + data[8 + length :]))
    with pytest.raises(ArtifactError, match="NaN or infinity"):
        codec.decode(bytearray(data[:-4] + b"\x00\x00\xc0\x7f"))


@given(st.integers(1, 3), st.integers(1, 5), st.integers(1, 5), st.fractions(Fraction(1, 1000), 1000))
def test_frames_of_any_size_and_rate_come_back(frames: int, height: int, width: int, rate: Fraction) -> None:
    """Whether or not their bytes fill a multiple of 8."""
    value = Frames(GENERATOR.integers(0, 256, (frames, height, width, 3), np.uint8), rate)
    codec = CODECS[0]
    assert codec.decode(bytearray(b"".join(codec.encode(value)))) == value


def test_a_flipped_array_is_written_in_its_own_order() -> None:
    """What is no contiguous array is made one."""
    value = Image(PIXELS[0][::-1])
    codec = CODECS[2]
    assert codec.decode(bytearray(b"".join(codec.encode(value)))) == value
