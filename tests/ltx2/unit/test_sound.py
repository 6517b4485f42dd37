"""What holds for resampling and for spectrograms, whatever the sound."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stagegraph_ltx2.model.audio_vae import AudioVAE
from stagegraph_ltx2.model.mel import STFT, log_mel
from stagegraph_ltx2.model.resample import resample

from ..small import RELEASED


def tone(hertz: float, rate: int, samples: int) -> torch.Tensor:
    return (2 * math.pi * hertz * torch.arange(samples, dtype=torch.float64) / rate).sin().float()[None, None]


@settings(deadline=None, derandomize=True)
@given(
    st.integers(4_000, 200_000),
    st.integers(4_000, 200_000),
    st.floats(0.02, 0.6),
)
def test_a_tone_keeps_its_pitch_and_its_loudness(rate: int, new_rate: int, pitch: float) -> None:
    """At any two rates, also such that have no common divisor, well below the highest pitch that both can hold."""
    hertz = pitch * min(rate, new_rate) / 2
    samples = math.ceil(40 * max(1, rate / new_rate))
    got = resample(tone(hertz, rate, samples), rate, new_rate)
    assert got.shape == (1, 1, math.ceil(samples * new_rate / rate))
    edge = math.ceil(8 * max(1, new_rate / rate))  # where the silence beyond the ends is heard
    assert torch.allclose(got[..., edge:-edge], tone(hertz, new_rate, got.shape[-1])[..., edge:-edge], atol=0.02)


def test_what_the_new_rate_cannot_hold_is_gone() -> None:
    """A tone of 10 kHz would alias to 6 kHz at a rate of 16 kHz."""
    got = resample(tone(10_000, 48_000, 4_800), 48_000, 16_000)
    assert got[..., 50:-50].abs().max() < 0.02


def test_a_rate_stays_as_it_is() -> None:
    """The same tensor, not a copy."""
    x = torch.randn(1, 2, 10)
    assert resample(x, 48_000, 48_000) is x


def test_a_second_of_sound_makes_25_latent_frames() -> None:
    """The audio VAE sees 101 mel frames, the first of which has a latent frame of its own."""
    config = RELEASED["2.3"]["audio_vae"]
    mel = log_mel(torch.randn(1, 2, 16_000))
    assert mel.shape == (1, 2, 101, config.mel_bins)
    with torch.device("meta"):
        vae = AudioVAE(config)
    assert vae.encode(mel.to("meta")).shape == (1, 8, 26, 16)


def test_too_little_sound_is_refused() -> None:
    """The window reaches half its length beyond the ends, where the sound is mirrored."""
    with pytest.raises(ValueError) as caught:
        log_mel(torch.zeros(1, 2, 512))
    assert str(caught.value) == "512 samples are too few for a spectrogram, which takes 513"


def test_short_time_spectra_start_from_a_windowed_fourier_transform() -> None:
    """A network without a checkpoint has the bases that a checkpoint brings, and sees no later samples."""
    x = torch.randn(2, 64)
    got = STFT(16, 4)(x)
    padded = torch.nn.functional.pad(x, (12, 0)).unfold(1, 16, 4)
    expected = torch.fft.rfft(padded * torch.hann_window(16)).abs()
    assert torch.allclose(got.mT, expected, atol=1e-5)
