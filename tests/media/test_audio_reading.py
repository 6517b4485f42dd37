"""read_audio: every kind of sound file to the sample, or an error that says why not."""

from __future__ import annotations

import contextlib
import itertools
import struct
import time
import zlib
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stagegraph_media.audio import write_audio
from stagegraph_media.errors import MediaError
from stagegraph_media.reading import Limits, MediaInfo, probe, read_audio, read_image, read_video
from stagegraph_media.sounds import Spliced
from stagegraph_media.sounds.recording import Span
from stagegraph_media.values import Waveform
from stagegraph_media.writing import write_video

from .conftest import EncodeSound, MakeFrames, MakeSound, MemoryPeak

LOSSLESS = [
    ("a.wav", "pcm_s16le", "s16", None),
    ("a.wav", "pcm_s24le", "s32", None),
    ("a.wav", "pcm_s32le", "s32", None),
    ("a.wav", "pcm_u8", "u8", None),
    ("a.wav", "pcm_f32le", "flt", None),
    ("a.wav", "pcm_f64le", "dbl", None),
    ("a.flac", "flac", "s16", None),
    ("a.flac", "flac", "s32", None),
    ("a.oga", "flac", "s16", "ogg"),
    ("a.mka", "pcm_f32le", "flt", "matroska"),
    ("a.mka", "flac", "s32", "matroska"),
    ("a.mov", "pcm_s24le", "s32", "mov"),
    ("a.m4a", "alac", "s16p", "ipod"),
]
LOSSY = [
    ("a.mp3", "libmp3lame", "fltp", None),
    ("a.opus", "libopus", "flt", "ogg"),
    ("a.m4a", "aac", "fltp", "ipod"),
    ("a.mp4", "aac", "fltp", "mp4"),
    ("a.webm", "libopus", "flt", "webm"),
]
KINDS = [*LOSSLESS, *LOSSY]


@pytest.fixture(autouse=True)
def _quick() -> Iterator[None]:
    """Whatever a file is, the answer comes within seconds."""
    start = time.monotonic()
    yield
    assert time.monotonic() - start < 10


def refusal(path: Path | str, **settings: Any) -> MediaError:
    with pytest.raises(MediaError) as caught:
        read_audio(path, **settings)
    return caught.value


def told(path: Path, **settings: Any) -> str:
    """The whole text of a refusal, without the path."""
    return str(refusal(path, **settings)).removeprefix(f"{path}: ")


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize(("name", "codec", "sample_format", "muxer"), KINDS)
def test_every_sample_is_where_it_was(
    tmp_path: Path,
    encode_sound: EncodeSound,
    make_sound: MakeSound,
    name: str,
    codec: str,
    sample_format: str,
    muxer: str | None,
    channels: int,
) -> None:
    """The rate, the channels, the length to the sample; no delay of an encoder, no filling behind the end."""
    sound = make_sound(48123, 48000, channels)
    read = read_audio(encode_sound(tmp_path / name, sound, codec, sample_format, muxer))
    assert (read.sample_rate, read.samples.shape) == (48000, sound.samples.shape)
    steps = {"pcm_u8": 2**-7, "s16": 2**-15, "s16p": 2**-15}
    exact = (name, codec, sample_format, muxer) in LOSSLESS
    error = np.abs(read.samples - sound.samples)
    assert error.max() <= steps.get(codec, steps.get(sample_format, 2**-23)) if exact else error.mean() < 0.02
    errors = [np.abs(read.samples[:, 99 + lag : -99 + lag] - sound.samples[:, 99:-99]).mean() for lag in range(-9, 10)]
    assert np.argmin(errors) == 9


def test_vorbis_is_read(tmp_path: Path, make_sound: MakeSound) -> None:
    """In Ogg; as long as the last page says."""
    sound = make_sound(48064, 48000)
    with av.open(str(tmp_path / "a.ogg"), "w") as container:
        track = container.add_stream("vorbis", rate=48000, options={"strict": "-2"})
        assert isinstance(track, av.AudioStream)
        piece = av.AudioFrame.from_ndarray(sound.samples.copy(), format="fltp", layout="stereo")
        piece.sample_rate, piece.pts, piece.time_base = 48000, 0, Fraction(1, 48000)
        container.mux([*track.encode(piece), *track.encode(None)])
    read = read_audio(tmp_path / "a.ogg")
    assert read.samples.shape == sound.samples.shape
    assert np.abs(read.samples[:, 5000:-5000] - sound.samples[:, 5000:-5000]).mean() < 0.03


