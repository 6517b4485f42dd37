"""Frames, Waveform and Image."""

from __future__ import annotations

import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stagegraph_media.values import Frames, Image, Waveform, exact_rate

PIXELS = np.zeros((3, 4, 6, 3), np.uint8)
SAMPLES = np.zeros((2, 100), np.float32)


def test_frames_tell_their_sizes_and_duration() -> None:
    """num_frames, height, width, and the duration in seconds as a fraction."""
    frames = Frames(PIXELS, "30000/1001")
    assert (frames.num_frames, frames.height, frames.width) == (3, 4, 6)
    assert frames.duration == Fraction(1001, 10000)
    assert repr(frames) == "Frames(3x4x6, 30000/1001 fps)"


def test_a_waveform_tells_its_sizes_and_duration() -> None:
    """num_channels, num_samples, and the duration in seconds as a fraction."""
    waveform = Waveform(SAMPLES, 24000)
    assert (waveform.num_channels, waveform.num_samples, waveform.duration) == (2, 100, Fraction(1, 240))
    assert repr(waveform) == "Waveform(2x100, 24000 Hz)"


def test_an_image_tells_its_size() -> None:
    """height and width."""
    image = Image(PIXELS[0])
    assert (image.height, image.width, repr(image)) == (4, 6, "Image(4x6)")


@pytest.mark.parametrize(
    ("given", "rate"),
    [
        (24, "24"),
        (np.int64(25), "25"),
        (Fraction(24000, 1001), "24000/1001"),
        ("24000/1001", "24000/1001"),
        ("23.976", "2997/125"),
        (23.976, "2997/125"),
        (24000 / 1001, "24000/1001"),
        (np.float32(29.97), "2997/100"),
        (12.5, "25/2"),
    ],
)
def test_a_frame_rate_is_exact(given: float | str | Fraction, rate: str) -> None:
    """Texts, integers and fractions as they are, floats as the nearest fraction with a denominator up to 1001."""
    assert exact_rate(given if not isinstance(given, np.float32) else float(given)) == Fraction(rate)


@given(st.integers(1, 240))
def test_every_ntsc_rate_survives_floating_point(nominal: int) -> None:
    """n * 1000 / 1001 computed as a float is that fraction again."""
    assert exact_rate(nominal * 1000 / 1001) == Fraction(nominal * 1000, 1001)


@pytest.mark.parametrize("rate", [0, -24, float("nan"), float("inf"), "fast", "1/0", "", None, True, 1e-9])
def test_a_frame_rate_that_is_no_rate_is_refused(rate: object) -> None:
    """Zero, negative, not finite, or not a number."""
    with pytest.raises(ValueError, match=r"^frame_rate is ") as caught:
        exact_rate(rate)  # type: ignore[arg-type]
    assert str(caught.value) == f'frame_rate is {rate!r}: must be a finite number above 0, such as 24 or "24000/1001"'


@pytest.mark.parametrize(
    ("pixels", "text"),
    [
        ([[1]], "pixels is a list: must be a numpy array of uint8 [f, h, w, 3]"),
        (PIXELS.astype(np.float32), "pixels is float32 [3, 4, 6, 3]: must be uint8 [f, h, w, 3], no length zero"),
        (PIXELS[0], "pixels is uint8 [4, 6, 3]: must be uint8 [f, h, w, 3], no length zero"),
        (PIXELS[..., :2], "pixels is uint8 [3, 4, 6, 2]: must be uint8 [f, h, w, 3], no length zero"),
        (PIXELS[:0], "pixels is uint8 [0, 4, 6, 3]: must be uint8 [f, h, w, 3], no length zero"),
        (PIXELS[:, :, :0], "pixels is uint8 [3, 4, 0, 3]: must be uint8 [f, h, w, 3], no length zero"),
    ],
)
def test_pixels_of_another_kind_are_refused(pixels: object, text: str) -> None:
    """The text says what came and what must come."""
    with pytest.raises(ValueError, match=r"^pixels is ") as caught:
        Frames(pixels, 24)  # type: ignore[arg-type]
    assert str(caught.value) == text


@pytest.mark.parametrize(
    ("samples", "rate", "text"),
    [
        (SAMPLES.astype(np.float64), 24000, "samples is float64 [2, 100]: must be float32 [c, s], no length zero"),
        (SAMPLES[0], 24000, "samples is float32 [100]: must be float32 [c, s], no length zero"),
        (SAMPLES.T, 24000, "samples has 100 channels: must have 1 to 8, as [c, s]"),
        (SAMPLES + np.float32("nan"), 24000, "samples contains NaN or infinity: must be finite"),
        (SAMPLES + np.float32("inf"), 24000, "samples contains NaN or infinity: must be finite"),
        (SAMPLES, 0, "sample_rate is 0: must be a whole number of Hz above 0"),
        (SAMPLES, 24000.5, "sample_rate is 24000.5: must be a whole number of Hz above 0"),
        (SAMPLES, True, "sample_rate is True: must be a whole number of Hz above 0"),
    ],
)
def test_sound_of_another_kind_is_refused(samples: object, rate: object, text: str) -> None:
    """The text says what came and what must come."""
    with pytest.raises(ValueError, match=r"^sample") as caught:
        Waveform(samples, rate)  # type: ignore[arg-type]
    assert str(caught.value) == text


def test_arrays_are_read_only_and_not_copied() -> None:
    """A stage cannot change its input; the array that was handed in keeps its own flag."""
    pixels = PIXELS.copy()
    frames = Frames(pixels, 24)
    with pytest.raises(ValueError, match="read-only"):
        frames.pixels[0] = 1
    assert np.shares_memory(frames.pixels, pixels)
    assert pixels.flags.writeable


def test_arrays_are_made_contiguous() -> None:
    """[f, 3, h, w] turned to [f, h, w, 3] is copied once, here."""
    frames = Frames(np.zeros((2, 3, 4, 6), np.uint8).transpose(0, 2, 3, 1), 24)
    assert frames.pixels.flags.c_contiguous


def test_values_are_equal_by_content_and_not_hashable() -> None:
    """Same pixels and same rate."""
    assert Frames(PIXELS, 24) == Frames(PIXELS.copy(), "24")
    assert Frames(PIXELS, 24) != Frames(PIXELS, 25)
    assert Frames(PIXELS, 24) != Frames(PIXELS + np.uint8(1), 24)
    assert Waveform(SAMPLES, 24000) == Waveform(SAMPLES.copy(), 24000)
    assert Image(PIXELS[0]) != Image(PIXELS[0, :2])
    with pytest.raises(TypeError, match="unhashable"):
        hash(Image(PIXELS[0]))


def test_importing_the_plugin_imports_neither_numpy_nor_pyav() -> None:
    """Listing stages stays quick."""
    code = "import sys, stagegraph_media.plugin; print(sorted({'numpy', 'av', 'torch'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
