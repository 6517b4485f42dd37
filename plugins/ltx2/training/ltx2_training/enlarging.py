"""Training of the latent upsampler: latents of a clip to those of the same clip at twice the size."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from stagegraph_ltx2.model.latent_upsampler import LatentUpsampler
from stagegraph_ltx2.model.video_vae import VideoVAE

from .clips import render
from .loop import Task
from .lowpass import USED, latents, padded
from .scenes import Scenes
from .video import decibels


def loss(upsampler: LatentUpsampler) -> Callable[..., tuple[Tensor, Mapping[str, Tensor]]]:
    """The loss of small and large latents."""

    def of(small: Tensor, large: Tensor) -> tuple[Tensor, Mapping[str, Tensor]]:
        made = upsampler(padded(small, 1))
        error = made[:, :USED].float() - large
        square = error.square().mean()
        return error.abs().mean() + square, {"square": square}

    return of


def tasks(
    upsampler: LatentUpsampler, scenes: Scenes, *, frames: int = 17, height: int = 128, count: int = 32
) -> list[Task]:
    """Steps over pairs of latents, drawn as they are needed."""

    def batch() -> Sequence[Tensor]:
        some = scenes[torch.randint(len(scenes), (count,), device=scenes.seam.device)]
        small, large = (latents(render(some, frames, size)) for size in (height, 2 * height))
        # The base pass gives latents that are a little off.
        return [small + 0.2 * torch.randn_like(small), large]

    return [Task("upsampling", batch, loss(upsampler))]


@torch.no_grad()
def evaluate(
    upsampler: LatentUpsampler, vae: VideoVAE, scenes: Scenes, *, frames: int, height: int
) -> dict[str, float]:
    """PSNR of held-out clips at twice the size, upsampled as latents and, to compare, as pictures."""
    psnr, plain = [], []
    for start in range(0, len(scenes), 8):
        some = scenes[start : start + 8]
        wanted = render(some, frames, 2 * height)
        z = vae.encode(render(some, frames, height))
        made = vae.decode(upsampler(z)).float().clamp(-1, 1)
        small = vae.decode(z).float().clamp(-1, 1)
        stretched = torch.nn.functional.interpolate(small, scale_factor=(1.0, 2.0, 2.0), mode="trilinear")
        psnr.append(decibels((made - wanted).square().mean()))
        plain.append(decibels((stretched - wanted).square().mean()))
    return {
        "upsampled": round(float(torch.stack(psnr).mean()), 2),
        "stretched": round(float(torch.stack(plain).mean()), 2),
    }


def modules(upsampler: LatentUpsampler) -> nn.ModuleDict:
    """As it is kept in a state."""
    return nn.ModuleDict({"latent_upsampler": upsampler})
