"""Whether clips show and sound like what their prompts say, counted."""

from __future__ import annotations

from collections import Counter

import attrs
import numpy as np
from numpy.typing import NDArray

from . import world
from .measure import background, has_pitch, look, sides
from .scenes import Scenes
from .world import ASPECT


@attrs.define(eq=False)
class Agreement:
    """Counts of what is right, and of what was looked at; of shapes, not of clips."""

    right: Counter[str] = attrs.field(factory=Counter)
    all: Counter[str] = attrs.field(factory=Counter)
    panning: list[float] = attrs.field(factory=list)

    def add(self, scenes: Scenes, row: int, frames: NDArray[np.uint8], samples: NDArray[np.float32], rate: int) -> None:
        """Look at the clip that a scene's sentence became.

        Args:
            scenes: of which one was said.
            row: which.
            frames: [f, h, w, 3].
            samples: [2, s].
            rate: of them, in Hz.
        """
        ground = world.NAMES[int(scenes.background[row])]
        self._count("background", background(frames) == ground)
        wanted = [which for which in (0, 1) if scenes.present[row, which]]
        found = {seen.colour: seen for seen in look(frames, most=len(wanted))}
        for which in wanted:
            colour = int(scenes.colour[row, which])
            seen = found.get(world.NAMES[colour])
            self._count("colour", seen is not None)
            kind, motion = (int(getattr(scenes, name)[row, which]) for name in ("kind", "motion"))
            self._count("shape", seen is not None and seen.kind == world.KINDS[kind])
            self._count("motion", seen is not None and seen.motion == world.MOTIONS[motion])
            self._count("pitch", has_pitch(samples, rate, float(world.PITCHES[colour])))
            if len(wanted) == 1 and seen is not None:
                self.panning.append(_apart(seen.track[:, 0] / ASPECT, samples, rate, float(world.PITCHES[colour])))

    def join(self, other: Agreement) -> None:
        """Add what was counted elsewhere."""
        self.right.update(other.right)
        self.all.update(other.all)
        self.panning += other.panning

    def shares(self) -> dict[str, float]:
        """What share of each was right, and how far sounds were from where the picture has them, 0 to 1."""
        shares = {name: round(self.right[name] / count, 4) for name, count in self.all.items()}
        if self.panning:
            shares["panning_error"] = round(float(np.mean(self.panning)), 4)
        return shares

    def _count(self, name: str, right: bool) -> None:
        self.all[name] += 1
        self.right[name] += bool(right)


def _apart(track: NDArray[np.float64], samples: NDArray[np.float32], rate: int, hertz: float) -> float:
    """Mean distance between where a shape is seen and where it is heard, in widths of the picture."""
    heard = sides(samples, rate, hertz)
    at = (np.arange(len(heard)) + 0.5) / len(heard) * (len(track) - 1)
    seen = np.interp(at, np.arange(len(track)), np.nan_to_num(track, nan=0.5))
    return float(np.abs(heard - seen).mean())