@pytest.mark.parametrize("channels", range(1, 9))
def test_up_to_eight_channels_stay_in_their_order(tmp_path: Path, channels: int) -> None:
    """Nothing is mixed."""
    sound = Waveform(np.random.default_rng(0).uniform(-1, 1, (channels, 999)).astype(np.float32), 8000)
    assert read_audio(write_audio(tmp_path / "a.wav", sound)) == sound


@pytest.mark.parametrize(("name", "codec", "sample_format", "muxer"), KINDS)
def test_a_part_is_the_same_as_that_part_of_the_whole(
    tmp_path: Path,
    encode_sound: EncodeSound,
    make_sound: MakeSound,
    name: str,
    codec: str,
    sample_format: str,
    muxer: str | None,
) -> None:
    """Bit by bit, from the nearest sample on."""
    path = encode_sound(tmp_path / name, make_sound(48123, 48000), codec, sample_format, muxer)
    whole = read_audio(path).samples
    for start, duration, first, last in [
        (0, None, 0, 48123),
        (0.5, None, 24000, 48123),
        (0.1, 0.25, 4800, 16800),
        (Fraction(1, 3), Fraction(1, 48000), 16000, 16001),
        (1, Fraction(123, 48000), 48000, 48123),
    ]:
        part = read_audio(path, start=start, duration=duration)
        np.testing.assert_array_equal(part.samples, whole[:, first:last])
    assert told(path, start=Fraction(1, 3), duration=Fraction(1, 96000)) == (
        "error[media.no_such_part]: the part from 0.333333 s to 0.333344 s is shorter than a sample"
    )


@pytest.mark.parametrize(("name", "codec", "sample_format", "muxer"), KINDS)
def test_a_part_that_is_not_there_is_refused(
    tmp_path: Path,
    encode_sound: EncodeSound,
    make_sound: MakeSound,
    name: str,
    codec: str,
    sample_format: str,
    muxer: str | None,
) -> None:
    """Rather than given in part, or filled up."""
    path = encode_sound(tmp_path / name, make_sound(48000, 48000), codec, sample_format, muxer)
    what = "error[media.no_such_part]: the sound has 1 s, of which the part {} is asked for"
    fix = "\n  fix: ask for a part that is there"
    assert told(path, start=1) == what.format("from 1 s on") + fix
    assert told(path, start=0.5, duration=0.501) == what.format("from 0.5 s to 1.001 s") + fix


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"start": -1}, "start is -1: must be a finite number of seconds, at least 0"),
        ({"start": float("nan")}, "start is nan: must be a finite number of seconds, at least 0"),
        ({"duration": 0}, "duration is 0: must be a finite number of seconds, above 0"),
        ({"duration": float("inf")}, "duration is inf: must be a finite number of seconds, above 0"),
    ],
)
def test_times_that_are_none_are_refused(tmp_path: Path, settings: dict[str, float], text: str) -> None:
    """Before the file is opened."""
    with pytest.raises(ValueError, match="must be") as caught:
        read_audio(tmp_path / "none.wav", **settings)  # type: ignore[arg-type]
    assert str(caught.value) == text


@pytest.mark.parametrize(("name", "audio"), [("a.mp4", "aac"), ("a.mkv", "flac"), ("a.mov", "pcm_s16le")])
def test_the_sound_of_a_video_is_what_read_video_gives(
    tmp_path: Path, make_frames: MakeFrames, make_sound: MakeSound, name: str, audio: str
) -> None:
    """From the first picture on, wherever the sound begins."""
    for start in (Fraction(0), Fraction(1, 4)):
        frames, sound = make_frames(24), make_sound(48000, 48000)
        with av.open(str(tmp_path / name), "w") as container:
            video, track = container.add_stream("libx264", rate=24), container.add_stream(audio, rate=48000)
            assert isinstance(video, av.VideoStream)
            assert isinstance(track, av.AudioStream)
            video.width, video.height, video.pix_fmt = frames.width, frames.height, "yuv420p"
            track.codec_context.layout = "stereo"
            for index, pixels in enumerate(frames.pixels):
                picture = av.VideoFrame.from_ndarray(pixels, format="rgb24")
                picture.pts, picture.time_base = index + 6, Fraction(1, 24)
                container.mux(video.encode(picture))
            piece = av.AudioFrame.from_ndarray(sound.samples.copy(), format="fltp", layout="stereo")
            piece.sample_rate, piece.time_base, piece.pts = 48000, Fraction(1, 48000), round(start * 48000)
            container.mux([*video.encode(None), *track.encode(piece), *track.encode(None)])
        both = read_video(tmp_path / name).waveform
        assert both is not None
        assert abs(both.num_samples - 36000 - start * 48000) < 100  # FFmpeg writes the start of sound in an mp4 in ms
        assert read_audio(tmp_path / name) == both


