"""Frames as PNG files: ours are read by everybody, and everybody's by us, whatever filters their rows have."""

from __future__ import annotations

import io
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from stagegraph.serde import StructureError
from stagegraph_ltx2.continuation import Limits, png
from stagegraph_ltx2.continuation.deflate import ZLIB, Deflate, isal

from . import builders
from .conftest import PROFILE
from .states import frames

FAST = isal()
assert FAST is not None
DEFLATES = [ZLIB, FAST]
LIMITS = Limits()

Pixels = np.ndarray[Any, Any]


def filtered(pixels: Pixels, filters: list[int]) -> bytes:
    """Rows with a filter each, straight from the definition of the five."""
    height, width, _ = pixels.shape
    flat = pixels.reshape(height, -1).astype(int)
    rows = []
    for y, kind in enumerate(filters):
        row = bytearray([kind])
        for x in range(3 * width):
            left = flat[y, x - 3] if x >= 3 else 0
            up = flat[y - 1, x] if y else 0
            corner = flat[y - 1, x - 3] if y and x >= 3 else 0
            guess = left + up - corner
            near = min((left, up, corner), key=lambda value: abs(guess - value))
            row.append((flat[y, x] - [0, left, up, (left + up) // 2, near][kind]) % 256)
        rows.append(bytes(row))
    return b"".join(rows)


@PROFILE
@given(frames(), st.sampled_from(DEFLATES))
def test_pillow_reads_what_we_write(pictures: list[Pixels], deflate: Deflate) -> None:
    """Also with its checks on, and of any size and content."""
    for pixels in pictures:
        file = png.encode(pixels, deflate)
        with Image.open(io.BytesIO(file)) as image:
            assert (image.format, image.mode) == ("PNG", "RGB")
            assert np.array_equal(np.asarray(image), pixels)
        assert np.array_equal(png.decode(file, LIMITS, deflate), pixels)


@PROFILE
@given(frames(), st.data(), st.sampled_from(DEFLATES))
def test_rows_of_any_filter_are_read(pictures: list[Pixels], data: st.DataObject, deflate: Deflate) -> None:
    """Ours are of one kind; other encoders choose a filter for each row, and split the stream as they like."""
    pixels = np.ascontiguousarray(pictures[0])
    height, width, _ = pixels.shape
    filters = data.draw(
        st.lists(st.integers(0, 4), min_size=height, max_size=height)
        | st.integers(0, 4).map(lambda kind: [kind] * height)
    )
    stream = zlib.compress(filtered(pixels, filters))
    cut = data.draw(st.integers(0, len(stream)))
    parts = [builders.chunk(b"IDAT", part) for part in (stream[:cut], b"", stream[cut:])]
    file = builders.png(builders.ihdr(width, height), *parts, builders.chunk(b"IEND"))
    assert np.array_equal(png.decode(file, LIMITS, deflate), pixels)


@PROFILE
@given(st.integers(0, 10**6), st.integers(0, 7), st.sampled_from(DEFLATES))
def test_a_changed_bit_is_never_a_changed_picture(at: int, bit: int, deflate: Deflate) -> None:
    """Checksums see to that."""
    pixels = np.random.default_rng(0).integers(0, 256, (9, 7, 3), np.uint8)
    file = bytearray(png.encode(pixels, deflate))
    file[at % len(file)] ^= 1 << bit
    with pytest.raises(StructureError):
        png.decode(bytes(file), LIMITS, deflate)


def test_the_filter_follows_the_picture() -> None:
    """Differences from above where rows are alike, from the left where columns are."""
    steps = np.arange(64, dtype=np.uint8) * 3
    down = np.broadcast_to(steps[None, :, None], (64, 64, 3))  # every row the same
    right = np.broadcast_to(steps[:, None, None], (64, 64, 3))
    for pixels, kind in ((down, 2), (right, 1)):
        file = png.encode(np.ascontiguousarray(pixels), ZLIB)
        length = int.from_bytes(file[33:37], "big")
        assert zlib.decompress(file[41 : 41 + length])[0] == kind


def test_files_are_small() -> None:
    """A smooth picture takes no more than Pillow makes of it at its best plus 15 percent."""
    y, x = np.mgrid[0:256, 0:384]
    smooth = np.stack([128 + 60 * np.sin(x / 40 + c) + 50 * np.cos(y / 31) for c in range(3)], axis=-1)
    noise = np.random.default_rng(0).normal(0, 1.5, smooth.shape)
    pixels = (smooth + noise).clip(0, 255).astype(np.uint8)
    theirs = io.BytesIO()
    Image.fromarray(pixels).save(theirs, "PNG")
    for deflate in DEFLATES:
        assert len(png.encode(pixels, deflate)) < 1.15 * len(theirs.getvalue())
