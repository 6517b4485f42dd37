"""What a clip shows and sounds like, found out from its pixels and samples."""

from __future__ import annotations

import math
from functools import cache

import attrs
import numpy as np
from numpy.typing import NDArray

from . import world
from .world import BOUNCING, CORNERS, DOWN, GROWING, LEFT, NAMES, RIGHT, STAR_WAIST, TURNING, UP

Pixels = NDArray[np.uint8]
Samples = NDArray[np.float32]

STILL = 0.035
"""Heights that something has to move to have moved."""

TEMPLATE = 48
"""Pixels of the side of the patches that outlines are compared in."""


@attrs.frozen
class Seen:
    """What is seen of one shape.

    Attributes:
        colour: of `world.NAMES`.
        kind: of `world.KINDS`.
        motion: of `world.MOTIONS`, or "none".
        track: [f, 2], x and y of its centre in heights; nan where it is not seen.
        area: [f], in square heights.
    """

    colour: str
    kind: str
    motion: str
    track: NDArray[np.float64]
    area: NDArray[np.float64]


def background(frames: Pixels) -> str:
    """The colour that most pixels [f, h, w, 3] are nearest to."""
    names = nearest(frames[:: max(1, len(frames) // 5)])
    return NAMES[int(np.bincount(names.ravel(), minlength=len(NAMES)).argmax())]


def nearest(pixels: Pixels) -> NDArray[np.int64]:
    """For each pixel [..., 3], the index of the named colour that it is nearest to."""
    distance = ((pixels[..., None, :].astype(np.float32) - world.RGB) ** 2).sum(-1)
    return np.asarray(distance.argmin(-1))


def look(frames: Pixels, ground: str | None = None, *, most: int = 2) -> list[Seen]:
    """The shapes in frames [f, h, w, 3], the largest first, by their colours.

    Args:
        frames: of a clip.
        ground: colour of the background, if it is known.
        most: how many shapes are looked for.
    """
    ground = ground or background(frames)
    colours = world.RGB - world.RGB[NAMES.index(ground)]
    offset = frames.astype(np.float32) - world.RGB[NAMES.index(ground)]
    # A pixel at a soft edge is a mixture: it counts as the colour, and as far, that explains it best.
    length = (colours**2).sum(1)
    share = np.clip(offset @ colours.T / np.maximum(length, 1), 0, 1)
    share[..., length == 0] = 0
    left = (offset**2).sum(-1)[..., None] - 2 * share * (offset @ colours.T) + share**2 * length
    best = left.argmin(-1)
    cover = np.take_along_axis(share, best[..., None], -1)[..., 0]
    cover[(offset**2).sum(-1) < 30**2] = 0
    height = frames.shape[1]
    weight = [float((cover * (best == i) * (cover > 0.6)).sum()) / len(frames) / height**2 for i in range(len(NAMES))]
    order = [i for i in np.argsort(weight)[::-1] if weight[i] > 0.008 and NAMES[i] != ground][:most]
    return [_follow(NAMES[i], np.where(best == i, cover, 0)) for i in order]


def _follow(colour: str, cover: NDArray[np.float32]) -> Seen:
    frames, height, width = cover.shape
    total = cover.sum((1, 2))
    rows, columns = (np.arange(size) + 0.5 for size in (height, width))
    with np.errstate(invalid="ignore", divide="ignore"):
        x = (cover.sum(1) @ columns) / total / height
        y = (cover.sum(2) @ rows) / total / height
    area = total / height**2
    gone = area < 0.003
    track = np.where(gone[:, None], np.nan, np.stack((x, y), 1))
    chosen = [f for f in np.linspace(0, frames - 1, 5).round().astype(int) if not gone[f]]
    fits = np.array([_fits(cover[f], track[f] * height, area[f] * height**2) for f in chosen])
    kind = int(fits[:, :, 0].mean(0).argmax()) if len(chosen) else 0
    return Seen(colour, world.KINDS[kind], _motion(cover, track, area, kind), track, area)


def _motion(cover: NDArray[np.float32], track: NDArray[np.float64], area: NDArray[np.float64], kind: int) -> str:
    seen = np.flatnonzero(~np.isnan(track[:, 0]))
    if len(seen) < 4:
        return "none"
    # Where another shape hides part of it, the centre of the rest is not its own.
    seen = seen[area[seen] > 0.6 * min(area[seen[:2]].mean(), area[seen[-2:]].mean())]
    x, y, size = track[seen, 0], track[seen, 1], area[seen]
    steps = np.diff(_smooth(y))
    down, up = steps[steps > 0].sum(), -steps[steps < 0].sum()
    if min(down, up) > STILL and max(down, up) > 1.5 * STILL:
        return world.MOTIONS[BOUNCING]
    dx, dy = x[-2:].mean() - x[:2].mean(), y[-2:].mean() - y[:2].mean()
    grown = math.sqrt(max(size[-2:].mean(), 1e-9) / max(size[:2].mean(), 1e-9)) - 1
    # In the time that a shape takes to grow by a fifth, the others travel further than this.
    if grown > 0.12 and grown * 0.25 > max(abs(dx), abs(dy)):
        return world.MOTIONS[GROWING]
    if max(abs(dx), abs(dy)) > STILL:
        return world.MOTIONS[(RIGHT if dx > 0 else LEFT) if abs(dx) > abs(dy) else (DOWN if dy > 0 else UP)]
    if kind and _turned(cover, track, area, kind, seen) > 0.35:
        return world.MOTIONS[TURNING]
    return world.MOTIONS[GROWING] if grown > 0.12 else "none"


def _turned(
    cover: NDArray[np.float32],
    track: NDArray[np.float64],
    area: NDArray[np.float64],
    kind: int,
    seen: NDArray[np.int64],
) -> float:
    """Radians clockwise, from one frame to the next modulo the symmetry of the shape."""
    height = cover.shape[1]
    sector = 2 * math.pi / CORNERS[kind]
    angles = np.array(
        [_fits(cover[f], track[f] * height, area[f] * height**2)[kind, 1] for f in seen[:: max(1, len(seen) // 24)]]
    )
    steps = np.diff(angles)
    return float((steps - sector * np.round(steps / sector)).sum())


def _smooth(values: NDArray[np.float64]) -> NDArray[np.float64]:
    padded = np.pad(values, 1, mode="edge")
    return (padded[:-2] + padded[1:-1] + padded[2:]) / 3


def _fits(cover: NDArray[np.float32], centre: NDArray[np.float64], area: float) -> NDArray[np.float64]:
    """For each kind of shape, how well it fits at its best angle, and that angle: [4, 2]."""
    side = math.sqrt(area) * 2.2
    grid = (np.arange(TEMPLATE) + 0.5) / TEMPLATE * side - side / 2
    patch = _sampled(cover, centre[1] + grid, centre[0] + grid)
    found = np.zeros((len(world.KINDS), 2))
    for kind in range(len(world.KINDS)):
        angles, outlines = _outlines(kind)
        # Intersection over union of soft masks.
        both = np.minimum(outlines, patch).sum((1, 2))
        either = np.maximum(outlines, patch).sum((1, 2))
        scores = both / np.maximum(either, 1e-6)
        best = int(scores.argmax())
        found[kind] = scores[best], angles[best]
    return found


def _sampled(
    cover: NDArray[np.float32], rows: NDArray[np.float64], columns: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Bilinear samples of a mask, 0 outside."""
    padded = np.pad(cover, 2)
    r, c = (np.clip(v + 1.5, 0, size - 2) for v, size in ((rows, padded.shape[0]), (columns, padded.shape[1])))
    r0, c0 = r.astype(int), c.astype(int)
    fr, fc = (r - r0)[:, None], (c - c0)[None]
    a, b = padded[np.ix_(r0, c0)], padded[np.ix_(r0, c0 + 1)]
    d, e = padded[np.ix_(r0 + 1, c0)], padded[np.ix_(r0 + 1, c0 + 1)]
    return np.asarray((a * (1 - fc) + b * fc) * (1 - fr) + (d * (1 - fc) + e * fc) * fr)


@cache
def _outlines(kind: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Outlines of one area at several angles, as masks [angles, side, side] about their centre of mass."""
    corners = int(CORNERS[kind])
    steps = 1 if corners == 0 else 24
    angles = np.arange(steps) / steps * (2 * math.pi / max(corners, 1))
    extent = {
        0: math.sqrt(1 / math.pi),
        4: math.sqrt(1 / 2),
        3: math.sqrt(1 / (3 * math.sqrt(3) / 4)),
        5: math.sqrt(1 / (5 * STAR_WAIST * math.sin(math.pi / 5))),
    }[corners]
    grid = ((np.arange(TEMPLATE) + 0.5) / TEMPLATE - 0.5) * 2.2
    from .clips import _outside

    across, down = grid[None, None, :], grid[None, :, None]
    distance = _outside(across, down, np.float32(corners), np.float64(extent), angles[:, None, None])
    masks = np.clip(0.5 - distance * TEMPLATE / 2.2, 0, 1)
    return np.asarray(angles, np.float64), np.broadcast_to(masks.astype(np.float64), (steps, TEMPLATE, TEMPLATE))


def has_pitch(samples: Samples, rate: int, hertz: float, *, share: float = 0.2) -> bool:
    """Whether a tone within half a semitone either way of a pitch is among the loudest of a sound [2, s]."""
    power, frequencies = _spectrum(samples, rate)
    peak = tone(power, frequencies, hertz * 2 ** (-1.5 / 12), hertz * 2 ** (1.5 / 12))
    heard = frequencies < 1.5 * float(world.PITCHES.max())
    return abs(12 * math.log2(peak[0] / hertz)) <= 1.0 and peak[1] >= share**2 * power[heard].max()


def pitch(samples: Samples, rate: int) -> float:
    """Hz of the loudest tone of a sound [2, s]."""
    power, frequencies = _spectrum(samples, rate)
    return tone(power, frequencies, 200, 1.5 * float(world.PITCHES.max()))[0]


def _spectrum(samples: Samples, rate: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    window = np.hanning(samples.shape[1])
    power = (np.abs(np.fft.rfft(samples * window)) ** 2).sum(0)
    return power.astype(np.float64), np.fft.rfftfreq(samples.shape[1], 1 / rate).astype(np.float64)


def tone(power: NDArray[np.float64], frequencies: NDArray[np.float64], low: float, high: float) -> tuple[float, float]:
    """Hz and power of the loudest frequency between two."""
    inside = np.flatnonzero((frequencies >= low) & (frequencies <= high))
    best = int(inside[power[inside].argmax()])
    return float(frequencies[best]), float(power[best])


def sides(samples: Samples, rate: int, hertz: float, windows: int = 16) -> NDArray[np.float64]:
    """Where a tone comes from, in windows one after the other: 0 is left, 1 is right."""
    length = samples.shape[1] // windows
    parts = samples[:, : length * windows].reshape(2, windows, length) * np.hanning(length)
    wave = np.exp(-2j * math.pi * hertz / rate * np.arange(length))
    left, right = np.abs(parts @ wave)
    return np.asarray(np.arctan2(right, np.maximum(left, 1e-9)) / (math.pi / 2))
