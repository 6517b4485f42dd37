"""What video latents are here: the low frequencies of the picture, in 60 of their 128 channels.

An autoencoder that may choose finds latents that change altogether when a shape moves by some pixels, and a small
transformer cannot tell them from noise. These change little by little, and their strongest parts say where roughly a
shape is, so that a shape is found in noise as one is seen in a blurred picture. What is not among them, sharp edges,
the decoder knows how to add.
"""

from __future__ import annotations

import math
from functools import cache

import torch
from torch import Tensor

#: Of a colour's coefficients in a block of 8 x 32 x 32 pixels, those that are kept: how many half waves in time, from
#: top to bottom and from left to right, and the root of their mean square over clips of 192 x 128 pixels.
COEFFICIENTS = (
    (0, 0, 0, 0.6840),
    (0, 1, 0, 0.0965),
    (0, 0, 1, 0.0955),
    (0, 1, 1, 0.0505),
    (0, 0, 2, 0.0423),
    (0, 2, 0, 0.0413),
    (1, 0, 0, 0.0305),
    (0, 1, 2, 0.0305),
    (0, 2, 1, 0.0283),
    (1, 1, 0, 0.0229),
    (0, 2, 2, 0.0217),
    (0, 0, 3, 0.0219),
    (0, 3, 0, 0.0230),
    (1, 0, 1, 0.0196),
    (0, 1, 3, 0.0198),
    (1, 1, 1, 0.0163),
    (0, 3, 1, 0.0171),
    (1, 2, 0, 0.0152),
    (0, 2, 3, 0.0159),
    (0, 3, 2, 0.0144),
)
USED = 3 * len(COEFFICIENTS)
CHANNELS = 128
BLOCK = (8, 32, 32)
LOUDNESS = 2.0
"""Deviation that the quietest coefficients get; more than that of noise, so that schedules made for larger pictures
decide early enough what is to be seen."""

LOUDEST = 3.0
"""Times as loud as the quietest are the loudest at most; in between, the root of what they are by nature."""


@cache
def _basis(device: torch.device) -> Tensor:
    """Patterns [k, 8 * 32 * 32] with which a block of pixels gives its latents."""
    least = min(size for *_, size in COEFFICIENTS)
    rows = []
    for *orders, size in COEFFICIENTS:
        waves = [_wave(order, length) for order, length in zip(orders, BLOCK, strict=True)]
        gain = LOUDNESS * min(math.sqrt(size / least), LOUDEST) / size
        rows.append(torch.einsum("t,h,w->thw", *waves).flatten() * (gain / math.prod(BLOCK) ** 0.5))
    return torch.stack(rows).to(device)


def _wave(order: int, length: int) -> Tensor:
    places = (torch.arange(length) + 0.5) / length
    return torch.cos(math.pi * order * places) * math.sqrt((2 if order else 1) / length)


@cache
def flat(device: torch.device) -> Tensor:
    """Latents [20, 1, 1, 1] of a picture of ones, in every block."""
    return _basis(device).sum(1)[:, None, None, None]


def latents(pixels: Tensor) -> Tensor:
    """Latents [b, 20 c, k + 1, h, w] of pixels [b, c, 8k + 1, 32h, 32w] in [-1, 1]: the first frame as if it stood
    still.

    They are linear in the pixels. Those of three colours are normalised: mean 0 and deviation 1 in a checkpoint leave
    them as they are.
    """
    t, h, w = BLOCK
    whole = torch.cat((pixels[:, :, :1].expand(-1, -1, t - 1, -1, -1), pixels), 2)
    b, c, frames, height, width = whole.shape
    blocks = whole.reshape(b, c, frames // t, t, height // h, h, width // w, w).permute(0, 2, 4, 6, 1, 3, 5, 7)
    found = blocks.reshape(*blocks.shape[:5], -1).float() @ _basis(pixels.device).T
    return found.flatten(4).permute(0, 4, 1, 2, 3)


def mirrored(z: Tensor, axis: int) -> Tensor:
    """Latents of the mirrored pixels: from top to bottom for axis 1, from left to right for axis 2."""
    odd = torch.tensor([order[axis] % 2 for order in COEFFICIENTS], device=z.device)
    signs = (1 - 2 * odd).repeat(z.shape[1] // len(COEFFICIENTS))
    return z.flip(axis + 2) * signs[:, None, None, None]


def padded(z: Tensor, dim: int) -> Tensor:
    """All channels, of which the others are 0."""
    shape = list(z.shape)
    shape[dim] = CHANNELS - USED
    return torch.cat((z, z.new_zeros(shape)), dim)


@torch.no_grad()
def deafen(weight: Tensor, dim: int) -> None:
    """Take no notice of unused channels, or leave them at 0: what is given no signal never learns to."""
    weight.narrow(dim, USED, CHANNELS - USED).zero_()
