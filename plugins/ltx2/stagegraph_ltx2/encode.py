"""Pixels and samples to latents, normalised, in fp32 on the CPU."""

from __future__ import annotations

import torch
from torch import Tensor

from stagegraph_ltx2.model.audio_vae import AudioVAE, pack
from stagegraph_ltx2.model.mel import log_mel
from stagegraph_ltx2.model.resample import resample
from stagegraph_ltx2.model.video_vae import VideoVAE
from stagegraph_ltx2.shapes import AUDIO_COMPRESSION, SAMPLE_RATE


@torch.inference_mode()
def encode_video(vae: VideoVAE, pixels: Tensor) -> Tensor:
    """Latents [b, c, f, h, w] of pixels [b, 3, 8 (f - 1) + 1, 32 h, 32 w] in [-1, 1]."""
    return vae.normalize(vae.encode(pixels.to(vae.latents_mean)).float()).cpu()


@torch.inference_mode()
def encode_audio(vae: AudioVAE, samples: Tensor, sample_rate: int) -> Tensor:
    """Tokens [b, t, c] of a waveform [b, 1 or 2, s]; of one channel, the same on both sides.

    Sound shorter than the first latent frame needs is filled up with silence.
    """
    x = resample(samples.float(), sample_rate, SAMPLE_RATE)
    x = x.expand(-1, 2, -1) if x.shape[1] == 1 else x
    least = 1024  # what a spectrogram takes to have a middle
    x = torch.nn.functional.pad(x, (0, max(0, least - x.shape[-1])))
    mel = log_mel(x, vae.config.mel_bins)
    frames = (mel.shape[2] - 1) // AUDIO_COMPRESSION * AUDIO_COMPRESSION + 1
    weight = next(vae.parameters())
    return vae.normalize(pack(vae.encode(mel[:, :, :frames].to(weight))).float()).cpu()
