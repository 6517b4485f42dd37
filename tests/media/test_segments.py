"""Segments of a video: they join to the frame and to the sample, in a file that grows and in one written at once."""

from __future__ import annotations

import contextlib
import errno
import itertools
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import attrs
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stagegraph import durable
from stagegraph.errors import Cancelled, Fault
from stagegraph_media.errors import MediaError
from stagegraph_media.fragments import Fragmented
from stagegraph_media.growing import Part, concatenate, grow
from stagegraph_media.joining import join_videos
from stagegraph_media.reading import probe, read_video
from stagegraph_media.segments import write_segment
from stagegraph_media.trimming import sound_of
from stagegraph_media.values import Frames, Waveform
from stagegraph_media.writing import write_video

LENGTHS = [17, 8, 1, 9, 8, 8, 2, 8, 25, 8, 8, 8, 3, 8, 8, 8, 8, 5, 8, 11]


@attrs.frozen
class Film:
    """The segments of a video: their files, and what was put into them."""

    parts: list[Path]
    clips: list[tuple[Frames, Waveform | None]]

    @property
    def num_frames(self) -> int:
        """Of all."""
        return sum(frames.num_frames for frames, _ in self.clips)

    @property
    def samples(self) -> np.ndarray:
        """[c, s] of all, as 16 bits hold them."""
        whole = np.concatenate([sound.samples for _, sound in self.clips if sound], axis=1)
        return np.clip(np.rint(whole.astype(float) * 2**15), -(2**15), 2**15 - 1).astype(np.float32) / 2**15

    def check(self, path: Path, *, parts: int | None = None) -> None:
        """Look whether a file holds exactly these segments, or the first of them."""
        film = Film(self.parts[:parts], self.clips[:parts])
        read = read_video(path)
        assert (read.frames.num_frames, read.frames.frame_rate) == (film.num_frames, film.clips[0][0].frame_rate)
        assert np.array_equal(read.frames.pixels, np.concatenate([read_video(p).frames.pixels for p in film.parts]))
        if film.clips[0][1] is None:
            assert read.waveform is None
        else:
            assert read.waveform is not None
            assert np.array_equal(read.waveform.samples, film.samples)


def shoot(
    folder: Path,
    lengths: list[int],
    *,
    rate: str = "24",
    sample_rate: int | None = 24000,
    channels: int = 2,
    size: tuple[int, int] = (32, 48),
    start: int = 0,
    bits: int = 16,
) -> Film:
    """Segments of noise, which no encoder foretells, one after the other."""
    random = np.random.default_rng(0)
    parts, clips = [], []
    for number, length in enumerate(lengths):
        frames = Frames(random.integers(0, 256, (length, *size, 3), np.uint8), Fraction(rate))
        sound = None
        if sample_rate:
            first, last = sound_of(start, start + length, frames.frame_rate, sample_rate)
            sound = Waveform(random.uniform(-1, 1, (channels, last - first)).astype(np.float32), sample_rate)
        parts.append(folder / f"{number}.mp4")
        write_segment(parts[-1], frames, sound, start_frame=start, preset="veryfast", bits=bits)
        clips.append((frames, sound))
        start += length
    return Film(parts, clips)


@pytest.fixture
def film(tmp_path: Path) -> Film:
    """Four segments."""
    return shoot(tmp_path, [9, 8, 1, 8])


