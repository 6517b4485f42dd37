"""Clips that are drawn, which show and sound like what is said, and the shipped graphs over `micro`, which shall."""

from __future__ import annotations

import math
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

import stagegraph as sg
from ltx2_training import world
from ltx2_training.clips import render, sound
from ltx2_training.scenes import Scenes
from stagegraph import manifest
from stagegraph.builder import find
from stagegraph.plugins import default_registry

Pixels = NDArray[np.uint8]
Samples = NDArray[np.float32]

RATE = 24_000
"""Samples a second."""

RISK = 0.01
"""How likely a sample says of a checkpoint that is as good as it should be that it is not."""


@attrs.frozen(eq=False)
class Clip:
    """Frames [f, h, w, 3] and their sound [2, s]."""

    pixels: Pixels = attrs.field(repr=False)
    samples: Samples = attrs.field(repr=False)

    def then(self, other: Clip) -> Clip:
        """Both, one after the other."""
        return Clip(np.concatenate([self.pixels, other.pixels]), np.concatenate([self.samples, other.samples], axis=1))


def drawn(scenes: Scenes, row: int, frames: int, height: int = 128) -> Clip:
    """What a scene of numpy shows and sounds like."""
    one = scenes[row : row + 1]
    pictures = ((render(one, frames, height)[0].transpose(1, 2, 3, 0) + 1) * 127.5).round().clip(0, 255)
    return Clip(pictures.astype(np.uint8), sound(one, frames * RATE // 24, RATE)[0].astype(np.float32))


def told(scenes: Scenes, row: int) -> tuple[str, str, str, str]:
    """Colour, kind and motion of a scene's first shape, and its background."""
    return (
        world.NAMES[int(scenes.colour[row, 0])],
        world.KINDS[int(scenes.kind[row, 0])],
        world.MOTIONS[int(scenes.motion[row, 0])],
        world.NAMES[int(scenes.background[row])],
    )


def shipped(
    name: str, *, frames: int = 25, latents: str = "latents", model: str = "micro", **settings: Any
) -> sg.Graph:
    """A shipped graph over a checkpoint, on the CPU, at the size that it was trained at.

    Args:
        name: of the graph.
        frames: of a clip.
        latents: the node that has the size.
        model: its checkpoint.
        settings: others, with "__" for ".".
    """
    size = {"height": 128, "width": 192, "num_frames": frames, "frame_rate": 24.0}
    values = {"model.path": model, "model.device": "cpu", **{f"{latents}.{key}": value for key, value in size.items()}}
    values |= {key.replace("__", "."): value for key, value in settings.items()}
    return sg.Graph.from_manifest(manifest.override(find(name, default_registry()), values))


def make(graph: sg.Graph, pool: sg.Pool, **inputs: Any) -> Clip:
    """The clip that a graph makes, before it is written."""
    run = graph.run(inputs, outputs=["frames.output", "sound.output"], pool=pool)
    return Clip(run["frames.output"].pixels, run["sound.output"].samples)


def least(count: int, share: float) -> int:
    """So many of `count` are right, or more, if each is right with a probability of `share`; but for a small risk."""
    below = 0.0
    for right in range(count + 1):
        below += math.comb(count, right) * share**right * (1 - share) ** (count - right)
        if below > RISK:
            return right
    return count


def psnr(made: Pixels, wanted: Pixels) -> float:
    """In dB, of bytes."""
    square = float(((made.astype(np.float64) - wanted) ** 2).mean())
    return 10 * math.log10(255**2 / max(square, 1e-9))
