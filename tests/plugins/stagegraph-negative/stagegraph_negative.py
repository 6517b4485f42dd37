"""A plugin of one stage."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import stagegraph as sg
from stagegraph_media import Frames


@sg.stage("negative.invert", version=1)
class Invert:
    """Turn every colour into its opposite."""

    amount: float = sg.param(default=1.0, ge=0, le=1, help="1 inverts, 0 leaves the frames unchanged.")

    def run(self, frames: Frames) -> Frames:
        """Invert."""
        import numpy as np

        pixels = frames.pixels + self.amount * (255.0 - 2.0 * frames.pixels)
        return Frames(pixels.round().astype(np.uint8), frames.frame_rate)


@sg.hookimpl
def stagegraph_stages() -> Iterable[Any]:
    """The stage."""
    return [Invert]
