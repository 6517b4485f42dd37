"""Scenes drawn from a seed: what moves how, as arrays; closed forms of the time say where everything is."""

from __future__ import annotations

from functools import cache
from types import ModuleType
from typing import Any

import attrs
import numpy as np
import torch

from . import world
from .world import ASPECT, BOUNCING, GROWING, LARGEST, TURNING

OVERLAP_SECONDS = 8.5 / 24
"""When the frames end that a segment repeats of the one before: nine of them."""

JITTER = 0.04
"""How far from its place, at most, a shape of a composed scene is each way, in heights of the picture."""

Array = Any
"""Of numpy, or a tensor of torch."""


@attrs.frozen(eq=False)
class Scenes:
    """n scenes of up to two shapes each, as they are at the time `seam`; arrays [n, 2] but for two.

    What a shape does from the seam on is what the sentence says. Before, it may have done something else, which is what
    the segment before has shown.

    Attributes:
        present: 1 where there is a shape, else 0.
        kind: index of `world.KINDS`.
        colour: index of `world.NAMES`; two shapes have two colours.
        motion: index of `world.MOTIONS`.
        speed: index of `world.SPEEDS`.
        before: motion before the seam.
        x: of the centre, from the left.
        y: of the centre, from the top; of what bounces, how far it has come on its way from the top and back, in
            lengths of that way.
        radius: of the shape.
        angle: in radians.
        background: [n], index of `world.NAMES`, the colour of no shape.
        seam: [n], seconds.
    """

    present: Array
    kind: Array
    colour: Array
    motion: Array
    speed: Array
    before: Array
    x: Array
    y: Array
    radius: Array
    angle: Array
    background: Array
    seam: Array

    def __len__(self) -> int:
        return len(self.seam)

    def __getitem__(self, rows: Any) -> Scenes:
        return self.map(lambda values: values[rows])

    def map(self, function: Any) -> Scenes:
        """The scenes with a function applied to every array."""
        return Scenes(**{field.name: function(getattr(self, field.name)) for field in attrs.fields(Scenes)})

    def on(self, device: torch.device | str) -> Scenes:
        """As tensors on a device."""
        return self.map(lambda values: torch.as_tensor(values).to(device))

    @property
    def held_out(self) -> Array:
        """[n], whether nothing like the first shape is ever trained on."""
        mixed = self.kind[:, 0] + 5 * self.colour[:, 0] + 7 * self.background + 3 * self.motion[:, 0]
        return mixed % 11 == 0


@cache
def _rates(device: torch.device) -> torch.Tensor:
    return torch.from_numpy(world.RATES).to(device)


@attrs.frozen(eq=False)
class Poses:
    """Where shapes are at some times; arrays [n, 2, t].

    Attributes:
        x: of the centre, in heights from the left.
        y: from the top.
        radius: of the shape.
        angle: in radians.
        since: seconds since it last hit a wall; huge if it never did.
    """

    x: Array
    y: Array
    radius: Array
    angle: Array
    since: Array


def draw(
    seed: int,
    count: int,
    *,
    pairs: float = 0.25,
    seams: float = 0.0,
    composed: bool = False,
    held_out: bool = False,
) -> Scenes:
    """Draw scenes; the same seed gives the same.

    Args:
        seed: of the numbers.
        count: how many.
        pairs: share of scenes with two shapes.
        seams: share of scenes that do something else until about `OVERLAP_SECONDS`, which the segment before has shown.
        composed: as one would film what a sentence says, with ways that lead through the middle of the picture;
            otherwise shapes are anywhere.
        held_out: only scenes that are never trained on; otherwise only others.
    """
    rng = np.random.default_rng(seed)
    made: list[Scenes] = []
    have = 0
    while have < count:
        some = _draw(rng, 16 * count if held_out else 2 * count, pairs, seams, composed=composed)
        some = some[np.flatnonzero(some.held_out == held_out)]
        made.append(some)
        have += len(some)
    return Scenes(
        **{f.name: np.concatenate([getattr(part, f.name) for part in made])[:count] for f in attrs.fields(Scenes)}
    )


def _draw(rng: np.random.Generator, n: int, pairs: float, seams: float, *, composed: bool) -> Scenes:
    two = (n, 2)
    present = np.ones(two, np.float32)
    present[:, 1] = rng.random(n) < pairs
    # Three colours without repetition: those of both shapes and of the ground.
    colours = rng.random((n, len(world.NAMES))).argsort(1)
    kind: Array = rng.integers(0, len(world.KINDS), two)
    motion: Array = _motions(rng, kind)
    before: Array = _motions(rng, kind)
    speed = rng.integers(0, len(world.SPEEDS), two)
    has_seam = rng.random(n) < seams
    before = np.where((rng.random(n) < 0.5)[:, None] & has_seam[:, None], before, motion)
    seam = np.where(has_seam, OVERLAP_SECONDS + rng.uniform(0.0, 0.05, n), 0.0)
    # What bounces has a state that others have not: it bounces all the time.
    before = np.where((motion == BOUNCING) | (before == BOUNCING), motion, before)
    grows = (motion == GROWING) | (before == GROWING)
    radii = world.COMPOSED_RADII if composed else world.RADII
    radius = np.where(grows, rng.uniform(*world.GROWING_RADII, two), rng.uniform(*radii, two))
    x, y = (_composed if composed else _places)(rng, motion, speed, radius, present)
    if composed:
        angle = np.where(kind == 1, np.pi / 4, 0)  # level: by nature a square stands on a corner
    else:
        upright = np.where(motion == TURNING, rng.uniform(0, 6.28, two), 0)
        angle = np.where(rng.random(two) < 0.7, upright, rng.uniform(0, 6.28, two))
    return Scenes(
        present,
        kind,
        colours[:, :2],
        motion,
        speed,
        before,
        x.astype(np.float32),
        y.astype(np.float32),
        radius.astype(np.float32),
        angle.astype(np.float32),
        colours[:, 2],
        seam.astype(np.float32),
    )