def test_a_cover_is_not_a_video(tmp_path: Path, encode_picture: Any, make_sound: MakeSound) -> None:
    """Music that begins late is not filled up to the time of its cover."""
    cover = encode_picture("mjpeg", np.zeros((16, 16, 3), np.uint8), "rgb24", "yuvj420p")
    with av.open(str(tmp_path / "a.m4a"), "w", format="mp4") as container:
        track, picture = container.add_stream("aac", rate=24000), container.add_stream("mjpeg")
        assert isinstance(picture, av.VideoStream)
        assert isinstance(track, av.AudioStream)
        track.codec_context.layout = "stereo"
        picture.width = picture.height = 16
        picture.pix_fmt = "yuvj420p"
        picture.disposition = av.stream.Disposition.attached_pic
        sound = make_sound(24000)
        piece = av.AudioFrame.from_ndarray(sound.samples.copy(), format="fltp", layout="stereo")
        piece.sample_rate, piece.time_base, piece.pts = 24000, Fraction(1, 24000), 0
        packet = av.Packet(cover)
        packet.stream, packet.pts, packet.dts = picture, 0, 0
        container.mux([packet, *track.encode(piece), *track.encode(None)])
    assert read_audio(tmp_path / "a.m4a").num_samples == 24000


def test_progress_counts_seconds(tmp_path: Path, make_sound: MakeSound) -> None:
    """(decoded, announced); what it raises ends the reading."""
    path = write_audio(tmp_path / "a.wav", make_sound(60000))
    calls: list[tuple[int, int]] = []
    read_audio(path, progress=lambda *done: calls.append(done))
    assert calls == [(1, 3), (2, 3)]
    with pytest.raises(ZeroDivisionError):
        read_audio(path, progress=lambda done, total: divmod(done, 0))


def test_probe_tells_what_a_sound_file_says(tmp_path: Path, make_sound: MakeSound) -> None:
    """Codec, rate, channels, and how long it is."""
    sound = make_sound(36000)
    for name, format, codec in [("a.wav", "wav", "pcm_f32le"), ("a.flac", "flac", "flac"), ("a.m4a", "mp4", "aac")]:
        info = probe(write_audio(tmp_path / name, sound))
        assert info == MediaInfo(
            format=format,
            audio_codec=codec,
            sample_rate=24000,
            num_channels=2,
            audio_duration=Fraction(3, 2),
            metadata=info.metadata,
        )


@pytest.mark.parametrize(
    ("limits", "text"),
    [
        (Limits(seconds=0.99), "1 s of sound are to be decoded\n  why: the limit is 0.99 s"),
        (Limits(channels=1), "the sound has 2 channels\n  why: the limit is 1 channels"),
        (Limits(sample_rate=23999), "the sample rate is 24000 Hz\n  why: the limit is 23999 Hz"),
        (
            Limits(decoded_bytes=191999),
            "the samples of the sound have 192000 bytes\n  why: the limit is 191999 bytes of pixels and samples",
        ),
        (
            Limits(decoded_bytes=300000),
            "the file takes too much memory when decoded\n  why: the limit is 300000 bytes of pixels and samples",
        ),
        (Limits(file_bytes=1000), "the file has 192128 bytes\n  why: the limit is 1000 bytes"),
    ],
)
def test_limits_hold(tmp_path: Path, make_sound: MakeSound, limits: Limits, text: str) -> None:
    """By what the header says, before anything is decoded; copies count too."""
    path = write_audio(tmp_path / "a.wav", make_sound(24000))
    fix = "\n  fix: use a shorter or smaller file, or raise the limit if the file can be trusted"
    assert told(path, limits=limits) == f"error[media.too_large]: {text}{fix}"


def test_only_the_part_that_is_asked_for_counts_for_the_limits(tmp_path: Path, make_sound: MakeSound) -> None:
    """A minute of an hour needs the memory of a minute, and is decoded up to its end."""
    path = write_audio(tmp_path / "a.flac", make_sound(240_000))
    limits = Limits(decoded_bytes=2 * 8 * 2400, seconds=0.6)
    assert read_audio(path, limits=limits, start=0.5, duration=0.1).num_samples == 2400
    assert refusal(path, limits=limits, start=0.5, duration=0.11).code == "media.too_large"