@pytest.mark.parametrize(
    ("rate", "sample_rate", "channels"),
    [("24", 24000, 2), ("30000/1001", 48000, 2), ("25", 44100, 1), ("24000/1001", 16000, 2), ("24", None, 0)],
)
def test_twenty_segments_are_joined_to_the_frame_and_to_the_sample(
    tmp_path: Path, rate: str, sample_rate: int | None, channels: int
) -> None:
    """One by one, at once in fragments, at once as an ordinary file; frames are those of the segments, bit by bit."""
    film = shoot(tmp_path, LENGTHS, rate=rate, sample_rate=sample_rate, channels=channels)
    grown = tmp_path / "grown.mp4"
    for count in range(1, 21):
        assert grow(grown, film.parts[:count])
    concatenate(film.parts, tmp_path / "fragments.mp4")
    join_videos(film.parts, tmp_path / "joined.mp4")
    for name in ("grown", "fragments", "joined"):
        film.check(tmp_path / f"{name}.mp4")
    told = probe(tmp_path / "joined.mp4")
    assert (told.num_frames, told.duration) == (film.num_frames, film.num_frames / Fraction(rate))
    if sample_rate:
        assert film.samples.shape == (channels, round(film.num_frames * sample_rate / Fraction(rate)))
        assert told.audio_duration == Fraction(film.samples.shape[1], sample_rate)


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    lengths=st.lists(st.integers(1, 30), min_size=1, max_size=5),
    rate=st.sampled_from(["24", "25", "30000/1001", "24000/1001", "10", "60"]),
    sample_rate=st.none() | st.sampled_from([8000, 16000, 22050, 24000, 44100, 48000]),
    start=st.sampled_from([0, 1, 1000, 10**7]),
    bits=st.sampled_from([16, 24]),
)
def test_times_go_on_from_segment_to_segment(
    tmp_path: Path, lengths: list[int], rate: str, sample_rate: int | None, start: int, bits: int
) -> None:
    """In the ticks of the file, wherever the first begins: after days of video too."""
    film = shoot(tmp_path, lengths, rate=rate, sample_rate=sample_rate, start=start, bits=bits, size=(16, 16))
    looked = [Part.look(path) for path in film.parts]
    for before, after in itertools.pairwise(looked):
        assert {n: s.end for n, s in before.ends.items()} == {n: s.begin for n, s in after.begins.items()}
    end = start + film.num_frames
    for number, track in looked[0].tracks.items():
        first, last = looked[0].begins[number].begin, looked[-1].ends[number].end
        if track.kind == "video":
            assert (Fraction(first, track.clock), Fraction(last, track.clock)) == (
                start / Fraction(rate),
                end / Fraction(rate),
            )
        else:
            assert (first, last) == sound_of(start, end, Fraction(rate), track.clock)


def test_files_of_another_writer_are_joined(tmp_path: Path) -> None:
    """Pictures that are not stored in their order, and AAC: frames stay bit by bit, samples are counted exactly."""
    film = shoot(tmp_path, [24, 12, 30])
    parts = [tmp_path / f"plain{number}.mp4" for number in range(3)]
    for path, clip in zip(parts, film.clips, strict=True):
        write_video(path, *clip)
    join_videos(parts, tmp_path / "joined.mp4")
    read = read_video(tmp_path / "joined.mp4")
    assert np.array_equal(read.frames.pixels, np.concatenate([read_video(p).frames.pixels for p in parts]))
    assert read.waveform is not None
    assert read.waveform.samples.shape == film.samples.shape
    assert probe(tmp_path / "joined.mp4").audio_codec == "aac"
    assert grow(tmp_path / "grown.mp4", parts) is False
    assert not (tmp_path / "grown.mp4").exists()


def test_a_tone_goes_on_over_the_joints_of_aac(tmp_path: Path) -> None:
    """No gap, no click: nowhere is it further from the tone than within a part."""
    lengths, tone = [12, 12, 12, 12], 0.5 * np.sin(2 * np.pi * 440 * np.arange(48000) / 24000)
    parts, at = [], 0
    for number, length in enumerate(lengths):
        first, last = sound_of(at, at + length, Fraction(24), 24000)
        frames = Frames(np.zeros((length, 16, 16, 3), np.uint8), 24)
        parts.append(tmp_path / f"{number}.mp4")
        write_segment(parts[-1], frames, Waveform(tone[None, first:last].astype(np.float32), 24000), start_frame=at)
        at += length
    join_videos(parts, tmp_path / "joined.mp4", aac=True)
    waveform = read_video(tmp_path / "joined.mp4").waveform
    assert waveform is not None
    assert waveform.num_samples == 48000
    assert probe(tmp_path / "joined.mp4").audio_codec == "aac"
    assert np.abs(waveform.samples[0] - tone)[2000:-2000].max() < 0.01


