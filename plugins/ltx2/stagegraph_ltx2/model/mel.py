"""Mel spectrograms: how loud each pitch is over time, as the audio VAE and the wideband vocoder read it."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..shapes import HOP_LENGTH, MEL_BINS, SAMPLE_RATE
from .layers import constant

WINDOW = 1024
"""Samples that one frame of the audio VAE's spectrogram looks at."""

QUIETEST = 1e-5
"""What is quieter counts as loud as this, for the logarithm."""

LINEAR_UP_TO = 1000.0
"""Hz up to which the mel scale is linear, at 3 mel for 200 Hz; beyond, 27 mel are a factor of 6.4."""


def mel_filters(bins: int, frequencies: int, highest: float) -> Tensor:
    """Triangles of equal area over overlapping bands that are equally wide in mel.

    Args:
        bins: How many bands.
        frequencies: How many frequencies a spectrum has, evenly from 0 Hz to the highest.
        highest: Hz.

    Returns:
        [bins, frequencies], fp32, on the CPU.
    """
    spectrum = torch.linspace(0, highest, frequencies, dtype=torch.float64, device="cpu")
    edges = _hertz(torch.linspace(0, _mel(highest), bins + 2, dtype=torch.float64, device="cpu"))
    low, middle, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    triangles = torch.minimum((spectrum - low) / (middle - low), (high - spectrum) / (high - middle))
    return (triangles.clamp(min=0) * 2 / (high - low)).float()


def _mel(hertz: float) -> float:
    if hertz < LINEAR_UP_TO:
        return hertz * 3 / 200
    return LINEAR_UP_TO * 3 / 200 + 27 * math.log(hertz / LINEAR_UP_TO) / math.log(6.4)


def _hertz(mel: Tensor) -> Tensor:
    beyond = (mel - LINEAR_UP_TO * 3 / 200) / 27
    return torch.where(beyond < 0, mel * 200 / 3, LINEAR_UP_TO * 6.4**beyond)


def log_mel(waveform: Tensor, bins: int = MEL_BINS) -> Tensor:
    """The spectrogram that the audio VAE encodes, 100 frames a second, computed in fp32.

    Args:
        waveform: [b, c, s] at 16 kHz, more than 512 samples.
        bins: Bands from 0 to 8 kHz.

    Returns:
        [b, c, 1 + s // 160, bins]: the natural logarithm of magnitudes.
    """
    x = waveform.float()
    if x.shape[-1] <= WINDOW // 2:
        raise ValueError(f"{x.shape[-1]} samples are too few for a spectrogram, which takes {WINDOW // 2 + 1}")
    hann = torch.hann_window(WINDOW, device=x.device)
    spectrum = torch.stft(x.flatten(0, 1), WINDOW, HOP_LENGTH, window=hann, pad_mode="reflect", return_complex=True)
    filters = mel_filters(bins, WINDOW // 2 + 1, SAMPLE_RATE / 2).to(x.device)
    mel = (filters @ spectrum.abs()).clamp(min=QUIETEST).log()
    return torch.unflatten(mel.mT, 0, x.shape[:2])


class STFT(nn.Module):
    """Short-time spectra as a convolution, none of which sees later samples; its bases come with the checkpoint."""

    forward_basis: Tensor
    inverse_basis: Tensor

    def __init__(self, window: int, hop: int) -> None:
        super().__init__()
        self.window = window
        self.hop = hop
        times = torch.arange(window, dtype=torch.float64, device="cpu") / window
        angles = 2 * torch.pi * torch.arange(window // 2 + 1, device="cpu")[:, None] * times
        basis = torch.cat((angles.cos(), -angles.sin())) * (torch.pi * times).sin().square()
        self.register_buffer("forward_basis", constant(basis.float()[:, None]))
        # Part of every checkpoint, and used by nothing.
        self.register_buffer("inverse_basis", torch.zeros(self.forward_basis.shape))

    def forward(self, x: Tensor) -> Tensor:
        """Magnitudes [b, window / 2 + 1, s / hop] of sound [b, s]."""
        spectrum = F.conv1d(F.pad(x[:, None], (self.window - self.hop, 0)), self.forward_basis, stride=self.hop)
        real, imaginary = spectrum.chunk(2, dim=1)
        return (real.square() + imaginary.square()).sqrt()


class LogMel(nn.Module):
    """The spectrogram that the wideband vocoder makes of its own sound."""

    mel_basis: Tensor

    def __init__(self, bins: int, window: int, hop: int, sample_rate: int) -> None:
        super().__init__()
        self.stft_fn = STFT(window, hop)
        self.register_buffer("mel_basis", constant(mel_filters(bins, window // 2 + 1, sample_rate / 2)))

    def forward(self, x: Tensor) -> Tensor:
        """Log-mel [b, c, s / hop, bins] of sound [b, c, s]."""
        mel = (self.mel_basis @ self.stft_fn(x.flatten(0, 1))).clamp(min=QUIETEST).log()
        return torch.unflatten(mel.mT, 0, x.shape[:2])