def test_limits_hold_where_the_header_announces_nothing(
    tmp_path: Path, encode_sound: EncodeSound, make_sound: MakeSound
) -> None:
    """A stream that was recorded without an end."""
    path = encode_sound(tmp_path / "a.flac", make_sound(48000), "flac", "s16")
    data = bytearray(path.read_bytes())
    packed = int.from_bytes(data[18:26])
    data[18:26] = (packed >> 36 << 36).to_bytes(8)
    path.write_bytes(data)
    assert probe(path).audio_duration is None
    assert read_audio(path).num_samples == 48000
    assert refusal(path, limits=Limits(seconds=1)).code == "media.too_large"
    assert refusal(path, limits=Limits(decoded_bytes=48000 * 8 - 1)).code == "media.too_large"


@pytest.mark.parametrize(("name", "codec", "sample_format", "muxer"), KINDS)
def test_a_truncated_file_is_refused_wherever_it_ends(
    tmp_path: Path,
    encode_sound: EncodeSound,
    make_sound: MakeSound,
    name: str,
    codec: str,
    sample_format: str,
    muxer: str | None,
) -> None:
    """No sound that is silently shorter."""
    path = encode_sound(tmp_path / name, make_sound(48000, 48000), codec, sample_format, muxer)
    data = path.read_bytes()
    for share in (0.02, 0.1, 0.5, 0.9, 0.99, 0.9999):
        path.write_bytes(data[: int(len(data) * share)])
        assert refusal(path).code == "media.damaged"


def test_a_file_cut_between_two_frames_or_pages_is_refused(
    tmp_path: Path, encode_sound: EncodeSound, make_sound: MakeSound
) -> None:
    """Where nothing is broken, and something is missing."""
    mp3 = encode_sound(tmp_path / "a.mp3", make_sound(48000, 48000), "libmp3lame", "fltp")
    content = mp3.read_bytes()
    mp3.write_bytes(content[:-384])  # one frame of 128 kbit/s
    assert told(mp3) == "error[media.damaged]: the file ends early"
    ogg = encode_sound(tmp_path / "a.opus", make_sound(96000, 48000), "libopus", "flt", "ogg", page_duration="100000")
    content = ogg.read_bytes()
    pages = content.split(b"OggS")
    ogg.write_bytes(b"OggS".join(pages[:-1]))
    assert told(ogg) == "error[media.damaged]: the file ends early"
    ogg.write_bytes(b"OggS".join([*pages[:9], *pages[10:]]))
    assert told(ogg) == "error[media.damaged]: a page is missing"


@pytest.mark.parametrize(("name", "codec", "sample_format", "muxer"), KINDS)
def test_damage_anywhere_is_an_error_of_ours_or_none(
    tmp_path: Path,
    encode_sound: EncodeSound,
    make_sound: MakeSound,
    name: str,
    codec: str,
    sample_format: str,
    muxer: str | None,
) -> None:
    """Flipped bytes: whatever FFmpeg makes of them, no other exception gets out, and nothing gets longer or shorter."""
    path = encode_sound(tmp_path / name, make_sound(9600, 48000), codec, sample_format, muxer)
    data = path.read_bytes()
    noise = np.random.default_rng(0)
    for _ in range(25):
        damaged = bytearray(data)
        for place in noise.integers(0, len(data), 4):
            damaged[place] = noise.integers(256)
        path.write_bytes(damaged)
        for read in (read_audio, probe):
            with contextlib.suppress(MediaError):
                read(path)


def test_a_flipped_bit_in_a_sound_with_check_sums_is_found(
    tmp_path: Path, encode_sound: EncodeSound, make_sound: MakeSound
) -> None:
    """FFmpeg alone would leave the frame, or the page, out."""
    for name, codec, sample_format, text in [
        ("a.flac", "flac", "s16", "a part of the sound is missing"),
        ("a.opus", "libopus", "flt", "a page is damaged, at byte "),
    ]:
        path = encode_sound(tmp_path / name, make_sound(48000, 48000), codec, sample_format)
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
        assert told(path).startswith(f"error[media.damaged]: {text}")


# Hostile files, made byte by byte


