"""Training of the video VAE: it restores clips from their low frequencies, also from slightly noisy ones."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from stagegraph_ltx2.model.video_vae import VideoVAE

from .clips import render
from .loop import Task, tell
from .lowpass import USED, latents, padded
from .scenes import Scenes

NOISE = 0.3
"""Largest deviation of the noise in the latents that the decoder learns from."""

#: Frames, height and clips of a batch, and how often it is their turn.
SIZES = ((17, 128, 64, 3), (25, 128, 48, 2), (9, 256, 24, 1), (49, 128, 24, 1))


def loss(vae: VideoVAE) -> Callable[[Tensor], tuple[Tensor, Mapping[str, Tensor]]]:
    """The loss of pixels [b, 3, f, h, w] in [-1, 1], and of latents that are not what they should be."""

    def of(pixels: Tensor) -> tuple[Tensor, Mapping[str, Tensor]]:
        z = vae.encode(pixels).float()[:, :USED]
        off = (z - latents(pixels)).square().mean()
        level = NOISE * torch.rand(len(z), 1, 1, 1, 1, device=z.device)
        restored = vae.decode(padded(z + level * torch.randn_like(z), 1))
        error = restored.float() - pixels
        square = error.square().mean()
        return error.abs().mean() + 4 * square + 0.3 * off, {"psnr": decibels(square), "off": off}

    return of


def decibels(square: Tensor) -> Tensor:
    """PSNR of a mean square error of values in [-1, 1]."""
    return 10 * torch.log10(4 / square.clamp(min=1e-12))


def laid_out(module: nn.Module, form: torch.memory_format) -> None:
    """Bring the kernels of convolutions into an order in memory."""
    module.to(memory_format=form)  # type: ignore[call-overload]


def fastest_form(vae: VideoVAE, scenes: Scenes, size: tuple[int, int, int, int]) -> torch.memory_format:
    """The order of elements in memory with which a step takes least time here."""
    times: dict[torch.memory_format, float] = {}
    for form in (torch.channels_last_3d, torch.contiguous_format):
        laid_out(vae, form)
        task = tasks(vae, scenes, [size], form)[0]
        for repeat in range(3):
            torch.cuda.synchronize()
            start = time.monotonic()
            with torch.autocast("cuda", torch.bfloat16):
                total, _ = task.loss(*task.batch())
            torch.autograd.backward(total)
            torch.cuda.synchronize()
            times[form] = time.monotonic() - start
            if repeat and times[form] > 2:
                break
    vae.zero_grad()
    torch.cuda.empty_cache()
    tell({str(form): round(seconds, 4) for form, seconds in times.items()})
    return min(times, key=lambda form: times[form])


def tasks(
    vae: VideoVAE,
    scenes: Scenes,
    sizes: Sequence[tuple[int, int, int, int]] = SIZES,
    form: torch.memory_format = torch.contiguous_format,
) -> list[Task]:
    """Steps over clips of several sizes, drawn again and again from some scenes on the device of the VAE."""

    def batch(frames: int, height: int, count: int) -> list[Tensor]:
        rows = torch.randint(len(scenes), (count,), device=scenes.seam.device)
        pixels: Tensor = render(scenes[rows], frames, height)
        return [pixels.contiguous(memory_format=form)]

    return [
        Task(f"{frames}x{height}", lambda f=frames, h=height, n=count: batch(f, h, n), loss(vae), share)  # type: ignore[misc]
        for frames, height, count, share in sizes
    ]


@torch.no_grad()
def evaluate(vae: VideoVAE, scenes: Scenes, *, frames: int, height: int) -> dict[str, float]:
    """PSNR of held-out clips, mean and least, and how far latents are from what they should be."""
    values, off = [], []
    for start in range(0, len(scenes), 16):
        pixels = render(scenes[start : start + 16], frames, height)
        z = vae.encode(pixels).float()
        off.append((z[:, :USED] - latents(pixels)).square().mean())
        restored = vae.decode(z).float().clamp(-1, 1)
        values.append(decibels((restored - pixels).square().flatten(1).mean(1)))
    psnr = torch.cat(values)
    return {
        "mean": round(float(psnr.mean()), 2),
        "least": round(float(psnr.min()), 2),
        "off": round(float(torch.stack(off).mean().sqrt()), 3),
    }


def modules(vae: VideoVAE) -> nn.ModuleDict:
    """As it is kept in a state."""
    return nn.ModuleDict({"vae": vae})
