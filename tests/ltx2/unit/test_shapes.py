"""Sizes in pixels, latents, tokens and samples."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from stagegraph_ltx2.shapes import (
    AudioShape,
    LatentShape,
    PixelShape,
    ShapeError,
    audio_latent_frames,
    latent_frames,
    nearest_num_frames,
    nearest_size,
    pixel_frames,
    shape_faults,
)

sides = st.integers(2, 80)
frames = st.integers(1, 60)
frame_rates = st.floats(1, 60)


def test_five_seconds_at_the_default_size() -> None:
    """121 frames of 512 x 768 at 24 frames a second."""
    video = PixelShape(121, 512, 768, 24)
    assert video.latent() == LatentShape(16, 16, 24)
    assert video.latent().tokens == 6144
    assert video.latent().tokens_per_frame == 384
    assert video.audio() == AudioShape(126)
    assert video.audio().mel_frames == 501
    assert video.audio().samples(240) == 120_240
    assert video.seconds == pytest.approx(5.04, abs=2e-3)
    assert video.audio().seconds == pytest.approx(5.04)


@given(frames, sides, sides, frame_rates)
def test_latents_and_back(f: int, h: int, w: int, frame_rate: float) -> None:
    """Every latent shape decodes to a valid video, which encodes to the same latents."""
    assume(
        audio_latent_frames(pixel_frames(f), frame_rate) > 0
    )  # one frame at 50 a second has no sound, and is refused
    shape = LatentShape(f, h, w)
    video = shape.pixel(frame_rate)
    assert video.latent() == shape
    assert video.frame_rate == frame_rate
    assert not shape_faults(video.frames, video.height, video.width, frame_rate)


@given(frames)
def test_frames_and_back(f: int) -> None:
    """One latent frame for the first pixel frame, then one for each eight."""
    assert latent_frames(pixel_frames(f)) == f
    assert latent_frames(1) == 1
    assert latent_frames(9) == 2


@pytest.mark.parametrize(
    ("frames", "frame_rate", "expected"),
    [(121, 24, 126), (121, 25, 121), (1, 24, 1), (1, 50, 0), (3, 50, 2), (5, 50, 2), (49, 24, 51), (121, 29.97, 101)],
)
def test_half_an_audio_frame_rounds_to_even(frames: int, frame_rate: float, expected: int) -> None:
    """At 50 frames a second, 0.5, 1.5 and 2.5 audio frames become 0, 2 and 2."""
    assert audio_latent_frames(frames, frame_rate) == expected


@given(st.integers(1, 1000))
def test_audio_compresses_by_four_from_its_second_frame(f: int) -> None:
    """f latent frames are 4 f - 3 mel frames, each of which is as many samples as the vocoder makes."""
    assert AudioShape(f).mel_frames == 4 * f - 3
    assert AudioShape(f).samples(7) == 7 * (4 * f - 3)
    assert AudioShape(f).tokens == f
    assert AudioShape(f).seconds * 25 == pytest.approx(f)


@pytest.mark.parametrize(
    ("size", "expected"), [(400, (384, 416)), (384, (384, 384)), (10, (64, 64)), (65, (64, 96)), (-5, (64, 64))]
)
def test_nearest_sizes(size: int, expected: tuple[int, int]) -> None:
    """Multiples of 32 on both sides, never below 64."""
    assert nearest_size(size) == expected


def test_nearest_sizes_with_a_base_pass_at_half_the_size() -> None:
    """The full size must then halve to a multiple of 32."""
    assert nearest_size(416, multiple=64) == (384, 448)


@pytest.mark.parametrize(
    ("count", "expected"), [(120, (113, 121)), (121, (121, 121)), (1, (1, 1)), (0, (1, 1)), (2, (1, 9))]
)
def test_nearest_frame_counts(count: int, expected: tuple[int, int]) -> None:
    """Multiples of 8 plus 1 on both sides, never below 1."""
    assert nearest_num_frames(count) == expected


@given(st.integers(-100, 5000), st.sampled_from([32, 64]))
def test_nearest_sizes_are_valid_and_enclose(size: int, multiple: int) -> None:
    """No valid size is nearer, and a valid size is its own neighbour."""
    below, above = nearest_size(size, multiple)
    assert nearest_size(below, multiple) == (below, below)
    assert nearest_size(above, multiple) == (above, above)
    assert below <= size <= above or below == above == 64
    assert above - below in (0, multiple)


@given(st.integers(-100, 5000))
def test_nearest_frame_counts_are_valid_and_enclose(count: int) -> None:
    """No valid count is nearer, and a valid count is its own neighbour."""
    below, above = nearest_num_frames(count)
    assert nearest_num_frames(below) == (below, below)
    assert nearest_num_frames(above) == (above, above)
    assert below <= count <= above or below == above == 1
    assert above - below in (0, 8)


def test_all_faults_of_a_size_come_together() -> None:
    """Each says what would do."""
    with pytest.raises(ShapeError) as caught:
        PixelShape(120, 400, 20, 0)
    assert str(caught.value) == (
        "num_frames=120 must be a multiple of 8 plus 1; try 113 or 121; "
        "height=400 must be a multiple of 32 and at least 64; try 384 or 416; "
        "width=20 must be a multiple of 32 and at least 64; try 64; "
        "frame_rate=0 must be above 0"
    )
    assert len(caught.value.faults) == 4


def test_a_video_too_short_for_any_sound_is_refused() -> None:
    """One frame at 60 frames a second is less than half an audio frame."""
    with pytest.raises(ShapeError, match=r"^frame_rate=60 leaves 1 frames without a single frame of sound$"):
        PixelShape(1, 64, 64, 60)
