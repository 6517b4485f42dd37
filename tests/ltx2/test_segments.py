"""How segments join: in numbers alone."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stagegraph.errors import ContinuationError
from stagegraph_ltx2.continuation import LTX2ContinuationState
from stagegraph_ltx2.segments import Cut, Overlap, Tail, Timeline, sound_latents

RATES = [Fraction(24), Fraction(25), Fraction(30), Fraction(24000, 1001), Fraction(30000, 1001), Fraction(50)]


def test_the_arithmetic_of_existing_producers() -> None:
    """121 frames at 24 a second, 9 of them and 49 frames' time of sound carried over: the known figures."""
    tail = Tail.make(121, Fraction(24), 126, 0.0, 9, 49)
    assert (tail.latents, tail.num_frames) == (51, 49)
    assert tail.offset == pytest.approx(40 / 24, abs=1e-12)


def test_a_segment_after_one_that_says_nothing_of_a_timeline() -> None:
    """What comes first is cut from a state of another program: 9 frames and 49 frames' time."""
    cut = Cut.make(Timeline(), Overlap(9, 40 / 24), 121, Fraction(24), 24000)
    assert (cut.frame, cut.sample, cut.end, cut.timeline.frames) == (9, 49000, 161000, 112)


@given(st.floats(0.04, 100))
def test_sound_reaches_beyond_the_end(seconds: float) -> None:
    """Decoded, by at least four mel frames and by less than nine."""
    mel_frames = 4 * (sound_latents(seconds) - 1) + 1
    assert seconds * 100 + 4 - 1e-6 <= mel_frames < seconds * 100 + 9


@given(
    st.sampled_from(RATES),
    st.sampled_from([16000, 24000, 44100, 48000]),
    st.lists(st.integers(3, 20).map(lambda k: 8 * k + 1), min_size=2, max_size=20),
    st.sampled_from([1, 9, 17]),
    st.integers(1, 80),
)
def test_segments_join_however_many_there_are(
    rate: Fraction, sample_rate: int, lengths: list[int], video_frames: int, audio_frames: int
) -> None:
    """No frame and no sample twice or missing; what both hear is at one time for both; nothing drifts."""
    timeline, overlap = Timeline(), Overlap()
    emitted = 0
    for frames in lengths:
        latents = sound_latents(overlap.offset + frames / float(rate))
        cut = Cut.make(timeline, overlap, frames, rate, sample_rate)
        heard = (4 * latents - 3) * sample_rate // 100
        assert 0 <= cut.sample < cut.end <= heard
        emitted += cut.end - cut.sample
        assert cut.timeline.frames == timeline.frames + frames - cut.frame
        assert emitted == cut.timeline.samples(sample_rate) == round(cut.timeline.frames * sample_rate / rate)

        tail = Tail.make(frames, rate, latents, overlap.offset, video_frames, audio_frames)
        assert 0 < tail.latents <= latents
        assert tail.offset >= 0
        # The first latent that is carried over, in the time of the whole: as this segment sees it, and the next.
        begin = timeline.frames - overlap.frames
        here = begin / rate - Fraction(overlap.offset) + Fraction(latents - tail.latents, 25)
        there = (cut.timeline.frames - video_frames) / rate - Fraction(tail.offset)
        assert abs(here - there) < Fraction(1, 10**9)
        # so much of it as was asked for, to half a latent, unless there is less or the video would begin before it
        assert tail.latents >= min(latents, round(audio_frames / float(rate) * 25))
        timeline, overlap = cut.timeline, Overlap(video_frames, tail.offset)
    assert overlap.offset < (max(audio_frames, video_frames) - video_frames) / float(rate) + 0.2


def test_a_segment_must_be_longer_than_what_it_repeats() -> None:
    """And of the rate of the others."""
    with pytest.raises(ValueError, match="9 frames, of which 9 repeat"):
        Cut.make(Timeline(), Overlap(9), 9, Fraction(24))
    with pytest.raises(ValueError, match="25 frames a second, those before 24"):
        Cut.make(Timeline(9, Fraction(24)), Overlap(9), 17, Fraction(25))


@pytest.mark.parametrize(
    "told",
    [
        3,
        [],
        {},
        {"frames": -1, "frame_rate": "24"},
        {"frames": True, "frame_rate": "24"},
        {"frames": 2**53, "frame_rate": "24"},
        {"frames": 9, "frame_rate": 24},
        {"frames": 9, "frame_rate": "0"},
        {"frames": 9, "frame_rate": "1/0"},
        {"frames": 9, "frame_rate": "x" * 50},
    ],
)
def test_a_timeline_that_is_none(told: Any) -> None:
    """States come from anybody."""
    with pytest.raises(ContinuationError, match=r"metadata\.timeline"):
        Timeline.of(LTX2ContinuationState(metadata={"timeline": told}))


def test_a_timeline_comes_back() -> None:
    """From the metadata of a state."""
    timeline = Timeline(233, Fraction(30000, 1001))
    assert Timeline.of(LTX2ContinuationState(metadata=timeline.as_metadata(24000))) == timeline
    assert timeline.as_metadata(24000)["timeline"]["samples"] == round(233 * 24000 * 1001 / 30000)