def test_a_file_that_is_up_to_date_is_not_touched(tmp_path: Path, film: Film) -> None:
    """Nor is anything but its end when it grows; one that is of other segments is replaced."""
    path = tmp_path / "film.mp4"
    assert grow(path, film.parts[:2])
    before, inode = path.read_bytes(), path.stat().st_ino
    assert grow(path, film.parts[:2])
    assert path.read_bytes() == before
    assert grow(path, film.parts)  # two at once
    assert path.stat().st_ino == inode
    assert path.read_bytes()[: len(before)] == before
    film.check(path)
    other = shoot(tmp_path / "..", [5, 5])
    assert grow(path, other.parts)
    other.check(path)
    path.write_bytes(b"something else")
    assert grow(path, film.parts)
    film.check(path)


@pytest.fixture
def moments(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[list[bytes]]:
    """What a kill would leave of the file at each moment of growing: between writes and amid them."""
    seen: list[bytes] = []
    path = tmp_path / "film.mp4"

    def write(descriptor: int, chunk: bytes) -> None:
        parts = (chunk[: len(chunk) // 2], chunk[len(chunk) // 2 :]) if len(chunk) > 8 else (chunk,)
        for part in parts:
            seen.append(path.read_bytes() if path.exists() else b"")
            real(descriptor, part)

    real = durable.write
    monkeypatch.setattr(durable, "write", write)
    yield seen
    monkeypatch.undo()


def test_whatever_stops_it_the_file_is_whole(tmp_path: Path, film: Film, moments: list[bytes]) -> None:
    """It holds the segments of before, or the new one too; and it grows on from there."""
    path = tmp_path / "film.mp4"
    concatenate(film.parts[:2], path)
    moments.clear()
    grow(path, film.parts[:3])
    left = [*moments, path.read_bytes()]
    moments.clear()
    assert len(left) > 6
    for number, content in enumerate(left):
        torn = tmp_path / "torn.mp4"
        torn.write_bytes(content)
        film.check(torn, parts=3 if number == len(left) - 1 else 2)
        grow(torn, film.parts)
        film.check(torn)


@pytest.mark.parametrize("after", [0, 1, 2, 3])
def test_a_full_disk_leaves_the_file_as_it_was(
    tmp_path: Path, film: Film, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    """To the byte, in whichever write it happens; the next time it grows."""
    path = tmp_path / "film.mp4"
    grow(path, film.parts[:2])
    before, real = path.read_bytes(), durable.write
    count = 0

    def write(descriptor: int, chunk: bytes) -> None:
        nonlocal count
        if count == after:
            raise OSError(errno.ENOSPC, "No space left on device")
        count += 1
        real(descriptor, chunk)

    monkeypatch.setattr(durable, "write", write)
    for call in (lambda: grow(path, film.parts), lambda: concatenate(film.parts, path)):
        count = 0
        with pytest.raises(MediaError) as caught:
            call()
        assert str(caught.value) == (f"{path}: error[media.unwritable]: cannot write the file: No space left on device")
        assert path.read_bytes() == before
    assert not list(tmp_path.glob(".*"))
    monkeypatch.undo()
    grow(path, film.parts)
    film.check(path)


def test_an_export_that_is_stopped_leaves_nothing(tmp_path: Path, film: Film) -> None:
    """What was there stays."""

    def stop(done: int, total: int) -> None:
        if done == 2:
            raise Cancelled(Fault("cancelled", "stopped"))

    for write in (join_videos, concatenate):
        (tmp_path / "whole.mp4").write_text("before")
        with pytest.raises(Cancelled):
            write(film.parts, tmp_path / "whole.mp4", progress=stop)
        assert (tmp_path / "whole.mp4").read_text() == "before"
        assert not list(tmp_path.glob(".*"))


KILLED = """
import os, signal, sys
from pathlib import Path
from stagegraph_media import growing, joining
join = getattr(*{"join_videos": (joining, "join_videos"), "concatenate": (growing, "concatenate")}[sys.argv[1]])
*parts, target = map(Path, sys.argv[2:])
join(parts, target, progress=lambda done, total: done == 2 and os.kill(os.getpid(), signal.SIGKILL))
"""


@pytest.mark.parametrize("how", ["join_videos", "concatenate"])
def test_an_export_that_is_killed_leaves_what_was_there(tmp_path: Path, film: Film, how: str) -> None:
    """Nothing has the name of the whole that is none."""
    target = tmp_path / "whole.mp4"
    for before in (None, b"before"):
        if before is not None:
            target.write_bytes(before)
        words = [sys.executable, "-c", KILLED, how, *map(str, film.parts), str(target)]
        assert subprocess.run(words, check=False).returncode == -signal.SIGKILL
        assert (target.read_bytes() if target.exists() else None) == before


def other(tmp_path: Path, what: str) -> Path:
    """A segment that does not go on from the one before."""
    folder = tmp_path / "other"
    folder.mkdir()
    settings = {
        "size": {"size": (48, 64)},
        "frame rate": {"rate": "25"},
        "sample rate": {"sample_rate": 48000},
        "channels": {"channels": 1},
        "silent": {"sample_rate": None},
        "bits": {"bits": 24},
        "early": {"start": 8},
        "late": {"start": 10},
    }[what]
    given: dict[str, object] = {"start": 9, **settings}
    return shoot(folder, [8], **given).parts[0]  # type: ignore[arg-type]


PICTURES, SOUND = "video avc1 48x32", "sound fLaC of 2 channels at 24000 Hz"
WHOLE = "h264 48x32 at 24 frames a second, sound of 2 channels at 24000 Hz"


def fragments(other: str) -> str:
    """What is told of fragments of other tracks."""
    return f"the segment has {other}; those before have {PICTURES} and {SOUND}"


def parts(other: str) -> str:
    """What is told of other parts."""
    return f"the part has {other}; the first has {WHOLE}"


@pytest.mark.parametrize(
    ("what", "fragmented", "joined"),
    [
        ("size", fragments(f"video avc1 64x48 and {SOUND}"), parts(WHOLE.replace("48x32", "64x48"))),
        (
            "frame rate",
            "the segment has 25 frames a second; those before have 24",
            parts(WHOLE.replace("at 24 ", "at 25 ")),
        ),
        (
            "sample rate",
            fragments(f"{PICTURES} and sound fLaC of 2 channels at 48000 Hz"),
            parts(WHOLE.replace("24000", "48000")),
        ),
        (
            "channels",
            fragments(f"{PICTURES} and sound fLaC of 1 channels at 24000 Hz"),
            parts(WHOLE.replace("2 channels", "1 channels")),
        ),
        ("silent", fragments(PICTURES), parts("h264 48x32 at 24 frames a second, no sound")),
        ("bits", "the sound of the segment is not encoded as that of those before", None),
        (
            "early",
            "the video of the segment begins at 0.333333 s; those before end at 0.375 s",
            "the part begins at frame 8; those before end at 9",
        ),
        (
            "late",
            "the video of the segment begins at 0.416667 s; those before end at 0.375 s",
            "the part begins at frame 10; those before end at 9",
        ),
    ],
)
def test_what_does_not_fit_is_refused(
    tmp_path: Path, film: Film, what: str, fragmented: str, joined: str | None
) -> None:
    """By what differs; what was there stays. Bits are no obstacle where sound is encoded anew."""
    path, grown = other(tmp_path, what), tmp_path / "grown.mp4"
    grow(grown, film.parts[:1])
    before = grown.read_bytes()
    for call in (lambda: grow(grown, [film.parts[0], path]), lambda: concatenate([film.parts[0], path], grown)):
        with pytest.raises(MediaError) as caught:
            call()
        (fault,) = caught.value.faults
        assert (fault.code, fault.where, fault.what) == ("media.not_joinable", str(path), fragmented)
        assert fault.why
        assert fault.fix
        assert grown.read_bytes() == before
    if joined is None:
        join_videos([film.parts[0], path], tmp_path / "joined.mp4")
        return
    with pytest.raises(MediaError) as caught:
        join_videos([film.parts[0], path], tmp_path / "joined.mp4")
    (fault,) = caught.value.faults
    assert (fault.code, fault.where, fault.what) == ("media.not_joinable", str(path), joined)
    assert not (tmp_path / "joined.mp4").exists()


def test_sound_that_is_not_in_step_is_refused(tmp_path: Path, film: Film) -> None:
    """Where it would shift what follows; at the end it may be of any length."""
    (frames, sound), *_ = film.clips
    assert sound is not None
    short = write_video(tmp_path / "short.mp4", frames, Waveform(sound.samples[:, :-2000], sound.sample_rate))
    whole = write_video(tmp_path / "whole.mp4", frames, sound)
    join_videos([whole, short], tmp_path / "joined.mp4")
    with pytest.raises(MediaError) as caught:
        join_videos([short, whole], tmp_path / "joined.mp4")
    assert str(caught.value) == (
        f"{whole}: error[media.not_joinable]: the sound of the parts before lasts 0.291667 s, their pictures 0.375 s\n"
        "  why: this part would not be in step\n"
        "  fix: cut the parts with media.trim, with pad_sound"
    )


def test_parts_that_are_not_there(tmp_path: Path, film: Film) -> None:
    """None, or one that is missing, or something else."""
    gone = tmp_path / "gone.mp4"
    for write in (join_videos, concatenate):
        with pytest.raises(MediaError, match="there is no part to join"):
            write([], tmp_path / "joined.mp4")
        with pytest.raises(MediaError, match="cannot open the file"):
            write([film.parts[0], gone], tmp_path / "joined.mp4")
        (tmp_path / "text.mp4").write_text("no video")
        with pytest.raises(MediaError, match="the first bytes are those of no format"):
            write([film.parts[0], tmp_path / "text.mp4"], tmp_path / "joined.mp4")
    plain = write_video(tmp_path / "plain.mp4", film.clips[0][0])
    with pytest.raises(MediaError) as caught:
        concatenate([plain], tmp_path / "joined.mp4")
    assert str(caught.value) == (
        f"{plain}: error[media.not_joinable]: the file has no fragments\n"
        "  why: only what media.write_segment writes is joined as it is\n"
        "  fix: write all segments so, or leave fragmented out"
    )
    assert not (tmp_path / "joined.mp4").exists()


def test_a_segment_that_cannot_be_written(tmp_path: Path) -> None:
    """All reasons at once."""
    frames = Frames(np.zeros((2, 15, 16, 3), np.uint8), 24)
    with pytest.raises(MediaError) as caught:
        write_segment(tmp_path / "a.mp4", frames, Waveform(np.full((3, 100), 1.5, np.float32), 24000), start_frame=3)
    assert [fault.what for fault in caught.value.faults] == [
        "the frames are 16x15",
        "the sound has 3 channels",
        "the sound goes up to 1.5",
        "the sound has 100 samples, but the frames last 2000",
    ]
    assert {fault.where for fault in caught.value.faults} == {str(tmp_path / "a.mp4")}
    assert not list(tmp_path.iterdir())


def test_the_same_values_give_the_same_bytes(tmp_path: Path) -> None:
    """Of each segment, so that a session that was killed comes out as it would have."""
    (tmp_path / "again").mkdir()
    for path in shoot(tmp_path, [9, 8]).parts:
        assert path.read_bytes() == shoot(tmp_path / "again", [9, 8]).parts[int(path.stem)].read_bytes()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two small segments."""
    made = tmp_path_factory.mktemp("segments")
    shoot(made, [3, 2], size=(16, 16))
    return made


@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_a_damaged_file_is_an_error_of_media(folder: Path, data: st.DataObject) -> None:
    """Whatever stands in its boxes: nothing else is raised, and no memory is taken on its word."""
    good = (folder / "1.mp4").read_bytes()
    with (folder / "1.mp4").open("rb") as file:
        found = Fragmented.read(file, len(good))
    places = st.integers(0, found.heads[0].end - 1)
    content = bytearray(good)
    for at in data.draw(st.lists(places, min_size=1, max_size=4)):
        content[at] = data.draw(st.integers(0, 255))
    bad = folder / "bad.mp4"
    bad.write_bytes(content[: data.draw(st.just(len(good)) | st.integers(0, len(good)))])
    with contextlib.suppress(MediaError):
        concatenate([folder / "0.mp4", bad], folder / "out.mp4")
    with contextlib.suppress(MediaError):
        join_videos([folder / "0.mp4", bad], folder / "out.mp4")
    film = shutil.copy(folder / "0.mp4", folder / "film.mp4")
    with contextlib.suppress(MediaError):
        grow(film, [folder / "0.mp4", bad])
    assert read_video(film).frames.num_frames >= 3
    film.write_bytes(bad.read_bytes())
    assert grow(film, [folder / "0.mp4"])
    assert read_video(film).frames.num_frames == 3
