"""Parts of videos and sounds, and several of them in one: exact to the frame and to the sample."""

from __future__ import annotations

import itertools
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stagegraph import Graph
from stagegraph.errors import GraphError
from stagegraph.facts import FactError
from stagegraph_media.editing_stages import ConcatFrames, ConcatWaveforms, Trim, TrimWaveform
from stagegraph_media.errors import MediaError
from stagegraph_media.reading import read_video
from stagegraph_media.stages import WriteVideo
from stagegraph_media.values import Frames, Waveform

from .conftest import MakeFrames, MakeSound


@pytest.mark.parametrize(
    ("params", "first", "last"),
    [
        ({}, 0, 48),
        ({"start": 0.5}, 12, 48),
        ({"end": 0.5}, 0, 12),
        ({"start": 0.51, "end": 1.49}, 12, 36),
        ({"start": -0.5}, 36, 48),
        ({"start": -1.5, "end": -0.5}, 12, 36),
        ({"start": 10, "end": 11, "unit": "frames"}, 10, 11),
        ({"start": -9, "unit": "frames"}, 39, 48),
        ({"start": 3, "end": -3, "unit": "frames"}, 3, 45),
    ],
)
def test_a_part_of_a_video_has_its_frames_and_its_sound(
    make_frames: MakeFrames, make_sound: MakeSound, params: dict[str, Any], first: int, last: int
) -> None:
    """From the start of its first frame to the end of its last: 1000 samples each."""
    frames, sound = make_frames(48), make_sound(48000)
    part = Trim(**params).run(frames, sound)
    assert part.frames == Frames(frames.pixels[first:last], 24)
    assert part.waveform == Waveform(sound.samples[:, first * 1000 : last * 1000], 24000)
    known = Trim(**params).facts({"frames": frames.facts, "waveform": sound.facts})
    assert known == {"frames": part.frames.facts, "waveform": part.waveform.facts}


@pytest.mark.parametrize(
    ("params", "first", "last"),
    [
        ({"start": 0.1}, 2400, 9000),
        ({"start": 1 / 3, "end": 0.35}, 8000, 8400),
        ({"start": -0.25}, 3000, 9000),
        ({"start": 1, "end": 2, "unit": "samples"}, 1, 2),
        ({"start": -1, "unit": "samples"}, 8999, 9000),
    ],
)
def test_a_part_of_a_sound_is_exact(make_sound: MakeSound, params: dict[str, Any], first: int, last: int) -> None:
    """Of seconds, the nearest sample."""
    sound = make_sound(9000)
    part = TrimWaveform(**params).run(sound)
    assert part == Waveform(sound.samples[:, first:last], 24000)
    assert TrimWaveform(**params).facts({"waveform": sound.facts}) == {"output": part.facts}


def test_sound_that_ends_before_the_frames_stays_short_or_is_filled_up(
    make_frames: MakeFrames, make_sound: MakeSound
) -> None:
    """As the param says; where there is none at all in the part, there is None or silence."""
    frames, sound = make_frames(48), make_sound(12_500)
    for start, there in ((6, 6500), (24, 0)):
        short, filled = (Trim(start=start, end=30, unit="frames", pad_sound=pad) for pad in (False, True))
        part, whole = short.run(frames, sound).waveform, filled.run(frames, sound).waveform
        assert (part.num_samples if part else 0) == there
        assert whole is not None
        assert whole.num_samples == (30 - start) * 1000
        np.testing.assert_array_equal(whole.samples[:, :there], sound.samples[:, start * 1000 : start * 1000 + there])
        assert not whole.samples[:, there:].any()
        inputs = {"frames": frames.facts, "waveform": sound.facts}
        assert short.facts(inputs).get("waveform") == (part.facts if part else None)
        assert filled.facts(inputs)["waveform"] == whole.facts


def test_a_silent_video_stays_silent(make_frames: MakeFrames) -> None:
    """There is nothing to fill up."""
    assert Trim(start=0.1, pad_sound=True).run(make_frames(), None).waveform is None


