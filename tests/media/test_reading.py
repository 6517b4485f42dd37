"""read_video and probe: files from elsewhere, and files that mean harm."""

from __future__ import annotations

import contextlib
import os
import struct
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from stagegraph_media.errors import MediaError
from stagegraph_media.reading import Limits, MediaInfo, probe, read_image, read_video
from stagegraph_media.values import Frames, Waveform
from stagegraph_media.writing import write_video

from .conftest import MakeFrames, MakeSound


@pytest.fixture(autouse=True)
def _quick() -> Iterator[None]:
    """Whatever a file is, the answer comes within seconds."""
    start = time.monotonic()
    yield
    assert time.monotonic() - start < 10


@pytest.fixture
def clip(tmp_path: Path, make_frames: MakeFrames, make_sound: MakeSound) -> Path:
    """Two seconds of video and sound."""
    return write_video(tmp_path / "clip.mp4", make_frames(48), make_sound(48000), preset="ultrafast")


def encoded(
    path: Path,
    frames: Frames,
    sound: Waveform | None = None,
    *,
    video: str = "libx264",
    audio: str = "aac",
    sample_format: str = "fltp",
    times: list[int] | None = None,
    sound_start: Fraction = Fraction(0),
    turn: int = 0,
    mirror: bool = False,
) -> Path:
    """A file as another program might write it: other containers and codecs, other timestamps."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(video, rate=frames.frame_rate)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = frames.width, frames.height, "yuv420p"
        if turn or mirror:
            stream.set_display_rotation(turn, hflip=mirror)
        if sound:
            track = container.add_stream(audio, rate=sound.sample_rate)
            assert isinstance(track, av.AudioStream)
            track.codec_context.format = sample_format
            track.codec_context.layout = {1: "mono", 2: "stereo"}[sound.num_channels]
        for index, pixels in enumerate(frames.pixels):
            picture = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            picture.pts, picture.time_base = (times or range(frames.num_frames))[index], 1 / frames.frame_rate
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
        if sound:
            layout = {1: "mono", 2: "stereo"}[sound.num_channels]
            piece = av.AudioFrame.from_ndarray(sound.samples.copy(), format="fltp", layout=layout)
            piece.sample_rate, piece.time_base = sound.sample_rate, Fraction(1, sound.sample_rate)
            piece.pts = round(sound_start * sound.sample_rate)
            container.mux(track.encode(piece))
            container.mux(track.encode(None))
    return path


def refusal(path: Path | str, **settings: object) -> MediaError:
    with pytest.raises(MediaError) as caught:
        read_video(path, **settings)  # type: ignore[arg-type]
    return caught.value


@pytest.mark.parametrize(
    ("name", "video", "audio", "sample_format"),
    [
        ("a.mov", "libx264", "pcm_s16le", "s16"),
        ("a.mov", "libx264", "pcm_s24le", "s32"),
        ("a.mkv", "libx264", "flac", "s16"),
        ("a.mkv", "libx264", "pcm_f32le", "flt"),
        ("a.mkv", "libx264", "pcm_u8", "u8"),
        ("a.mkv", "ffv1", "aac", "fltp"),
        ("a.webm", "libvpx-vp9", "libopus", "flt"),
    ],
)
def test_other_containers_and_codecs_are_read(
    tmp_path: Path,
    make_frames: MakeFrames,
    make_sound: MakeSound,
    name: str,
    video: str,
    audio: str,
    sample_format: str,
) -> None:
    """QuickTime, Matroska and WebM; the sound in place, whatever its sample format."""
    frames, sound = make_frames(24), make_sound(48000, 48000)
    read = read_video(encoded(tmp_path / name, frames, sound, video=video, audio=audio, sample_format=sample_format))
    assert (read.frames.num_frames, read.frames.frame_rate) == (24, 24)
    assert np.abs(read.frames.pixels.astype(int) - frames.pixels).mean() < 6
    assert read.waveform is not None
    assert read.waveform.sample_rate == 48000
    # Matroska has no exact end for AAC
    assert 0 <= read.waveform.num_samples - 48000 < 2048
    error = np.abs(read.waveform.samples[:, :48000] - sound.samples).mean()
    assert error < (0.02 if audio in ("aac", "libopus") else 0.01)


def test_a_silent_video_has_no_waveform(tmp_path: Path, make_frames: MakeFrames) -> None:
    """None, not zeros."""
    assert read_video(write_video(tmp_path / "a.mp4", make_frames())).waveform is None


@pytest.mark.parametrize("mirror", [False, True])
@pytest.mark.parametrize(("turn", "quarters"), [(0, 0), (90, 1), (180, 2), (-90, -1)])
def test_videos_are_turned_upright(
    tmp_path: Path, make_frames: MakeFrames, turn: int, quarters: int, mirror: bool
) -> None:
    """As phones store them: lying or mirrored, with a note how to hold them."""
    frames = make_frames()
    read = read_video(encoded(tmp_path / "a.mp4", frames, turn=turn, mirror=mirror)).frames
    upright = np.rot90(frames.pixels, quarters, axes=(1, 2))
    upright = upright[:, :, ::-1] if mirror else upright
    assert read.pixels.shape == upright.shape
    assert np.abs(read.pixels.astype(int) - upright).mean() < 6


def test_a_video_at_an_angle_is_refused(tmp_path: Path, make_frames: MakeFrames) -> None:
    """It does not fit a rectangle of pixels."""
    path = encoded(tmp_path / "a.mp4", make_frames(), turn=30)
    assert str(refusal(path)) == (
        f"{path}: error[media.unsupported]: the picture is to be shown at an angle that is not a multiple of 90 degrees"
    )


@pytest.mark.parametrize("start", [Fraction(1, 4), Fraction(-1, 4)])
def test_sound_begins_with_the_first_picture(
    tmp_path: Path, make_frames: MakeFrames, make_sound: MakeSound, start: Fraction
) -> None:
    """A late start is silence, what comes before the first picture is cut."""
    frames, sound = make_frames(24), make_sound(48000, 48000)
    times = [index + 6 for index in range(24)] if start < 0 else None
    path = encoded(
        tmp_path / "a.mkv",
        frames,
        sound,
        audio="pcm_f32le",
        sample_format="flt",
        times=times,
        sound_start=max(start, Fraction(0)),
    )
    read = read_video(path).waveform
    assert read is not None
    expected = np.pad(sound.samples, ((0, 0), (12000, 0))) if start > 0 else sound.samples[:, 12000:]
    np.testing.assert_array_equal(read.samples, expected)


def test_a_variable_frame_rate_is_refused(tmp_path: Path, make_frames: MakeFrames) -> None:
    """Rather than played at another speed; with the command that makes the rate constant."""
    path = encoded(tmp_path / "a.mp4", make_frames(9), times=[0, 1, 2, 3, 4, 20, 21, 22, 60])
    assert str(refusal(path)) == (
        f"{path}: error[media.variable_rate]: the frames do not follow one frame rate\n"
        "  why: a picture is more than half a frame away from its place\n"
        '  fix: ffmpeg -i "a.mp4" -fps_mode cfr -r 24 constant.mp4'
    )


def test_probe_tells_what_the_file_says(clip: Path) -> None:
    """Codecs, sizes, counts, rates and durations."""
    info = probe(clip)
    assert info == MediaInfo(
        format="mp4",
        video_codec="h264",
        width=48,
        height=32,
        num_frames=48,
        frame_rate=Fraction(24),
        duration=Fraction(2),
        audio_codec="aac",
        sample_rate=24000,
        num_channels=2,
        audio_duration=Fraction(2),
        metadata=info.metadata,
    )


def test_progress_counts_frames(clip: Path) -> None:
    """(read, announced); what it raises ends the reading."""
    calls: list[tuple[int, int]] = []
    read_video(clip, progress=lambda *done: calls.append(done))
    assert calls == [(index + 1, 48) for index in range(48)]
    with pytest.raises(ZeroDivisionError):
        read_video(clip, progress=lambda done, total: divmod(done, 0))


@pytest.mark.parametrize(
    ("limits", "what", "limit"),
    [
        (Limits(frames=47), "the video has 48 frames", "47 frames"),
        (Limits(frame_pixels=1535), "the video is 48x32", "1535 pixels"),
        (
            Limits(decoded_bytes=221183),
            "the pixels of the video have 221184 bytes",
            "221183 bytes of pixels and samples",
        ),
        (
            Limits(decoded_bytes=300000),
            "the file takes too much memory when decoded",
            "300000 bytes of pixels and samples",
        ),
    ],
)
def test_limits_hold(clip: Path, limits: Limits, what: str, limit: str) -> None:
    """Pictures by what the header announces, sound as it comes."""
    assert str(refusal(clip, limits=limits)) == (
        f"{clip}: error[media.too_large]: {what}\n"
        f"  why: the limit is {limit}\n"
        "  fix: use a shorter or smaller file, or raise the limit if the file can be trusted"
    )


def test_limits_hold_where_the_header_announces_nothing(tmp_path: Path, make_frames: MakeFrames) -> None:
    """Matroska does not tell how many frames there are."""
    path = encoded(tmp_path / "a.mkv", make_frames(9))
    assert len(read_video(path, limits=Limits(frames=9)).frames.pixels) == 9
    assert refusal(path, limits=Limits(frames=8)).faults[0].what == "the video has more than 8 frames"


def test_a_header_that_lies_about_the_size_is_found_out(tmp_path: Path, make_frames: MakeFrames) -> None:
    """The container says 48x32, the H.264 stream has 640x480 pixels: the limit holds for the stream."""
    data = write_video(tmp_path / "a.mp4", make_frames(3, 480, 640), preset="ultrafast").read_bytes()
    lie = tmp_path / "lie.mp4"
    lie.write_bytes(data.replace(struct.pack(">HH", 640, 480), struct.pack(">HH", 48, 32)))
    assert lie.read_bytes() != data
    assert refusal(lie, limits=Limits(frame_pixels=10_000)).code in ("media.too_large", "media.damaged")


@pytest.mark.parametrize("share", [0.02, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99, 0.999])
def test_a_truncated_video_is_refused_wherever_it_ends(clip: Path, share: float) -> None:
    """No clip that is silently shorter."""
    data = clip.read_bytes()
    clip.write_bytes(data[: int(len(data) * share)])
    assert refusal(clip).code == "media.damaged"


def test_a_truncated_matroska_file_is_refused(tmp_path: Path, make_frames: MakeFrames, make_sound: MakeSound) -> None:
    """Which has no table of its frames, but tells its duration."""
    path = encoded(tmp_path / "a.mkv", make_frames(96), make_sound(96000))
    data = path.read_bytes()
    for share in (0.02, 0.2, 0.5, 0.8):
        path.write_bytes(data[: int(len(data) * share)])
        assert refusal(path).code == "media.damaged"


def test_damage_anywhere_is_an_error_of_ours_or_none(clip: Path) -> None:
    """Flipped bytes: whatever FFmpeg makes of them, no exception of PyAV gets out."""
    data = clip.read_bytes()
    noise = np.random.default_rng(0)
    for _ in range(60):
        damaged = bytearray(data)
        for place in noise.integers(0, len(data), 8):
            damaged[place] = noise.integers(256)
        clip.write_bytes(damaged)
        for read in (read_video, probe):
            with contextlib.suppress(MediaError):
                read(clip)


@pytest.mark.parametrize(
    "content",
    [
        b"these are words, not a film",
        b"ffconcat version 1.0\nfile '/etc/passwd'\n",
        b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile:///etc/passwd\n",
        b'<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011"></MPD>',
        b"v=0\no=- 0 0 IN IP4 127.0.0.1\nc=IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\n",
    ],
)
def test_playlists_and_texts_are_not_videos(tmp_path: Path, content: bytes) -> None:
    """Whatever their name: nothing that they name is opened."""
    path = tmp_path / "a.mp4"
    path.write_bytes(content)
    assert str(refusal(path)) == (
        f"{path}: error[media.unknown_format]: the first bytes are those of no format that is read here\n"
        "  why: mp4, mov, mkv and webm are read as video; wav, flac, mp3 and ogg as sound; png, jpeg and webp as images"
    )


def test_a_text_that_begins_like_a_video_is_refused(tmp_path: Path) -> None:
    """The right first bytes and nothing behind them."""
    path = tmp_path / "a.mp4"
    for head in (b"\0\0\0\x20ftypisom", b"\0\0\0\x08moov", b"\x1a\x45\xdf\xa3", b"\xff\xff\xff\xffmdat"):
        path.write_bytes(head + b"#EXTM3U\nfile:///etc/passwd\n" * 9)
        assert refusal(path).code in ("media.damaged", "media.no_video")


def test_only_regular_files_are_opened(tmp_path: Path) -> None:
    """A directory, a pipe that nobody writes to, a missing file, an address."""
    os.mkfifo(tmp_path / "pipe.mp4")
    assert str(refusal(tmp_path)) == f"{tmp_path}: error[media.not_a_file]: the path is a directory, not a file"
    assert str(refusal(tmp_path / "pipe.mp4")) == (
        f"{tmp_path}/pipe.mp4: error[media.not_a_file]: the path is a device, pipe or socket, not a file"
    )
    assert str(refusal(tmp_path / "no.mp4")) == (
        f"{tmp_path}/no.mp4: error[media.not_found]: cannot open the file: No such file or directory"
    )
    assert str(refusal("http://127.0.0.1:1/a.mp4")) == (
        "http:/127.0.0.1:1/a.mp4: error[media.not_found]: cannot open the file: No such file or directory\n"
        "  why: only local files are read, not addresses"
    )
    assert refusal("a\0b.mp4").code == "media.not_found"


def test_a_name_that_looks_like_an_address_is_a_file(
    tmp_path: Path, make_frames: MakeFrames, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`concat:`, `%d` and the like mean nothing here, for reading and for writing."""
    monkeypatch.chdir(tmp_path)
    for name in ("concat:a|b.mp4", "pipe:0.mp4", "%03d.mp4", "a?b#c.mp4"):
        write_video(name, make_frames(2), preset="ultrafast")
        assert read_video(name).frames.num_frames == 2