def wav(
    content: bytes,
    *,
    tag: int = 1,
    channels: int = 1,
    rate: int = 8000,
    bits: int = 16,
    block: int | None = None,
    data_size: int | None = None,
    before: bytes = b"",
    magic: bytes = b"RIFF",
) -> bytes:
    """A WAV file whose header says what it is told to."""
    block = channels * bits // 8 if block is None else block
    form = struct.pack("<HHIIHH", tag, channels, rate, rate * block % 2**32, block, bits)
    size = len(content) if data_size is None else data_size
    chunks = before + b"fmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", size) + content
    return magic + struct.pack("<I", len(chunks) + 4) + b"WAVE" + chunks


SECOND = np.arange(8000, dtype="<i2").tobytes()


def chunk(kind: bytes, content: bytes) -> bytes:
    return kind + struct.pack("<I", len(content)) + content + bytes(len(content) % 2)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (wav(SECOND, data_size=16002), "media.damaged]: the file ends early"),
        (wav(SECOND, data_size=2**32 - 2), "media.damaged]: the file ends early"),
        (wav(SECOND, before=b"LIST" + struct.pack("<I", 2**32 - 1)), "media.damaged]: the file ends early"),
        (wav(SECOND[:-1], bits=16), "media.damaged]: the file ends early: the last sample is not whole"),
        (wav(b""), "media.no_sound]: the sound has no samples"),
        (wav(SECOND, data_size=0), "media.no_sound]: the sound has no samples"),
        (wav(SECOND)[:36], "media.damaged]: no chunk holds samples"),
        (b"RIFF\4\0\0\0WAVE", "media.damaged]: no chunk holds samples"),
        (b"RIFF\4\0\0\0WAVE" + chunk(b"data", SECOND), "media.damaged]: the samples come before their form"),
        (b"RIFF\4\0\0\0WAVE" + chunk(b"fmt ", b"\1\0"), "media.damaged]: the form of the samples has 2 bytes"),
        (
            b"RIFF\4\0\0\0WAVE" + chunk(b"fmt ", bytes(2**20)),
            "media.damaged]: the form of the samples has 1048576 bytes",
        ),
        (
            wav(SECOND, rate=0),
            "media.damaged]: the header says 1 channels of 16 bits in 2 bytes, 0 times a second",
        ),
        (
            wav(SECOND, block=0, bits=0),
            "media.damaged]: the header says 1 channels of 0 bits in 0 bytes, 8000 times a second",
        ),
        (
            wav(SECOND, channels=2, block=2),
            "media.damaged]: the header says 2 channels of 16 bits in 2 bytes, 8000 times a second",
        ),
        (
            wav(SECOND, rate=2**32 - 1),
            (
                "media.too_large]: the sample rate is 4294967295 Hz\n  why: the limit is 768000 Hz\n"
                "  fix: use a shorter or smaller file, or raise the limit if the file can be trusted"
            ),
        ),
        (
            wav(SECOND, rate=1, channels=1),
            (
                "media.too_large]: 8000 s of sound are to be decoded\n  why: the limit is 3600 s\n"
                "  fix: use a shorter or smaller file, or raise the limit if the file can be trusted"
            ),
        ),
        (
            wav(bytes(65535 * 2), channels=65535, block=65535 * 2 % 65536),
            "media.damaged]: the header says 65535 channels of 16 bits in 65534 bytes, 8000 times a second",
        ),
        (wav(bytes(180), channels=9), "media.unsupported]: the sound has 9 channels\n  why: at most 8 are read"),
        (
            wav(SECOND, tag=85),
            (
                "media.unsupported]: the samples are stored in form 85, of which only 1 (PCM) and 3 (floating point) "
                'are read\n  fix: ffmpeg -i "a.wav" converted.flac'
            ),
        ),
    ],
)
def test_a_wav_file_that_lies_is_refused(tmp_path: Path, content: bytes, text: str) -> None:
    """About sizes, rates and channels; nothing is allocated by what it claims."""
    path = tmp_path / "a.wav"
    path.write_bytes(content)
    assert told(path, limits=Limits(seconds=3600)) == f"error[{text}"


def test_floating_point_that_is_not_finite_is_refused(tmp_path: Path) -> None:
    """Not a number in a sound would spread."""
    path = tmp_path / "a.wav"
    path.write_bytes(wav(np.array([0, np.nan, 1], "<f4").tobytes(), tag=3, bits=32))
    assert told(path) == "error[media.damaged]: the sound contains NaN or infinity"


