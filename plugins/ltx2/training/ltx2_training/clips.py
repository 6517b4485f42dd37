"""Scenes as pictures and as sound, the same by numpy on the CPU and by torch on a GPU."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

import numpy as np
import torch

from . import world
from .scenes import Array, Scenes, namespace, poses
from .world import ASPECT, STAR_WAIST


def frame_times(scenes: Scenes, frames: int, frame_rate: float = 24.0) -> Array:
    """Seconds of frames [t], of the kind and on the device of the scenes."""
    if isinstance(scenes.seam, np.ndarray):
        return np.arange(frames, dtype=np.float32) / frame_rate
    return torch.arange(frames, dtype=torch.float32, device=scenes.seam.device) / frame_rate


def render(
    scenes: Scenes, frames: int, height: int, *, frame_rate: float = 24.0, painter: Callable[..., Array] | None = None
) -> Array:
    """Pictures [n, 3, frames, height, width] in [-1, 1], fp32, with soft edges one pixel wide.

    Args:
        scenes: of numpy or of torch.
        frames: how many.
        height: pixels; the width follows.
        frame_rate: frames a second.
        painter: `paint`, perhaps compiled.
    """
    at = poses(scenes, frame_times(scenes, frames, frame_rate))
    colours = _constant("colours", scenes)
    columns, lines = ((_arange(size, scenes) + 0.5) / height for size in (round(height * ASPECT), height))
    return (painter or paint)(
        colours[scenes.background],
        colours[scenes.colour],
        scenes.present,
        _constant("corners", scenes)[scenes.kind],
        _constant("reach", scenes)[scenes.kind][..., None] * at.radius,
        (at.x, at.y, at.angle),
        columns,
        lines,
    )


def covers(scenes: Scenes, frames: int, height: int) -> Array:
    """How much of each pixel, 0 to 1, the first shape covers: [n, 1, frames, height, width]."""
    first = scenes.map(lambda values: values[:, :1] if values.ndim == 2 else values)
    return render(first, frames, height, painter=_paint_ones)


def _paint_ones(ground: Array, colours: Array, *rest: Array) -> Array:
    return paint(0 * ground[:, :1], 0 * colours[..., :1] + 1, *rest)


def paint(
    ground: Array,
    colours: Array,
    present: Array,
    corners: Array,
    outer: Array,
    at: tuple[Array, Array, Array],
    columns: Array,
    lines: Array,
) -> Array:
    """Pictures [n, c, t, h, w] of s shapes, the later in front of the earlier.

    Args:
        ground: [n, c], colour.
        colours: [n, s, c], of the shapes.
        present: [n, s].
        corners: [n, s], how many; 0 of a circle.
        outer: [n, s, t], distance of the corners from the centre.
        at: x, y and angle [n, s, t].
        columns: [w], where the middles of pixels are.
        lines: [h].
    """
    xp = namespace(ground)
    picture = ground[:, :, None, None, None]
    for which in range(present.shape[1]):
        x, y, angle = (values[:, which, :, None, None] for values in at)
        # [n, t, h, w], as seen from the centre
        across = columns - x
        down = lines[:, None] - y
        of = corners[:, which, None, None, None]
        distance = _outside(across, down, of, outer[:, which, :, None, None], angle)
        cover = xp.clip(0.5 - distance * len(lines), 0, 1) * present[:, which, None, None, None]
        colour = colours[:, which, :, None, None, None]
        picture = picture + (colour - picture) * cover[:, None]
    return picture


def _outside(across: Array, down: Array, corners: Array, outer: Array, angle: Array) -> Array:
    """How far points are outside of a shape, negative inside; of a star or a polygon, from the nearest of its lines.

    Points are folded into the sector between a corner and the middle between two corners, where the outline is one
    straight line.
    """
    xp = namespace(across)
    reach = xp.hypot(across, down)
    sector = 2 * math.pi / xp.clip(corners, 3.0, 5.0)
    # The first corner points up.
    turned = xp.arctan2(across + 0 * down, -down + 0 * across) - angle
    folded = xp.abs(turned - sector * xp.round(turned / sector))
    along, aside = reach * xp.cos(folded), reach * xp.sin(folded)
    # From the corner (outer, 0) to the inner corner of a star, or to the middle of a polygon's side.
    half = sector / 2
    waist = xp.where(corners == 5, STAR_WAIST + 0 * half, xp.cos(half))
    end_along, end_aside = waist * xp.cos(half) - 1, waist * xp.sin(half)
    straight = (end_aside * (along - outer) - end_along * aside) / xp.hypot(end_along, end_aside)
    return xp.where(corners == 0, reach - outer, straight)


def sound(scenes: Scenes, samples: int, rate: int, *, offset: Array | float = 0.0) -> Array:
    """Stereo sound [n, 2, samples], fp32.

    Each shape sounds at the pitch of its colour, with the partials of its kind, from where it is; hitting a wall
    clicks. Tones begin with the sound, not with the picture.

    Args:
        scenes: of numpy or of torch.
        samples: how many.
        rate: of them, in Hz.
        offset: seconds by which the picture begins after the sound, one number or [n].
    """
    xp = namespace(scenes.seam)
    count = _arange(samples, scenes, whole=True)
    times = count / np.float32(rate) if xp is np else count / rate
    times = times - (offset if isinstance(offset, float) else offset[:, None])
    at = poses(scenes, times)
    pitch = _constant("pitches", scenes)[scenes.colour][..., None]
    partials = _constant("partials", scenes)[scenes.kind]
    tone = 0.0
    for number in (1, 2, 3):
        phase = (count * pitch * number) % rate  # whole numbers: exact however long the sound
        loudness = 1.0 if number == 1 else partials[..., number - 2, None]
        tone = tone + loudness * xp.sin(phase * (2 * math.pi / rate))
    late = xp.clip(at.since, 0, 1)
    click = xp.exp(-late / world.CLICK_SECONDS) * xp.sin(2 * math.pi * world.CLICK_HERTZ * late)
    heard = (world.LOUDNESS * tone + world.CLICK_LOUDNESS * click) * scenes.present[..., None]
    side = xp.clip(at.x / ASPECT, 0, 1) * (math.pi / 2)
    both = xp.stack(((heard * xp.cos(side)).sum(1), (heard * xp.sin(side)).sum(1)))
    return xp.swapaxes(both, 0, 1)


_TABLES = {
    "colours": world.PALETTE,
    "corners": world.CORNERS,
    "reach": world.REACH,
    "pitches": world.PITCHES,
    "partials": world.PARTIALS,
}


def _constant(name: str, scenes: Scenes) -> Array:
    return _TABLES[name] if isinstance(scenes.seam, np.ndarray) else _tensor(name, scenes.seam.device)


@cache
def _tensor(name: str, device: torch.device) -> Array:
    """A table on a device, sent there once."""
    return torch.as_tensor(_TABLES[name]).to(device)


def _arange(count: int, scenes: Scenes, *, whole: bool = False) -> Array:
    if isinstance(scenes.seam, np.ndarray):
        return np.arange(count, dtype=np.int64 if whole else np.float32)
    return torch.arange(count, dtype=torch.int64 if whole else torch.float32, device=scenes.seam.device)