def test_an_image_is_not_a_video_and_a_video_not_an_image(clip: Path, tmp_path: Path) -> None:
    """Each error names the stage that reads it."""
    picture = tmp_path / "a.png"
    picture.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(30))
    assert str(refusal(picture)) == (
        f"{picture}: error[media.no_video]: the file is a png image, not a video\n  fix: read it with media.read_image"
    )
    with pytest.raises(MediaError) as caught:
        read_image(clip)
    assert str(caught.value) == (
        f"{clip}: error[media.unsupported]: the file is a mp4 video, not an image\n  fix: read it with media.read_video"
    )


def test_sound_alone_is_not_a_video(tmp_path: Path, make_sound: MakeSound) -> None:
    """An mp4 without a video stream."""
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=24000)
        frame = av.AudioFrame.from_ndarray(make_sound(4000).samples.copy(), format="fltp", layout="stereo")
        frame.sample_rate = 24000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    assert str(refusal(path)) == f"{path}: error[media.no_video]: the file has no video"


def test_codecs_outside_the_list_do_not_run(tmp_path: Path, make_frames: MakeFrames) -> None:
    """Old decoders are where the holes are."""
    path = encoded(tmp_path / "a.mkv", make_frames(), video="mpeg1video")
    assert str(refusal(path)) == (
        f"{path}: error[media.unsupported]: the video is mpeg1video\n"
        "  why: video is read as h264, hevc, av1, vp8, vp9, mpeg4, mjpeg, prores, ffv1\n"
        "  fix: convert the file to H.264 and AAC"
    )


def test_tags_that_are_not_unicode_are_replaced(tmp_path: Path, make_frames: MakeFrames) -> None:
    """A file of another age still can be read."""
    path = write_video(tmp_path / "a.mp4", make_frames(), metadata={"title": "MARKMARK"})
    path.write_bytes(path.read_bytes().replace(b"MARKMARK", b"M\xe9RKM\xffRK"))
    assert read_video(path).metadata["title"] == "M\ufffdRKM\ufffdRK"
