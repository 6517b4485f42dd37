"""write_video: what goes in comes out, or nothing is left behind."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stagegraph.errors import Cancelled, Fault
from stagegraph_media import writing
from stagegraph_media.errors import EncoderMissingError, MediaError
from stagegraph_media.mp4 import AAC_RATES
from stagegraph_media.reading import probe, read_video
from stagegraph_media.values import Frames, Waveform
from stagegraph_media.writing import write_video

from .conftest import MakeFrames, MakeSound


@pytest.mark.parametrize("rate", ["24", "25", "30000/1001", "24000/1001", "1/2", "2997/125", "16777216/16777215"])
@pytest.mark.parametrize("count", [1, 2, 49])
def test_frame_counts_and_rates_are_exact(tmp_path: Path, make_frames: MakeFrames, rate: str, count: int) -> None:
    """Also for one frame, whose rate only its duration tells."""
    frames = make_frames(count, rate=rate)
    write_video(tmp_path / "a.mp4", frames, preset="ultrafast")
    read = read_video(tmp_path / "a.mp4").frames
    assert (read.num_frames, read.frame_rate) == (count, Fraction(rate))
    assert np.abs(read.pixels.astype(int) - frames.pixels).mean() < 4


@pytest.mark.parametrize("sample_rate", AAC_RATES)
@pytest.mark.parametrize("rate", ["24", "30000/1001"])
def test_sample_rates_and_lengths_are_exact(
    tmp_path: Path, make_frames: MakeFrames, make_sound: MakeSound, sample_rate: int, rate: str
) -> None:
    """Neither resampled nor padded: to the sample, at each rate that AAC has."""
    sound = make_sound(sample_rate // 2 + 7, sample_rate)
    write_video(tmp_path / "a.mp4", make_frames(12, rate=rate), sound, preset="ultrafast")
    read = read_video(tmp_path / "a.mp4").waveform
    assert read is not None
    assert (read.sample_rate, read.samples.shape) == (sample_rate, sound.samples.shape)


@pytest.mark.parametrize("channels", [1, 2])
def test_sound_stays_in_place(tmp_path: Path, make_frames: MakeFrames, make_sound: MakeSound, channels: int) -> None:
    """The encoder's delay is taken out again: no shift, and left stays left."""
    sound = make_sound(48000, 48000, channels)
    write_video(tmp_path / "a.mp4", make_frames(24), sound, preset="ultrafast")
    read = read_video(tmp_path / "a.mp4").waveform
    assert read is not None
    errors = [np.abs(read.samples[:, 99 + lag : -99 + lag] - sound.samples[:, 99:-99]).mean() for lag in range(-9, 10)]
    assert np.argmin(errors) == 9
    assert errors[9] < 0.01


@pytest.mark.parametrize("samples", [1, 100, 1024, 3 * 24000])
def test_sound_of_another_length_than_the_video_is_written_as_it_is(
    tmp_path: Path, make_frames: MakeFrames, make_sound: MakeSound, samples: int
) -> None:
    """Much shorter or longer than 9 frames: neither is changed."""
    write_video(tmp_path / "a.mp4", make_frames(), make_sound(samples), preset="ultrafast")
    clip = read_video(tmp_path / "a.mp4")
    assert clip.waveform is not None
    assert (clip.frames.num_frames, clip.waveform.num_samples) == (9, samples)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    count=st.integers(1, 12),
    height=st.integers(1, 40).map(lambda n: 2 * n),
    width=st.integers(1, 40).map(lambda n: 2 * n),
    rate=st.fractions(1, 120, max_denominator=1001),
    sound=st.none() | st.tuples(st.integers(1, 2), st.integers(1, 5000), st.sampled_from(AAC_RATES)),
    seed=st.integers(0, 2**32 - 1),
)
def test_any_size_and_length_comes_back(
    tmp_path: Path,
    count: int,
    height: int,
    width: int,
    rate: Fraction,
    sound: tuple[int, int, int] | None,
    seed: int,
) -> None:
    """Noise too, which is the hardest to encode."""
    noise = np.random.default_rng(seed)
    frames = Frames(noise.integers(0, 256, (count, height, width, 3), np.uint8), rate)
    waveform = Waveform(noise.uniform(-1, 1, sound[:2]).astype(np.float32), sound[2]) if sound else None
    write_video(tmp_path / "a.mp4", frames, waveform, preset="ultrafast")
    clip = read_video(tmp_path / "a.mp4")
    assert (clip.frames.pixels.shape, clip.frames.frame_rate) == (frames.pixels.shape, rate)
    assert (clip.waveform and (clip.waveform.samples.shape, clip.waveform.sample_rate)) == (
        waveform and (waveform.samples.shape, waveform.sample_rate)
    )


