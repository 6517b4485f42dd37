"""Pixels and samples to latents, normalised, in fp32 on the CPU."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stagegraph_ltx2.model.audio_vae import AudioVAE, pack
from stagegraph_ltx2.model.mel import log_mel
from stagegraph_ltx2.model.resample import resample
from stagegraph_ltx2.model.video_vae import VideoVAE
from stagegraph_ltx2.pixels import Fit, fitted
from stagegraph_ltx2.shapes import AUDIO_COMPRESSION, SAMPLE_RATE
from stagegraph_ltx2.tiles import encoded_frames


@torch.inference_mode()
def encode_video(
    vae: VideoVAE,
    pixels: NDArray[np.uint8],
    height: int,
    width: int,
    fit: Fit = "crop",
    progress: Callable[[int, int], object] = lambda done, total: None,
) -> Tensor:
    """Encode frames, chunk by chunk, with the result of all at once.

    Args:
        vae: on the device where everything happens.
        pixels: uint8 [8 (f - 1) + 1, any, any, 3].
        height: of the video that is encoded, a multiple of 32.
        width: likewise.
        fit: how frames of another size come to it.
        progress: called before each chunk with (pixel frames that are read, all of them); what it raises ends it.

    Returns:
        Latents [1, c, f, height / 32, width / 32].
    """
    count, chunk = len(pixels), encoded_frames(height, width)

    def pieces() -> Iterator[Tensor]:
        begin = 0
        while begin < count:
            end = begin + chunk + (begin == 0)
            progress(begin, count)
            yield fitted(pixels[begin:end], height, width, fit).to(vae.latents_mean)
            begin = end

    if count <= chunk + 1:  # nothing need be kept for another chunk
        (whole,) = pieces()
        latents = [vae.encode(whole)]
    else:
        latents = list(vae.encode_chunks(pieces()))
    progress(count, count)
    return vae.normalize(torch.cat(latents, dim=2).float()).cpu()


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
