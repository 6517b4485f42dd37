"""The spectrogram for the audio VAE is that of transformers' audio tools, which are written in numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers.audio_utils import mel_filter_bank, spectrogram, window_function

from stagegraph_ltx2.model.mel import log_mel, mel_filters

from ..random_weights import relative_error


@pytest.mark.parametrize(("bins", "frequencies", "rate"), [(64, 513, 16000), (64, 257, 16000), (20, 65, 1500)])
def test_filters(bins: int, frequencies: int, rate: int) -> None:
    """On the scale and with the areas that Slaney's toolbox has, also where the scale is linear throughout."""
    theirs = mel_filter_bank(frequencies, bins, 0, rate / 2, rate, norm="slaney", mel_scale="slaney")
    assert relative_error(mel_filters(bins, frequencies, rate / 2), torch.from_numpy(theirs.T).float()) < 5e-6


@pytest.mark.parametrize("samples", [513, 4000, 16037])
def test_spectrograms(samples: int) -> None:
    """From the shortest sound to one that does not fill its last frame; silence in it is bounded."""
    waveform = torch.randn(2, 2, samples, generator=torch.Generator().manual_seed(0))
    waveform[1, 1] *= 1e-9
    theirs = [
        spectrogram(
            channel.numpy(),
            window_function(1024, "hann", periodic=True),
            frame_length=1024,
            hop_length=160,
            power=1.0,
            center=True,
            pad_mode="reflect",
            mel_filters=mel_filter_bank(513, 64, 0, 8000, 16000, norm="slaney", mel_scale="slaney"),
            mel_floor=1e-5,
            log_mel="log",
        )
        for channel in waveform.flatten(0, 1)
    ]
    expected = torch.from_numpy(np.stack(theirs)).mT.reshape(2, 2, -1, 64).float()
    mel = log_mel(waveform)
    assert mel.shape == (2, 2, 1 + samples // 160, 64)
    assert relative_error(mel, expected) < 5e-6
    assert mel.min() == pytest.approx(np.log(1e-5))