def test_tags_survive(tmp_path: Path, make_frames: MakeFrames) -> None:
    """Custom keys, Unicode, line breaks, empty texts, and a run record of 100 KB, byte for byte."""
    record = json.dumps({"prompt": "Füchse 🦊 " * 10_000, "n": [1, 2.5, None]}, ensure_ascii=False)
    tags = {"stagegraph": record, "title": "A\nB\t", "ключ": "значение", "Foo.bar": "", "creation_time": "then"}
    write_video(tmp_path / "a.mp4", make_frames(), metadata=tags)
    read = read_video(tmp_path / "a.mp4").metadata
    assert len(record.encode()) > 100_000
    assert {key: read[key] for key in tags} == tags
    assert probe(tmp_path / "a.mp4").metadata == read


def test_the_same_values_give_the_same_file(tmp_path: Path, make_frames: MakeFrames, make_sound: MakeSound) -> None:
    """No time stamp and no random identifier inside."""
    for name in ("a.mp4", "b.mp4"):
        write_video(tmp_path / name, make_frames(), make_sound(), metadata={"title": "x"})
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()


def test_the_index_comes_first(tmp_path: Path, make_frames: MakeFrames) -> None:
    """A browser can start to play before the file has arrived."""
    write_video(tmp_path / "a.mp4", make_frames())
    data = (tmp_path / "a.mp4").read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")


