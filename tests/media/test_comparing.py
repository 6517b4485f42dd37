"""`compare` and `stagegraph media compare`: identical or not, and how far apart."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from stagegraph.cli.app import call
from stagegraph_media.comparing import compare
from stagegraph_media.values import Frames, Waveform
from stagegraph_media.writing import write_video

from .conftest import EncodePicture, MakeFrames, MakeSound


def test_a_file_is_identical_to_itself(tmp_path: Path, make_frames: MakeFrames, make_sound: MakeSound) -> None:
    """Pictures and sound, with what they are."""
    path = write_video(tmp_path / "a.mp4", make_frames(), make_sound())
    found = compare(path, path)
    assert found.identical
    assert (found.pictures.counts, found.pictures.forms) == ((9, 9), ("48x32, 24 fps",) * 2)
    assert found.sound is not None
    assert (found.sound.counts, found.sound.forms) == ((9000, 9000), ("2 channels, 24000 Hz",) * 2)
    assert (found.pictures.psnr, found.sound.psnr, found.pictures.most) == (None, None, 0)


def test_the_same_values_give_the_same_bytes(tmp_path: Path, make_frames: MakeFrames, make_sound: MakeSound) -> None:
    """Whatever was in the memory that the encoder gets: also at widths at which it would look at it."""
    noise = np.random.default_rng(0)
    for width in (96, 160):
        base = np.kron(noise.integers(0, 255, (8, width // 8, 3)), np.ones((8, 8, 1)))
        moving = [np.roll(base, 3 * i, 1) + noise.normal(0, 6, base.shape) for i in range(9)]
        frames = Frames(np.clip(moving, 0, 255).astype(np.uint8), 24)
        written = set()
        for _ in range(6):
            dirt = [noise.integers(0, 255, size, dtype=np.uint8) for size in (1000, 10_000, 100_000, 1_000_000) * 20]
            del dirt[::2]
            written.add(write_video(tmp_path / "a.mp4", frames, make_sound()).read_bytes())
        assert len(written) == 1


def lossless(path: Path, frames: Frames, waveform: Waveform | None = None) -> Path:
    """A file in which equal frames stay equal, and frames that differ by a colour stay different."""
    return write_video(path, frames, waveform, crf=0)


def test_the_first_frame_that_differs_and_how_far_it_is_apart_are_told(tmp_path: Path) -> None:
    """Grey levels, which survive: 8 frames are equal, the sixth is 10 brighter."""
    pixels = np.full((9, 32, 48, 3), 100, np.uint8)
    brighter = pixels.copy()
    brighter[5] += 10
    found = compare(
        lossless(tmp_path / "a.mp4", Frames(pixels, 24)), lossless(tmp_path / "b.mp4", Frames(brighter, 24))
    )
    assert not found.identical
    assert (found.pictures.differing, found.pictures.first, found.sound) == (1, 5, None)
    assert found.pictures.most == pytest.approx(10, abs=1)
    assert found.pictures.psnr == pytest.approx(10 * np.log10(255**2 / (found.pictures.most**2 / 9)), abs=0.01)


def test_what_only_one_file_has_is_told(tmp_path: Path, make_frames: MakeFrames, make_sound: MakeSound) -> None:
    """Fewer frames, less sound, none at all."""
    long = lossless(tmp_path / "a.mp4", make_frames(9), make_sound(9000))
    short = lossless(tmp_path / "b.mp4", make_frames(5), make_sound(9000))
    silent = lossless(tmp_path / "c.mp4", make_frames(9))
    found = compare(long, short)
    assert (found.pictures.identical, found.pictures.counts) == (False, (9, 5))
    assert found.sound is not None
    assert found.sound.identical
    found = compare(long, silent)
    assert found.pictures.identical
    assert found.sound is not None
    assert (found.sound.identical, found.sound.forms) == (False, ("2 channels, 24000 Hz", ""))
    other = compare(long, lossless(tmp_path / "d.mp4", make_frames(9, height=64), make_sound(9000, channels=1)))
    assert other.sound is not None
    assert (other.pictures.differing, other.sound.differing) == (None, None)
    assert other.pictures.forms == ("48x32, 24 fps", "48x64, 24 fps")
    slower = compare(silent, lossless(tmp_path / "e.mp4", make_frames(9, rate=12)))
    assert (slower.pictures.identical, slower.pictures.differing) == (False, 0)


def test_sound_is_compared_sample_by_sample(tmp_path: Path, make_frames: MakeFrames, make_sound: MakeSound) -> None:
    """A quieter copy."""
    sound = make_sound()
    quiet = Waveform(sound.samples * np.float32(0.5), sound.sample_rate)
    found = compare(
        lossless(tmp_path / "a.mp4", make_frames(), sound), lossless(tmp_path / "b.mp4", make_frames(), quiet)
    ).sound
    assert found is not None
    assert found.psnr == pytest.approx(-10 * np.log10(0.25**2 / 2), abs=0.3)
    assert found.most == pytest.approx(0.25, abs=0.05)


def test_images_are_compared_too(tmp_path: Path, encode_picture: EncodePicture) -> None:
    """As one frame without a rate."""
    pixels = np.random.default_rng(1).integers(0, 255, (6, 8, 3), np.uint8)
    for name, array in (("a.png", pixels), ("b.png", pixels // 2)):
        (tmp_path / name).write_bytes(encode_picture("png", array, "rgb24", "rgb24"))
    assert compare(tmp_path / "a.png", tmp_path / "a.png").identical
    found = compare(tmp_path / "a.png", tmp_path / "b.png")
    assert (found.pictures.forms, found.pictures.counts) == (("8x6", "8x6"), (1, 1))
    assert found.pictures.most == float((pixels - pixels // 2).max())


@pytest.fixture
def videos(tmp_path: Path, make_frames: MakeFrames, make_sound: MakeSound, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two files, of which only one has a record."""
    monkeypatch.chdir(tmp_path)
    lossless(Path("a.mp4"), Frames(np.full((9, 32, 48, 3), 100, np.uint8), 24), make_sound())
    pixels = np.full((7, 32, 48, 3), 100, np.uint8)
    pixels[2:4] = 200
    lossless(Path("b.mp4"), Frames(pixels, 24))