def _motions(rng: np.random.Generator, kind: Array) -> Array:
    """Motions, each that can be seen of the kind of shape: circles do not turn."""
    motion = rng.integers(0, len(world.MOTIONS), kind.shape)
    return np.where((kind == 0) & (motion == TURNING), rng.integers(0, TURNING, kind.shape), motion)


def _places(
    rng: np.random.Generator, motion: Array, speed: Array, radius: Array, present: Array
) -> tuple[Array, Array]:
    """Centres from which most shapes reach no wall for two seconds; where there are two, one in each half."""
    reach = world.RATES[motion, speed] * rng.uniform(1.0, 2.1, motion.shape)
    room = np.where(motion == GROWING, np.minimum(radius + reach, LARGEST), radius) + 0.02
    low_x = np.where(motion == world.LEFT, reach, 0) + room
    high_x = ASPECT - np.where(motion == world.RIGHT, reach, 0) - room
    low_y = np.where(motion == world.UP, reach, 0) + room
    high_y = 1 - np.where(motion == world.DOWN, reach, 0) - room
    pair = present[:, 1] == 1
    swapped = rng.random(len(motion)) < 0.5
    middle = ASPECT / 2
    for column in (0, 1):
        right = pair & (swapped == (column == 0))
        left = pair & ~right
        low_x[:, column] = np.where(right, np.maximum(low_x[:, column], middle + 0.1), low_x[:, column])
        high_x[:, column] = np.where(left, np.minimum(high_x[:, column], middle - 0.1), high_x[:, column])
    x = _between(rng, low_x, high_x).clip(radius, ASPECT - radius)
    y = _between(rng, low_y, high_y).clip(radius, 1 - radius)
    # One bounce at least within the first second.
    way = 1 - 2 * radius
    ahead = world.RATES[motion, speed] * rng.uniform(0.15, 0.85, motion.shape) / way
    bounce = rng.integers(0, 2, motion.shape) + 1 - ahead
    return x, np.where(motion == BOUNCING, bounce, y)


def _composed(
    rng: np.random.Generator, motion: Array, speed: Array, radius: Array, present: Array
) -> tuple[Array, Array]:
    """Centres from which ways of two seconds lead through the middle; of two shapes each in its half, in order."""
    pair = present[:, 1:] == 1
    middle = ASPECT / 2
    centre = np.where(pair, np.array([middle / 2, 3 * middle / 2]), middle)
    half = world.RATES[motion, speed]
    off_x, off_y = rng.uniform(-JITTER, JITTER, (2, *motion.shape))
    x = centre + off_x + half * (1 * (motion == world.LEFT) - 1 * (motion == world.RIGHT))
    y = 0.5 + off_y + half * (1 * (motion == world.UP) - 1 * (motion == world.DOWN))
    least, most = np.where(pair, [0, middle], 0) + radius, np.where(pair, [middle, ASPECT], ASPECT) - radius
    # What bounces comes down from the middle of its way.
    return x.clip(least, most), np.where(motion == BOUNCING, 0.5 + off_y, y.clip(radius, 1 - radius))


def _between(rng: np.random.Generator, low: Array, high: Array) -> Array:
    """Uniform between two bounds, or their middle where they are crossed."""
    u = rng.random(low.shape)
    return np.where(low < high, low + u * (high - low), (low + high) / 2)


def namespace(values: Array) -> ModuleType:
    """numpy or torch, whichever an array is of: what is computed here is called alike in both."""
    return np if isinstance(values, np.ndarray) else torch


def poses(scenes: Scenes, times: Array) -> Poses:
    """Where everything is.

    Args:
        scenes: of numpy or of torch.
        times: [t] or [n, t], seconds; below 0 too.
    """
    xp, s = namespace(times), scenes
    tau = (times if times.ndim == 2 else times[None])[:, None] - s.seam[:, None, None]  # [n, 1, t]
    rates = world.RATES if xp is np else _rates(times.device)

    def going(motion: int) -> Array:
        """How far it has come by one motion, in units of its rate; negative before the seam."""
        speed = rates[motion][s.speed][..., None]
        after, earlier = (s.motion == motion)[..., None], (s.before == motion)[..., None]
        return speed * xp.where(tau >= 0, after * tau, earlier * tau)

    radius0 = s.radius[..., None]
    radius = xp.clip(radius0 + going(GROWING), 0.07, LARGEST)
    bounces = (s.motion == BOUNCING)[..., None]
    way = 1 - 2 * radius0
    come = s.y[..., None] + going(BOUNCING) / way
    x = s.x[..., None] + going(world.RIGHT) - going(world.LEFT)
    y = s.y[..., None] + going(world.DOWN) - going(world.UP)
    folded = radius0 + way * (1 - xp.abs(come - 2 * xp.floor(come / 2) - 1))
    x = xp.minimum(xp.maximum(x, radius), ASPECT - radius)
    y = xp.where(bounces, folded, xp.minimum(xp.maximum(y, radius), 1 - radius))
    angle = s.angle[..., None] + going(TURNING) + 0 * tau
    speed = rates[BOUNCING][s.speed][..., None]
    since = xp.where(bounces, (come - xp.floor(come)) * way / speed, 1e6)
    return Poses(x, y, radius + 0 * x, angle, since)
