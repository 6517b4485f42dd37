"""write_audio: what goes in comes out, or nothing is left behind."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stagegraph.errors import Cancelled, Fault
from stagegraph_media import audio
from stagegraph_media.audio import write_audio
from stagegraph_media.errors import EncoderMissingError, MediaError
from stagegraph_media.mp4 import AAC_RATES
from stagegraph_media.reading import probe, read_audio
from stagegraph_media.soundforms import Form
from stagegraph_media.values import Waveform

from .conftest import MakeSound

STEP = {16: 2.0**-15, 24: 2.0**-23}


@pytest.mark.parametrize(
    ("name", "bits", "codec"),
    [
        ("a.wav", None, "pcm_f32le"),
        ("a.wav", 32, "pcm_f32le"),
        ("a.wav", 24, "pcm_s24le"),
        ("a.wav", 16, "pcm_s16le"),
        ("a.FLAC", None, "flac"),
        ("a.flac", 16, "flac"),
        ("a.m4a", None, "aac"),
    ],
)
def test_the_name_and_the_bits_say_how(
    tmp_path: Path, make_sound: MakeSound, name: str, bits: int | None, codec: str
) -> None:
    """Floating point as it is, whole numbers to half a step; the length to the sample."""
    sound = make_sound(60_001)
    path = write_audio(tmp_path / name, sound, bits=bits)
    read = read_audio(path)
    assert probe(path).audio_codec == codec
    assert (read.sample_rate, read.samples.shape) == (sound.sample_rate, sound.samples.shape)
    error = np.abs(read.samples - sound.samples)
    if codec == "pcm_f32le":
        assert read == sound
    elif codec == "aac":
        assert error.mean() < 0.01
    else:
        assert error.max() <= STEP[16 if bits == 16 else 24] / 2


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    kind=st.sampled_from(
        [("a.wav", 32), ("a.wav", 24), ("a.wav", 16), ("a.flac", 24), ("a.flac", 16), ("a.m4a", None)]
    ),
    channels=st.integers(1, 8),
    samples=st.integers(1, 5000),
    rate=st.sampled_from([*AAC_RATES, 11_111]),
    seed=st.integers(0, 2**32 - 1),
)
def test_any_sound_comes_back(
    tmp_path: Path, kind: tuple[str, int | None], channels: int, samples: int, rate: int, seed: int
) -> None:
    """Noise too, up to full scale on both sides."""
    name, bits = kind
    if bits is None:
        channels, rate = min(channels, 2), min(AAC_RATES, key=lambda known: abs(known - rate))
    noise = np.random.default_rng(seed).uniform(-1, 1, (channels, samples)).astype(np.float32)
    noise[0, :2] = [1, -1][:samples]
    sound = Waveform(noise, rate)
    read = read_audio(write_audio(tmp_path / name, sound, bits=bits))
    assert (read.samples.shape, read.sample_rate) == (noise.shape, rate)
    if bits in STEP:
        np.testing.assert_allclose(read.samples, noise, rtol=0, atol=STEP[bits])
    elif bits == 32:
        assert read == sound


def test_what_is_beyond_full_scale_is_refused_or_cut_off(tmp_path: Path) -> None:
    """By whole numbers; floating point holds it."""
    sound = Waveform(np.array([[0.5, -1.25, 1.5]], np.float32), 24000)
    with pytest.raises(MediaError) as caught:
        write_audio(tmp_path / "a.flac", sound)
    assert str(caught.value) == (
        f"{tmp_path}/a.flac: error[media.invalid_output]: the sound goes up to 1.5\n"
        "  why: 24 bits hold what is in [-1, 1]\n"
        "  fix: write a .wav with 32 bits, make the sound quieter, or set clip to cut off what is beyond"
    )
    assert read_audio(write_audio(tmp_path / "a.wav", sound)) == sound
    for bits in (16, 24):
        clipped = read_audio(write_audio(tmp_path / "a.wav", sound, bits=bits, clip=True))
        np.testing.assert_array_equal(clipped.samples, np.array([[0.5, -1, 1 - STEP[bits]]], np.float32))


@pytest.mark.parametrize(
    ("name", "bits", "channels", "rate", "text"),
    [
        ("a.mp3", None, 1, 24000, 'media.unwritable]: path is "{}": must end in .wav, .flac or .m4a'),
        ("a.flac", 32, 1, 24000, "media.unwritable]: bits is 32: for .flac it must be 24 or 16"),
        ("a.wav", 8, 1, 24000, "media.unwritable]: bits is 8: for .wav it must be 32 or 24 or 16"),
        ("a.m4a", 16, 1, 24000, "media.unwritable]: bits is 16: for .m4a it must be left out, AAC has none"),
        (
            "a.flac",
            None,
            1,
            70_001,
            (
                "media.invalid_output]: the sample rate is 70001 Hz\n"
                "  why: FLAC has rates up to 65535 Hz, and multiples of 10 Hz up to 655350 Hz\n"
                "  fix: write a .wav"
            ),
        ),
        (
            "a.wav",
            None,
            8,
            2**28,
            (
                "media.invalid_output]: the sample rate is 268435456 Hz\n"
                "  why: the header of a WAV file has 32 bits for the bytes of a second"
            ),
        ),
        (
            "a.m4a",
            None,
            3,
            23_999,
            (
                "media.invalid_output]: the sound has 3 channels\n"
                "  why: mono and stereo are written; for more channels the waveform does not say which is which\n"
                "  fix: mix it down to 2 channels\n"
                "{}: error[media.invalid_output]: the sample rate is 23999 Hz\n"
                f"  why: AAC has {', '.join(map(str, AAC_RATES))}\n"
                "  fix: resample to 24000 Hz"
            ),
        ),
    ],
)
def test_what_a_file_cannot_hold_is_refused(
    tmp_path: Path, name: str, bits: int | None, channels: int, rate: int, text: str
) -> None:
    """By name, depth, channels and rate; nothing is left behind."""
    target = tmp_path / name
    with pytest.raises(MediaError) as caught:
        write_audio(target, Waveform(np.zeros((channels, 10), np.float32), rate), bits=bits)
    assert str(caught.value) == f"{target}: error[{text.format(target)}"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("rate", [65_535, 655_350, 254_000, 44_100])
def test_flac_has_the_rates_that_are_not_refused(tmp_path: Path, make_sound: MakeSound, rate: int) -> None:
    """At the edges."""
    sound = make_sound(100, rate)
    assert read_audio(write_audio(tmp_path / "a.flac", sound)).sample_rate == rate


def test_a_directory_is_not_replaced(tmp_path: Path, make_sound: MakeSound) -> None:
    """Even if its name ends in .wav."""
    (tmp_path / "a.wav").mkdir()
    with pytest.raises(MediaError) as caught:
        write_audio(tmp_path / "a.wav", make_sound())
    assert str(caught.value) == f"{tmp_path}/a.wav: error[media.unwritable]: the path is a directory"


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.m4a"])
@pytest.mark.parametrize("earlier", [None, b"what was there"])
def test_a_failure_leaves_what_was_there(
    tmp_path: Path, make_sound: MakeSound, name: str, earlier: bytes | None
) -> None:
    """Cancelled in the middle: the earlier file if there was one, and no temporary file."""
    if earlier is not None:
        (tmp_path / name).write_bytes(earlier)
    calls: list[tuple[int, int]] = []

    def cancel(done: int, total: int) -> None:
        calls.append((done, total))
        if done == 2:
            raise Cancelled(Fault("cancelled", "the run was cancelled"))

    with pytest.raises(Cancelled):
        write_audio(tmp_path / name, make_sound(24000 * 3 + 1), progress=cancel)
    assert calls == [(1, 4), (2, 4)]
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == ({name: earlier} if earlier else {})


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.m4a"])
def test_the_same_sound_gives_the_same_file(tmp_path: Path, make_sound: MakeSound, name: str) -> None:
    """No time stamp and no random identifier inside; an earlier file is replaced."""
    first = write_audio(tmp_path / name, make_sound()).read_bytes()
    assert write_audio(tmp_path / name, make_sound()).read_bytes() == first
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_missing_encoder_is_named(tmp_path: Path, make_sound: MakeSound, monkeypatch: pytest.MonkeyPatch) -> None:
    """As for videos."""
    form = Form("wav", "pcm_nothing", "s16", 16)
    monkeypatch.setattr(audio.soundforms, "form_of", lambda path, bits: form)
    with pytest.raises(EncoderMissingError, match='no encoder "pcm_nothing"'):
        write_audio(tmp_path / "a.wav", make_sound())