@settings(max_examples=60, deadline=None)
@given(
    rate=st.sampled_from(["24", "30000/1001", "24000/1001", "25", "1/3"]),
    sample_rate=st.sampled_from([24000, 44100, 48000, 11025]),
    cuts=st.sets(st.integers(1, 29), max_size=6),
)
def test_what_is_cut_fits_together_again(rate: str, sample_rate: int, cuts: set[int]) -> None:
    """At whatever frames: no sample is lost, none comes twice."""
    frames = Frames(np.arange(30, dtype=np.uint8).repeat(12).reshape(30, 2, 2, 3), rate)
    length = round(30 / Fraction(rate) * sample_rate)
    sound = Waveform(np.arange(length, dtype=np.float32)[None] / length, sample_rate)
    places = [0, *sorted(cuts), 30]
    stages = [Trim(start=first, end=last, unit="frames") for first, last in itertools.pairwise(places)]
    parts = [stage.run(frames, sound) for stage in stages]
    assert ConcatFrames().run(*(part.frames for part in parts)) == frames
    assert ConcatWaveforms().run(*(part.waveform for part in parts)) == sound


@pytest.mark.parametrize(
    ("params", "asked"),
    [
        ({"start": 2}, "from 2 to the end"),
        ({"end": 2.1}, "from 0 to 2.1"),
        ({"start": -2.1}, "from -2.1 to the end"),
        ({"start": 1, "end": -1}, "from 1 to -1"),
        ({"start": 1.0, "end": 1.01}, "from 1 to 1.01"),
    ],
)
def test_a_part_that_is_not_there_is_refused(
    make_frames: MakeFrames, make_sound: MakeSound, params: dict[str, Any], asked: str
) -> None:
    """When the graph is checked, or else when it runs; in the words of the params."""
    frames, sound = make_frames(48), make_sound(48)
    what = f"there are 2 s, of which the part {asked} is asked for"
    with pytest.raises(FactError) as caught:
        Trim(**params).facts({"frames": frames.facts})
    assert (caught.value.what, caught.value.port, caught.value.fix) == (what, "frames", "ask for a part that is there")
    with pytest.raises(MediaError) as refused:
        Trim(**params).run(frames)
    assert str(refused.value) == f"error[media.no_such_part]: {what}\n  fix: ask for a part that is there"
    with pytest.raises(MediaError) as refused:
        TrimWaveform(start=10, end=49, unit="samples").run(sound)
    assert refused.value.faults[0].what == "there are 48 samples, of which the part from 10 to 49 is asked for"


@pytest.mark.parametrize(
    ("params", "text"),
    [
        ({"start": 1.5, "unit": "frames"}, "start is 1.5: must be a whole number of frames"),
        ({"end": 0.5, "unit": "frames"}, "end is 0.5: must be a whole number of frames"),
        ({"start": 2, "end": 2}, "end is 2: must be after start, which is 2"),
        ({"start": -1, "end": -2}, "end is -2: must be after start, which is -1"),
        ({"unit": "samples"}, "unit is 'samples', it must be one of seconds, frames"),
    ],
)
def test_a_part_that_can_never_be_is_refused_with_the_graph(params: dict[str, Any], text: str) -> None:
    """However long the video is."""
    with pytest.raises(ValueError, match="must be") as caught:
        Trim(**params)
    assert str(caught.value) == text