def test_progress_counts_frames(tmp_path: Path, make_frames: MakeFrames) -> None:
    """(written, in all) after each frame."""
    calls: list[tuple[int, int]] = []
    write_video(tmp_path / "a.mp4", make_frames(3), progress=lambda *done: calls.append(done))
    assert calls == [(1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize("earlier", [None, b"what was there"])
def test_a_failure_leaves_what_was_there(tmp_path: Path, make_frames: MakeFrames, earlier: bytes | None) -> None:
    """Cancelled in the middle: the earlier file if there was one, and no temporary file."""
    target = tmp_path / "a.mp4"
    if earlier is not None:
        target.write_bytes(earlier)

    def cancel(done: int, total: int) -> None:
        if done == 5:
            raise Cancelled(Fault("cancelled", "the run was cancelled"))

    with pytest.raises(Cancelled):
        write_video(target, make_frames(), progress=cancel)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == ({"a.mp4": earlier} if earlier else {})


def test_an_earlier_file_is_replaced(tmp_path: Path, make_frames: MakeFrames) -> None:
    """In one step, and nothing else is left in the directory."""
    (tmp_path / "a.mp4").write_bytes(b"old")
    assert write_video(tmp_path / "a.mp4", make_frames()) == tmp_path / "a.mp4"
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]
    assert probe(tmp_path / "a.mp4").num_frames == 9


def test_a_file_has_the_usual_permissions(tmp_path: Path, make_frames: MakeFrames) -> None:
    """Those of any new file, not those of a temporary one."""
    write_video(tmp_path / "a.mp4", make_frames())
    (tmp_path / "plain").touch()
    assert (tmp_path / "a.mp4").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_missing_directory_is_named(tmp_path: Path, make_frames: MakeFrames) -> None:
    """With the command that makes it."""
    target = tmp_path / "no" / "a.mp4"
    with pytest.raises(MediaError) as caught:
        write_video(target, make_frames())
    assert str(caught.value) == (
        f'{target}: error[media.unwritable]: the directory "{target.parent}" does not exist\n'
        f'  fix: mkdir -p "{target.parent}"'
    )


def test_an_encoder_that_gives_up_is_reported(tmp_path: Path, make_frames: MakeFrames) -> None:
    """A frame wider than H.264 allows: FFmpeg's reason, and no file."""
    target = tmp_path / "a.mp4"
    with pytest.raises(MediaError) as caught:
        write_video(target, make_frames(1, 2, 20_000))
    assert caught.value.code == "media.encoder_failed"
    assert isinstance(caught.value.__cause__, av.FFmpegError)
    assert list(tmp_path.iterdir()) == []


def test_everything_that_does_not_fit_is_told_at_once(tmp_path: Path, make_frames: MakeFrames) -> None:
    """Name, settings, sizes, rates, channels and tags, each with what to do."""
    target = tmp_path / "a.avi"
    with pytest.raises(MediaError) as caught:
        write_video(
            target,
            make_frames(1, 5, 7, rate="1/2000"),
            Waveform(np.zeros((3, 10), np.float32), 23999),
            crf=52,
            preset="slowest",
            metadata={"encoder": "x", "a": "1\0", "Title": "x", "title": "y", "": "z", "b": "\ud800"},
        )
    assert str(caught.value).replace(str(tmp_path), "TMP") == (
        "TMP/a.avi: error[media.unwritable]: the name does not end in .mp4, which is what is written\n"
        '  fix: use "TMP/a.mp4"\n'
        "TMP/a.avi: error[media.invalid_output]: crf is 52\n"
        "  why: must be from 0 (best) to 51 (worst)\n"
        'TMP/a.avi: error[media.invalid_output]: preset is "slowest"\n'
        "  why: must be one of ultrafast, superfast, veryfast, faster, fast, medium, slow, slower, veryslow\n"
        "TMP/a.avi: error[media.invalid_output]: the frames are 7x5\n"
        "  why: 4:2:0 video needs an even width and height\n"
        "  fix: crop or scale to 6x4\n"
        "TMP/a.avi: error[media.invalid_output]: the frame rate is 1/2000\n"
        "  why: must be at least 1/1000, and no number of the fraction above 16777216\n"
        "  fix: use a rate such as 24 or 24000/1001\n"
        "TMP/a.avi: error[media.invalid_output]: the sound has 3 channels\n"
        "  why: mono and stereo are written; for more channels the waveform does not say which is which\n"
        "  fix: mix it down to 2 channels\n"
        "TMP/a.avi: error[media.invalid_output]: the sample rate is 23999 Hz\n"
        "  why: AAC has 7350, 8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000\n"
        "  fix: resample to 24000 Hz\n"
        "TMP/a.avi: error[media.invalid_output]: the tag 'encoder' is written by the muxer\n"
        "  fix: use another key\n"
        "TMP/a.avi: error[media.invalid_output]: the tag 'a' contains a NUL character\n"
        "  why: it would end the text there\n"
        "TMP/a.avi: error[media.invalid_output]: the tag 'title' is given twice, also as 'Title'\n"
        "  why: keys that differ only in capitals are one key in an mp4 file\n"
        "TMP/a.avi: error[media.invalid_output]: a tag has an empty key\n"
        "TMP/a.avi: error[media.invalid_output]: the tag 'b' is not valid Unicode\n"
        "  why: it contains half a surrogate pair"
    )


def test_a_directory_is_not_replaced(tmp_path: Path, make_frames: MakeFrames) -> None:
    """Even if its name ends in .mp4."""
    target = tmp_path / "a.mp4"
    target.mkdir()
    with pytest.raises(MediaError) as caught:
        write_video(target, make_frames())
    assert str(caught.value) == f"{target}: error[media.unwritable]: the path is a directory"


def test_a_missing_encoder_is_named(tmp_path: Path, make_frames: MakeFrames, monkeypatch: pytest.MonkeyPatch) -> None:
    """With PyAV's version, and how to get a build that has it."""
    monkeypatch.setattr(writing, "_VIDEO_ENCODER", "libnothing")
    with pytest.raises(EncoderMissingError) as caught:
        write_video(tmp_path / "a.mp4", make_frames())
    version = ".".join(map(str, av.library_versions["libavcodec"]))
    assert str(caught.value) == (
        f'PyAV {av.__version__} with libavcodec {version}: error[media.encoder_missing]: no encoder "libnothing"\n'
        "  why: this build of FFmpeg was made without it; the wheels of PyAV have it\n"
        '  fix: pip install --force-reinstall --only-binary av "av>=17.1"'
    )
    assert caught.value.exit_code == 3
