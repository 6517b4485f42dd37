"""Training of the latent upsampler: latents of a clip to those of the same clip at twice the size."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from stagegraph_ltx2.model.latent_upsampler import LatentUpsampler
from stagegraph_ltx2.model.video_vae import VideoVAE
from stagegraph_ltx2.shapes import latent_frames

from . import world
from .clips import covers, render
from .loop import Task
from .lowpass import USED, flat, latents, mirrored, padded
from .scenes import Scenes
from .video import decibels

CLIPS = 2048
"""That are drawn."""

LENGTHS = (17, 25, 33, 49)
"""Frames; of one length alone, it learns what is where in that length, and fails in others."""

PAIRS = 0.25
"""Share of clips with two shapes."""

OFF = 0.3
"""Deviation of what is wrong with latents of a base pass, about."""


def loss(upsampler: LatentUpsampler) -> Callable[..., tuple[Tensor, Mapping[str, Tensor]]]:
    """The loss of small and large latents."""

    def of(small: Tensor, large: Tensor) -> tuple[Tensor, Mapping[str, Tensor]]:
        made = upsampler(padded(small, 1))
        error = made[:, :USED].float() - large
        square = error.square().mean()
        return error.abs().mean() + square, {"square": square}

    return of


def tasks(
    upsampler: LatentUpsampler,
    scenes: Scenes,
    *,
    lengths: Sequence[int] = LENGTHS,
    height: int = 128,
    count: int = 32,
) -> list[Task]:
    """Steps over pairs of latents, of shapes that are drawn once and seen mirrored, in all colours, alone or in pairs.

    Latents are linear in the pixels: those of a clip follow from those of what its shapes cover.
    """
    scenes = scenes[:CLIPS]
    device = scenes.seam.device
    shapes = [covered(scenes, max(lengths), size) for size in (height, 2 * height)]
    palette = torch.from_numpy(world.PALETTE).to(device)

    def batch(frames: int) -> Sequence[Tensor]:
        rows = torch.randint(len(scenes), (2, count), device=device)
        ways = [axis for axis in (1, 2) if torch.rand(()) < 0.5]
        ground, first, second = palette[torch.rand(count, len(palette), device=device).argsort(1)[:, :3]].unbind(1)
        two = torch.rand(count, 1, device=device) < PAIRS
        colours = first - ground, (second - ground) * two
        seen = [z[:, :, : latent_frames(frames)] for z in shapes]
        small, large = (clips(ground, colours, [_turned(z[some], ways) for some in rows]) for z in seen)
        # The base pass gives latents that are a little off.
        return [small + OFF * torch.randn_like(small), large]

    return [Task(f"{frames} frames", partial(batch, frames), loss(upsampler)) for frames in lengths]


def covered(scenes: Scenes, frames: int, height: int) -> Tensor:
    """Latents [n, 20, k, h, w] of what the first shape of each scene covers."""
    chunk = 32 if scenes.seam.is_cuda else 1  # a CPU is fastest where little lies between two operations
    parts = (scenes[start : start + chunk] for start in range(0, len(scenes), chunk))
    return torch.cat([latents(covers(some, frames, height)) for some in parts])


def _turned(z: Tensor, ways: Sequence[int]) -> Tensor:
    for axis in ways:
        z = mirrored(z, axis)
    return z


def clips(ground: Tensor, colours: Sequence[Tensor], shapes: Sequence[Tensor]) -> Tensor:
    """Latents [b, 60, k, h, w] of clips.

    Args:
        ground: [b, 3].
        colours: [b, 3] of each shape, less the ground.
        shapes: [b, 20, k, h, w], what each covers.
    """
    made = _times(ground, flat(ground.device)[None])
    for colour, z in zip(colours, shapes, strict=True):
        made = made + _times(colour, z)
    return made.flatten(1, 2)


def _times(colour: Tensor, z: Tensor) -> Tensor:
    """Latents [b, 3, 20, k, h, w] of something in a colour [b, 3]."""
    return colour[..., None, None, None, None] * z[:, None]


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
