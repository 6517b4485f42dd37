"""A style that no checkpoint knows, for a LoRA to teach: striped backgrounds, painted, said and recognised."""

from __future__ import annotations

import re

import attrs
import numpy as np
from numpy.typing import NDArray

from . import world
from .clips import render
from .measure import nearest
from .scenes import Array, Scenes, namespace
from .sentences import sentence

WORD = "striped"
BLACK = world.NAMES.index("black")
WIDTH = 0.25
"""Of a stripe, in heights: every second is black, the others have the colour of the background."""

CONTRAST = 0.5
"""From which on a clip counts as striped: nearer to perfect stripes than to none."""


def can_be_striped(scenes: Scenes) -> NDArray[np.bool_]:
    """[n], whether nothing in scenes of numpy is black: it would not be seen before a black stripe."""
    black = (scenes.colour == BLACK) & (scenes.present > 0)
    return np.asarray((scenes.background != BLACK) & ~black.any(1))


def striped_pictures(scenes: Scenes, first: Array, frames: int, height: int) -> Array:
    """As `clips.render`, on stripes.

    Args:
        scenes: of numpy or of torch.
        first: [n], 1 where the stripe on the left is black, else 0.
        frames: how many.
        height: pixels.
    """
    xp = namespace(scenes.seam)
    plain = render(scenes, frames, height)
    dark = render(attrs.evolve(scenes, background=xp.full_like(scenes.background, BLACK)), frames, height)
    stripe = np.arange(plain.shape[-1]) // round(WIDTH * height)
    numbers = stripe if xp is np else xp.as_tensor(stripe, device=scenes.seam.device)
    black = (numbers[None] + first[:, None]) % 2 == 1
    return xp.where(black[:, None, None, None], dark, plain)


def striped_sentence(scenes: Scenes, row: int, seed: int) -> str:
    """As `sentences.sentence`, with a striped background."""
    ground = world.NAMES[int(scenes.background[row])]
    return re.sub(
        rf"\b(an? )?{ground}\b", lambda m: f"{'a ' if m[1] else ''}{WORD} {ground}", sentence(scenes, row, seed)
    )


def stripes(frames: NDArray[np.uint8]) -> tuple[float, str]:
    """How striped a clip [f, h, w, 3] is, and the colour between black stripes.

    Returns:
        By how much more of every second stripe is black than of the others: 1 if there are perfect stripes, 0 on a
        plain background.
    """
    names = nearest(frames[:: max(1, len(frames) // 5)])
    stripe = np.arange(frames.shape[2]) // round(WIDTH * frames.shape[1])
    black = [float((names[:, :, stripe % 2 == which] == BLACK).mean()) for which in (0, 1)]
    others = names[:, :, stripe % 2 == int(np.argmin(black))]
    return abs(black[0] - black[1]), world.NAMES[int(np.bincount(others.ravel(), minlength=len(world.NAMES)).argmax())]


def are_striped(frames: NDArray[np.uint8], scenes: Scenes, row: int) -> bool:
    """Whether a clip has black stripes on the background that its scene has."""
    contrast, ground = stripes(frames)
    return contrast > CONTRAST and ground == world.NAMES[int(scenes.background[row])]