def test_a_wav_file_of_a_recorder_that_did_not_know_its_length_is_read(tmp_path: Path) -> None:
    """To its end; and the 64-bit form by its own sizes."""
    path = tmp_path / "a.wav"
    samples = np.arange(8000, dtype=np.float32) / 2**15
    path.write_bytes(wav(SECOND, data_size=2**32 - 1))
    np.testing.assert_array_equal(read_audio(path).samples[0], samples)
    sizes = chunk(b"ds64", struct.pack("<QQQI", 0, len(SECOND), 8000, 0))
    path.write_bytes(wav(SECOND, data_size=2**32 - 1, before=sizes, magic=b"RF64"))
    np.testing.assert_array_equal(read_audio(path).samples[0], samples)
    sizes = chunk(b"ds64", struct.pack("<QQQI", 0, 2**63, 8000, 0))
    path.write_bytes(wav(SECOND, data_size=2**32 - 1, before=sizes, magic=b"RF64"))
    assert told(path) == "error[media.damaged]: the file ends early"


def bomb(size: int) -> bytes:
    """An ID3 tag of which a frame of a few kilobytes becomes `size` bytes of text."""
    squeezed = zlib.compress(b"\0" + b"A" * size, 9)
    frame = b"TXXX" + synchsafe(len(squeezed) + 4) + b"\0\x09" + synchsafe(size % 2**28) + squeezed
    frames = frame * 40
    return b"ID3\4\0\0" + synchsafe(len(frames)) + frames


def synchsafe(number: int) -> bytes:
    return bytes(number >> shift & 0x7F for shift in (21, 14, 7, 0))


def test_tags_are_not_read(
    tmp_path: Path, encode_sound: EncodeSound, make_sound: MakeSound, memory_below: MemoryPeak
) -> None:
    """Neither a bomb of compressed text, nor pictures, before or behind the sound, or within a WAV file."""
    sound = make_sound(24000, 48000)
    mp3 = encode_sound(tmp_path / "a.mp3", sound, "libmp3lame", "fltp", id3v2_version="0").read_bytes()
    flac = encode_sound(tmp_path / "a.flac", sound, "flac", "s16").read_bytes()
    tag = bomb(2**27)
    assert len(tag) < 2**23
    plain = {name: read_audio(tmp_path / name) for name in ("a.mp3", "a.flac")}
    for name, content in [
        ("a.mp3", tag + tag + bytes(1000) + mp3 + bytes(128)),
        ("a.mp3", mp3 + bytes(200 - 32) + struct.pack("<8sIIII8x", b"APETAGEX", 2000, 200, 1, 0)),
        ("a.mp3", mp3 + b"TAG" + bytes(125)),
        ("a.mp3", mp3 + b"LYRICSBEGIN" + b"la" * 50 + b"000111LYRICS200" + b"TAG" + bytes(125)),
        ("a.flac", tag + flac),
        ("a.flac", flac + b"TAG" + bytes(125)),
    ]:
        (tmp_path / name).write_bytes(content)
        with memory_below(64 * 2**20):
            assert read_audio(tmp_path / name) == plain[name]
    (tmp_path / "a.wav").write_bytes(wav(SECOND, before=chunk(b"id3 ", tag) + chunk(b"LIST", b"INFO" + tag)))
    with memory_below(64 * 2**20):
        assert read_audio(tmp_path / "a.wav").num_samples == 8000


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"ID3\4\0\0\x7f\x7f\x7f\x7f" + bytes(100), "the file ends early"),
        (b"ID3\4\0\0\xff\xff\xff\xff" + bytes(100), "the length of an ID3 tag is no such number"),
        (b"ID3\4\0\0\0\0\0\x0a" + bytes(10), "the file ends early"),
        (b"ID3\4\0\0\0\0\0\x0a" + bytes(1000), "the file ends early"),
        (b"ID3\4\0\0\0\0\0\x0a" + bytes(10) + b"these are words", "no MP3 frame is where the first must be"),
    ],
)
def test_tags_without_a_sound_are_refused(tmp_path: Path, content: bytes, text: str) -> None:
    """Whatever length they claim."""
    path = tmp_path / "a.mp3"
    path.write_bytes(content)
    assert told(path) == f"error[media.damaged]: {text}"


