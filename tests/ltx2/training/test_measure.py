"""What is found out from pixels and samples is what was drawn."""

from __future__ import annotations

import numpy as np
import pytest

from ltx2_training.agreement import Agreement
from ltx2_training.clips import render, sound
from ltx2_training.scenes import Scenes, draw


def _agreement(scenes: Scenes, shown: Scenes, frames: int) -> dict[str, float]:
    pictures = ((render(shown, frames, 128).transpose(0, 2, 3, 4, 1) + 1) * 127.5).round().clip(0, 255)
    sounds = sound(shown, frames * 1000, 24_000).astype(np.float32)
    agreement = Agreement()
    for row in range(len(scenes)):
        agreement.add(scenes, row, pictures[row].astype(np.uint8), sounds[row], 24_000)
    return agreement.shares()


@pytest.mark.slow
@pytest.mark.parametrize(("frames", "count"), [(25, 50), (49, 20)])
def test_measurements_agree_with_what_was_drawn(frames: int, count: int) -> None:
    """At least 99 in 100 shapes, of one or two in a picture, are told right in every respect."""
    scenes = draw(21, count, pairs=0.3)
    shares = _agreement(scenes, scenes, frames)
    assert shares.pop("panning_error") < 0.03
    assert shares.keys() == {"background", "colour", "shape", "motion", "pitch"}
    assert min(shares.values()) >= 0.985, shares


def test_measurements_disagree_with_other_clips() -> None:
    """The sentences of other scenes are not fulfilled, beyond chance."""
    scenes = draw(22, 12, pairs=0.0)
    shares = _agreement(scenes, scenes[np.roll(np.arange(12), 5)], 9)
    assert max(shares["background"], shares["colour"], shares["motion"], shares["pitch"]) < 0.5
