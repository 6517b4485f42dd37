"""Training of the audio VAE and of the vocoder, which learns from what the VAE restores."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stagegraph_ltx2.model.audio_vae import AudioVAE, pack
from stagegraph_ltx2.model.mel import log_mel
from stagegraph_ltx2.shapes import AUDIO_COMPRESSION, HOP_LENGTH, SAMPLE_RATE, AudioShape

from .clips import sound
from .loop import Task
from .scenes import Scenes

NOISE = 0.15
SPREAD = 1e-3
PLAYED_RATE = 24_000
WINDOWS = (256, 1024, 2048)
LONGEST_OFFSET = 1.7
"""Seconds of sound before a picture, at most."""

FLOOR = 0.25


def heard(scenes: Scenes, latents: int, offset: Tensor) -> Tensor:
    """Log-mel spectrograms [n, 2, 4 latents - 3, 64] of scenes whose pictures begin `offset` seconds [n] later."""
    frames = AudioShape(latents).mel_frames
    waveform = sound(scenes, (frames - 1) * HOP_LENGTH + AUDIO_COMPRESSION * HOP_LENGTH, SAMPLE_RATE, offset=offset)
    return log_mel(waveform)[:, :, :frames]


def played(scenes: Scenes, latents: int, offset: Tensor) -> Tensor:
    """The same as waveforms [n, 2, s] that the vocoder is to make of them."""
    samples = AudioShape(latents).samples(PLAYED_RATE * HOP_LENGTH // SAMPLE_RATE)
    waveform: Tensor = sound(scenes, samples, PLAYED_RATE, offset=offset)
    return waveform


def loss(vae: AudioVAE, vocoder: nn.Module) -> Callable[[Tensor, Tensor], tuple[Tensor, Mapping[str, Tensor]]]:
    """The loss of spectrograms and waveforms."""

    def of(mel: Tensor, waveform: Tensor) -> tuple[Tensor, Mapping[str, Tensor]]:
        z = vae.encode(mel)
        restored = vae.decode(z + NOISE * torch.randn_like(z)).float()
        error = restored - mel
        size = z.float().square().mean()
        learned = error.abs().mean() + 0.25 * error.square().mean() + SPREAD * size
        half = len(mel) // 2
        # Half of what it hears is as it should be, half as the VAE will give it.
        played, told = _played_loss(vocoder, torch.cat((mel[:half], restored[half:].detach())), waveform)
        return learned + played, {"mel": error.abs().mean(), "size": size, **told}

    return of


def vocoder_loss(vae: AudioVAE, vocoder: nn.Module) -> Callable[[Tensor, Tensor], tuple[Tensor, Mapping[str, Tensor]]]:
    """The loss of waveforms alone, of what a VAE that stays as it is restores."""

    def of(mel: Tensor, waveform: Tensor) -> tuple[Tensor, Mapping[str, Tensor]]:
        with torch.no_grad():
            z = vae.encode(mel)
            restored = vae.decode(z + NOISE * torch.randn_like(z)).float()
        half = len(mel) // 2
        return _played_loss(vocoder, torch.cat((mel[:half], restored[half:])), waveform)

    return of


def _played_loss(vocoder: nn.Module, mel: Tensor, waveform: Tensor) -> tuple[Tensor, Mapping[str, Tensor]]:
    with torch.autocast("cuda", enabled=False):
        made = vocoder(mel.float())
        difference = (made - waveform).abs().mean()
        # With the difference of both sides, or the vocoder stays with one sound for both.
        spectral = _spectral(_with_difference(made), _with_difference(waveform))
    power = waveform.square().mean() / (made - waveform).square().mean().clamp(min=1e-12)
    snr = 10 * torch.log10(power)
    return 10 * difference + spectral, {"waveform": difference, "spectral": spectral, "snr": snr}


def _with_difference(waveform: Tensor) -> Tensor:
    return torch.cat((waveform, waveform[:, :1] - waveform[:, 1:]), 1)


def _spectral(made: Tensor, wanted: Tensor) -> Tensor:
    """How far short-time spectra are apart, for windows of several lengths."""
    total = torch.zeros((), device=made.device)
    for window in WINDOWS:
        hann = torch.hann_window(window, device=made.device)
        a, b = (
            torch.view_as_real(
                torch.stft(x.flatten(0, 1), window, window // 4, window=hann, return_complex=True, center=True)
            )
            for x in (made, wanted)
        )
        a, b = ((x.square().sum(-1) + 1e-7).sqrt() for x in (a, b))
        total = total + (a - b).abs().mean() / b.mean().clamp(min=1e-6) + 0.1 * (a.log() - b.log()).abs().mean()
    return total / len(WINDOWS)


def tasks(
    vae: AudioVAE,
    vocoder: nn.Module,
    scenes: Scenes,
    *,
    count: int = 96,
    latents: int = 26,
    vocoder_only: bool = False,
) -> list[Task]:
    """Steps over sounds, drawn again and again from some scenes."""

    def batch() -> Sequence[Tensor]:
        device = scenes.seam.device
        some = scenes[torch.randint(len(scenes), (count,), device=device)]
        # Whole hundredths: spectrograms of the same tone are then alike.
        offset = torch.randint(0, int(100 * LONGEST_OFFSET), (count,), device=device) / 100.0
        return [heard(some, latents, offset), played(some, latents, offset)]

    return [Task("sound", batch, (vocoder_loss if vocoder_only else loss)(vae, vocoder))]


@torch.no_grad()
def measure_statistics(vae: AudioVAE, scenes: Scenes, *, count: int = 512, latents: int = 40) -> None:
    """Set mean and deviation by which the transformer's tokens are normalised."""
    offset = torch.zeros(min(count, len(scenes)), device=scenes.seam.device)
    z = pack(vae.encode(heard(scenes[: len(offset)], latents, offset))).float()
    deviation, mean = torch.std_mean(z.flatten(0, 1), dim=0)
    vae.latents_mean.copy_(mean)
    vae.latents_std.copy_(deviation.clamp(min=FLOOR))


@torch.no_grad()
def evaluate(vae: AudioVAE, vocoder: nn.Module, scenes: Scenes, *, latents: int = 53) -> dict[str, float]:
    """How far spectrograms are from what they were, and waveforms from theirs, for held-out sounds."""
    offset = torch.zeros(len(scenes), device=scenes.seam.device)
    mel, waveform = heard(scenes, latents, offset), played(scenes, latents, offset)
    restored = vae.decode(vae.encode(mel)).float()
    made = vocoder(restored)
    power = waveform.square().mean() / (made - waveform).square().mean()
    again = log_mel(F.interpolate(made, scale_factor=SAMPLE_RATE / PLAYED_RATE, mode="linear", antialias=False))
    told = log_mel(F.interpolate(waveform, scale_factor=SAMPLE_RATE / PLAYED_RATE, mode="linear", antialias=False))
    return {
        "mel_error": round(float((restored - mel).abs().mean()), 4),
        "vocoder_snr_db": round(float(10 * torch.log10(power)), 2),
        "vocoder_mel_error": round(float((again - told).abs().mean()), 4),
    }


def modules(vae: AudioVAE, vocoder: nn.Module) -> nn.ModuleDict:
    """As they are kept in a state."""
    return nn.ModuleDict({"audio_vae": vae, "vocoder": vocoder})