def test_garbage_between_mp3_frames_is_refused(
    tmp_path: Path, encode_sound: EncodeSound, make_sound: MakeSound
) -> None:
    """With its place; FFmpeg would play on behind it."""
    path = encode_sound(
        tmp_path / "a.mp3", make_sound(48000, 48000), "libmp3lame", "fltp", id3v2_version="0", write_xing="0"
    )
    data = path.read_bytes()
    for junk in (b"junk", b"TAG" + bytes(125), bytes(100)):
        path.write_bytes(data[: 384 * 5] + junk + data[384 * 5 :])
        assert told(path) == "error[media.damaged]: what follows frame 5 is no frame, at byte 1920"
    path.write_bytes(data[: 384 * 5] + b"\xff\xfb\xf4\x00" + bytes(999))
    assert told(path) == "error[media.damaged]: what follows frame 5 is no frame, at byte 1920"
    path.write_bytes(data[: 384 * 5] + b"\xff\xfb\x94\x00" + bytes(10))
    assert told(path) == "error[media.damaged]: the file ends early"
    path.write_bytes(b"\xff\xfb\x04\x00" + data)
    assert told(path) == (
        'error[media.unsupported]: the frames have a free bit rate\n  fix: ffmpeg -i "a.mp3" converted.flac'
    )


def test_a_flac_bomb_is_refused(tmp_path: Path, memory_below: MemoryPeak) -> None:
    """A few bytes for each 65535 samples of silence: by the header, and where that lies, as they come."""
    size, count = 65535, 3000
    info = struct.pack(">HH", size, size) + bytes(6)

    def header(total: int) -> bytes:
        packed = (44100 << 44) | (7 << 41) | (15 << 36) | total
        return b"fLaC\x80\0\0\x22" + info + packed.to_bytes(8) + bytes(16)

    frames = b"".join(silent_flac_frame(number, size) for number in range(count))
    path = tmp_path / "a.flac"
    limits = Limits(decoded_bytes=32 * 2**20)
    for total, text in [
        (size * count, f"the samples of the sound have {size * count * 32} bytes"),
        (0, "the file takes too much memory when decoded"),
        (size, "the file takes too much memory when decoded"),
    ]:
        path.write_bytes(header(total) + frames)
        assert path.stat().st_size < 200_000
        with memory_below(200 * 2**20):
            assert refusal(path, limits=limits).faults[0].what == text
    path.write_bytes(header(size) + frames[: len(frames) // count * 2])
    assert refusal(path).code == "media.damaged"


def silent_flac_frame(number: int, size: int) -> bytes:
    """Eight channels of zeros, each told by one number."""
    coded = chr(number).encode() if not 0xD800 <= number < 0xE000 else b""
    head = b"\xff\xf8\x70" + bytes([0x78]) + coded + struct.pack(">H", size - 1)
    head += bytes([crc(head, 8, 0x07)])
    body = b"\0\0\0" * 8
    return head + body + crc(head + body, 16, 0x8005).to_bytes(2)


def crc(data: bytes, bits: int, polynomial: int) -> int:
    value = 0
    for byte in data:
        value ^= byte << (bits - 8)
        for _ in range(8):
            value = (value << 1 ^ (polynomial if value >> (bits - 1) & 1 else 0)) & (1 << bits) - 1
    return value


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"fLaC", "the file ends early"),
        (b"fLaC\x80\0\0\x22" + bytes(33), "the file ends early"),
        (b"fLaC\x81\0\0\x22" + bytes(34), "the first block is not the one that describes the sound"),
        (b"fLaC\0\0\0\x22" + bytes(34) + b"\x86\xff\xff\xff", "the file ends early"),
        (b"fLaC\x80\0\0\x22" + bytes(34), "the header says 0 Hz"),
        (b"fLaC\0\0\0\x22" + bytes(34) + b"\1\0\0\0" * 100_000, "it has more than 100000 blocks of tags"),
    ],
)
def test_a_flac_header_that_lies_is_refused(tmp_path: Path, content: bytes, text: str) -> None:
    """Before FFmpeg sees it."""
    path = tmp_path / "a.flac"
    path.write_bytes(content)
    assert told(path) == f"error[media.damaged]: {text}"