def test_without_facts_nothing_is_foretold() -> None:
    """Size and rate go on."""
    assert Trim(start=1).facts({}) == {"frames": {}}
    assert Trim(start=1).facts({"frames": {"height": 2}}) == {"frames": {"height": 2}}
    assert TrimWaveform().facts({"waveform": {"num_channels": 2}}) == {"output": {"num_channels": 2}}
    assert ConcatFrames().facts({}) == {"output": {}}


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        ([], "there are no frames to join\n  fix: wire at least one"),
        (
            [(2, 4, 24), (2, 4, 24), (2, 6, 24)],
            (
                "the frames cannot be joined: part 1 is 4x2 at 24 fps, part 3 is 6x2 at 24 fps\n"
                "  fix: scale or resample them to the same"
            ),
        ),
        (
            [(2, 4, "24000/1001"), (2, 4, 24)],
            (
                "the frames cannot be joined: part 1 is 4x2 at 24000/1001 fps, part 2 is 4x2 at 24 fps\n"
                "  fix: scale or resample them to the same"
            ),
        ),
    ],
)
def test_frames_that_differ_are_not_joined(parts: list[tuple[int, int, Any]], text: str) -> None:
    """In size or rate; with the first that does."""
    frames = [Frames(np.zeros((1, height, width, 3), np.uint8), rate) for height, width, rate in parts]
    with pytest.raises(MediaError) as caught:
        ConcatFrames().run(*frames)
    assert str(caught.value) == f"error[media.not_joinable]: {text}"


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        ([], "there are no sounds to join\n  fix: wire at least one"),
        (
            [(2, 24000), (1, 24000)],
            (
                "the sounds cannot be joined: part 1 is 2 channels at 24000 Hz, part 2 is 1 channels at 24000 Hz\n"
                "  fix: scale or resample them to the same"
            ),
        ),
        (
            [(2, 24000), None],
            (
                "the sounds cannot be joined: part 1 is 2 channels at 24000 Hz, part 2 is no sound\n"
                "  fix: scale or resample them to the same"
            ),
        ),
    ],
)
def test_sounds_that_differ_are_not_joined(parts: list[tuple[int, int] | None], text: str) -> None:
    """In rate or channels; a part without sound, whose length nobody knows, is no silence."""
    sounds = [part and Waveform(np.zeros((part[0], 9), np.float32), part[1]) for part in parts]
    with pytest.raises(MediaError) as caught:
        ConcatWaveforms().run(*sounds)
    assert str(caught.value) == f"error[media.not_joinable]: {text}"


def test_silent_videos_join_to_a_silent_one() -> None:
    """None of them has sound."""
    assert ConcatWaveforms().run(None, None) is None


def joined(*params: dict[str, Any]) -> Graph:
    """A graph that cuts a video, joins the parts, and writes them."""
    graph = Graph("join")
    given_frames, given_sound = graph.input("frames", Frames), graph.input("sound", Waveform | None)
    parts = [
        graph.add(Trim(unit="frames", **some), name=f"part{number}", frames=given_frames, waveform=given_sound)
        for number, some in enumerate(params)
    ]
    pictures = graph.add(ConcatFrames(), name="pictures", frames=[part.frames for part in parts])
    sounds = graph.add(ConcatWaveforms(), name="sounds", waveforms=[part.waveform for part in parts])
    graph.output("video", graph.add(WriteVideo(), name="write", frames=pictures, waveform=sounds).path)
    return graph


def test_the_engine_cuts_joins_and_writes(tmp_path: Path, make_frames: MakeFrames, make_sound: MakeSound) -> None:
    """A video with its parts in another order, sound with pictures."""
    frames, sound = make_frames(48), make_sound(48000)
    graph = joined({"start": 24}, {"end": 24})
    clip = read_video(graph.run(frames=frames, sound=sound, directory=tmp_path)["video"])
    assert (clip.frames.num_frames, clip.waveform and clip.waveform.num_samples) == (48, 48000)
    swapped = np.roll(frames.pixels, 24, axis=0).astype(int)
    assert np.abs(clip.frames.pixels - swapped).mean() < 4


def test_the_engine_reports_parts_that_do_not_fit(make_frames: MakeFrames) -> None:
    """With the node, before it runs: frames that are given tell their number."""
    with pytest.raises(GraphError) as caught:
        joined({"start": 24}).run(frames=make_frames(9), sound=None)
    assert str(caught.value) == (
        "nodes.part0.inputs.frames: error[fact_mismatch]: part0 (media.trim): "
        "there are 9 frames, of which the part from 24 to the end is asked for (from inputs.frames)\n"
        "  fix: ask for a part that is there"
    )