@pytest.mark.usefixtures("videos")
def test_the_command_ends_with_0_1_or_2(capsys: pytest.CaptureFixture[str]) -> None:
    """Identical, different, or not to be read; the whole text."""
    assert call(["media", "compare", "a.mp4", "a.mp4"]) == 0
    assert capsys.readouterr().out == (
        "identical\n"
        "  pictures  9 frames, 48x32, 24 fps: identical\n"
        "  sound     9000 samples, 2 channels, 24000 Hz: identical\n"
        "  records   a.mp4: error[no_record]: the file carries no run record\n"
        "  records   a.mp4: error[no_record]: the file carries no run record\n"
    )
    assert call(["media", "compare", "a.mp4", "b.mp4"]) == 1
    assert capsys.readouterr().out == (
        "different\n"
        "  pictures  9 frames against 7; 2 of 7 frames differ, the first is frame 2; at most 100 of 255, "
        "PSNR 13.57 dB\n"
        "  sound     9000 samples, 2 channels, 24000 Hz against none\n"
        "  records   a.mp4: error[no_record]: the file carries no run record\n"
        "  records   b.mp4: error[no_record]: the file carries no run record\n"
    )
    assert call(["media", "compare", "a.mp4", "absent.mp4"]) == 2
    assert capsys.readouterr().err == (
        "absent.mp4: error[media.not_found]: cannot open the file: No such file or directory\n"
    )


@pytest.mark.usefixtures("videos")
def test_the_command_tells_programs_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    """As JSON, with the same exit code."""
    assert call(["media", "compare", "a.mp4", "b.mp4", "--json"]) == 1
    data = json.loads(capsys.readouterr().out)["data"]
    assert (data["identical"], data["pictures"]["differing"], data["pictures"]["first"]) == (False, 2, 2)
    assert data["sound"]["forms"] == ["2 channels, 24000 Hz", ""]
    assert len(data["records"]["missing"]) == 2
