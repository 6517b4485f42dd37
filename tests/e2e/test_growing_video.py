"""A video of twenty segments in a folder: one file that grows, and what is exported."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from stagegraph.cli.app import call
from stagegraph_media.reading import probe, read_video

SETTINGS = ["--set=model.path=tiny", *(f"--set=noise.{name}" for name in ("height=64", "width=64", "num_frames=17"))]
SEGMENTS = 20
FRAMES = 17 + 19 * 8
SAMPLES = FRAMES * 1000  # at 24 frames and 24,000 samples a second

pytestmark = pytest.mark.usefixtures("tiny")


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def say(*words: str) -> None:
    """Call the command line."""
    assert call(("session", *words)) == 0


def test_twenty_segments_are_one_video(capsys: pytest.CaptureFixture[str]) -> None:
    """After each call a file of all so far; exported as it is, with AAC, in fragments: none loses or adds a sample."""
    say("start", "ltx2/continue", "film", "-i", "seed=7", *SETTINGS)
    for count in (1, 12, 7):
        say("extend", "film", *(f"scene {i}" for i in range(count)), "-q")
        assert capsys.readouterr().out.splitlines()[-1] == "film/video.mp4"
        clip = read_video("film/video.mp4")
        told = json.loads(Path("film/state.json").read_text())
        timeline = told["carried"]["continuation"]["state"]["payload"]["metadata"]["timeline"]
        assert clip.waveform is not None
        assert clip.frames.num_frames == timeline["frames"]
        assert clip.waveform.num_samples == timeline["samples"]

    segments = [read_video(f"film/segment-{i:04d}/write.mp4") for i in range(SEGMENTS)]
    pixels = np.concatenate([segment.frames.pixels for segment in segments])
    samples = np.concatenate([segment.waveform.samples for segment in segments if segment.waveform], axis=1)
    assert (len(pixels), samples.shape) == (FRAMES, (2, SAMPLES))

    for name, setting in {"kept": "sound=keep", "small": "sound=aac", "pieces": "fragmented=true"}.items():
        say("export", "film", "-o", f"{name}.mp4", "--set", setting, "-q")
        clip = read_video(f"{name}.mp4")
        assert clip.waveform is not None
        assert np.array_equal(clip.frames.pixels, pixels)
        assert clip.waveform.samples.shape == samples.shape
        if name != "small":
            assert np.array_equal(clip.waveform.samples, samples)
    kept, seconds = probe("kept.mp4"), Fraction(FRAMES, 24)
    assert "stagegraph" not in kept.metadata
    assert (kept.num_frames, kept.duration, kept.audio_duration) == (FRAMES, seconds, seconds)