def test_odd_ogg_files_are_refused(tmp_path: Path, encode_sound: EncodeSound, make_sound: MakeSound) -> None:
    """Several recordings in one, something between pages, a stream without a beginning, no sound."""
    path = encode_sound(tmp_path / "a.opus", make_sound(9600, 48000), "libopus", "flt", "ogg")
    data = path.read_bytes()
    second = data.index(b"OggS", 1)
    path.write_bytes(data + data)
    assert told(path) == (
        "error[media.unsupported]: the file holds several recordings, one after the other\n"
        '  fix: ffmpeg -i "a.opus" converted.flac'
    )
    path.write_bytes(data[:second] + b"junk" + data[second:])
    assert told(path) == f"error[media.damaged]: no page is where the next must be, at byte {second}"
    path.write_bytes(data + b"junk" * 9)
    assert told(path) == f"error[media.damaged]: no page is where the next must be, at byte {len(data)}"
    path.write_bytes(data[second:])
    assert told(path) == "error[media.damaged]: a stream has no beginning"
    speex = encode_sound(tmp_path / "b.ogg", make_sound(9600, 48000), "libopus", "flt", "ogg")
    page = bytearray(data[:second].replace(b"OpusHead", b"Speex   "))
    page[5] |= 4
    page[22:26] = bytes(4)
    page[22:26] = crc(bytes(page), 32, 0x04C11DB7).to_bytes(4, "little")
    speex.write_bytes(page)
    assert told(speex) == (
        "error[media.unsupported]: the file has no sound in Opus, Vorbis or FLAC\n"
        '  fix: ffmpeg -i "b.ogg" converted.flac'
    )


def test_codecs_outside_the_list_do_not_run(tmp_path: Path, encode_sound: EncodeSound, make_sound: MakeSound) -> None:
    """Old decoders are where the holes are."""
    path = encode_sound(tmp_path / "a.mka", make_sound(9600, 48000), "ac3", "fltp", "matroska")
    assert told(path) == (
        "error[media.unsupported]: the sound is ac3\n"
        "  why: sound is read as aac, mp3, opus, vorbis, flac, alac, pcm_u8, pcm_s16le, pcm_s16be, pcm_s24le, "
        "pcm_s24be, pcm_s32le, pcm_s32be, pcm_f32le, pcm_f32be, pcm_f64le, pcm_f64be\n"
        "  fix: convert the file to H.264 and AAC"
    )


def test_what_is_no_sound_names_its_reader(
    tmp_path: Path, make_frames: MakeFrames, make_sound: MakeSound, encode_picture: Any
) -> None:
    """Silent videos, images, playlists; and sound that is taken for a video or an image."""
    silent = write_video(tmp_path / "a.mp4", make_frames())
    assert told(silent) == "error[media.no_sound]: the file has no sound"
    image = tmp_path / "a.png"
    image.write_bytes(encode_picture("png", np.zeros((4, 4, 3), np.uint8), "rgb24", "rgb24"))
    assert told(image) == (
        "error[media.no_sound]: the file is a png image, not sound\n  fix: read it with media.read_image"
    )
    playlist = tmp_path / "a.wav"
    playlist.write_bytes(b"#EXTM3U\nfile:///etc/passwd\n")
    assert refusal(playlist).code == "media.unknown_format"
    playlist.write_bytes(b"")
    assert refusal(playlist).faults[0].what == "the file is empty"
    sound = write_audio(tmp_path / "b.wav", make_sound())
    for read, code, word in ((read_video, "media.no_video", "a video"), (read_image, "media.unsupported", "an image")):
        with pytest.raises(MediaError) as caught:
            read(sound)  # type: ignore[operator]
        assert str(caught.value) == (
            f"{sound}: error[{code}]: the file is wav sound, not {word}\n  fix: read it with media.read_audio"
        )


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pieces=st.lists(st.binary(max_size=9) | st.tuples(st.integers(0, 40), st.integers(0, 40))), data=st.data())
def test_a_spliced_file_reads_like_the_bytes_of_its_pieces(tmp_path: Path, pieces: list[Any], data: Any) -> None:
    """Wherever one seeks, and however much one reads."""
    content = bytes(range(40))
    path = tmp_path / "content"
    path.write_bytes(content)
    spans = [piece if isinstance(piece, bytes) else Span(min(piece), max(piece)) for piece in pieces]
    whole = b"".join(piece if isinstance(piece, bytes) else content[piece.start : piece.end] for piece in spans)
    with path.open("rb") as file:
        spliced = Spliced(file, spans)
        for whence, base in ((0, 0), (2, len(whole))):
            at = data.draw(st.integers(0, len(whole) + 5))
            assert spliced.seek(at - base, whence) == at
            assert spliced.tell() == at
            found = b"".join(itertools.takewhile(bool, iter(lambda: spliced.read(4), None)))
            assert found == whole[at:]
