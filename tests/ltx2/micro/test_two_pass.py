"""What a refine pass adds: outlines as sharp as drawn ones of that size, where an enlarged picture is blurred."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import stagegraph as sg
from ltx2_training import world
from ltx2_training.measure import look
from ltx2_training.scenes import Scenes, draw
from ltx2_training.sentences import sentence

from .clips import Pixels, drawn, least, shipped, told

FRAMES = 25

SHARPER = 0.8
"""Width of outlines, of those in enlarged pictures of the base pass, on average."""

SEEN = 0.95
"""Share of clips in which there is a shape of the colour."""


def width(pixels: Pixels, colour: str, ground: str) -> float:
    """Width in pixels of a shape's outline: where it is neither shape nor ground, by the length of the outline.

    That length is the sum of all gradients of the shape's cover, however blurred it is.
    """
    start = world.RGB[world.NAMES.index(ground)]
    way = world.RGB[world.NAMES.index(colour)] - start
    cover = np.clip((pixels.astype(np.float32) - start) @ way / (way @ way), 0, 1)
    # In steps of a pixel across rows and columns alike, of four pixels that meet.
    down, right = np.diff(cover, axis=1), np.diff(cover, axis=2)
    down, right = (down[:, :, 1:] + down[:, :, :-1]) / 2, (right[:, 1:] + right[:, :-1]) / 2
    length = float(np.hypot(down, right).sum())
    return float(((cover > 0.1) & (cover < 0.9)).sum()) / max(length, 1e-6)


def enlarged(pixels: Pixels) -> Pixels:
    """Twice as large, bicubic."""
    x = torch.from_numpy(pixels.copy()).permute(0, 3, 1, 2).float()
    made = torch.nn.functional.interpolate(x, scale_factor=2, mode="bicubic")
    return made.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).numpy()


def _scenes() -> Scenes:
    """Single shapes of which colour and ground are far apart."""
    scenes = draw(91, 400, pairs=0.0, held_out=True)
    colours = world.RGB[scenes.colour[:, 0]] - world.RGB[scenes.background]
    return scenes[np.flatnonzero(np.linalg.norm(colours, axis=1) > 200)[:4]]


SCENES = _scenes()


def test_widths_are_those_of_outlines() -> None:
    """About one pixel as it is drawn, whatever the shape; twice as wide if enlarged; no more where there are more."""
    scenes = draw(92, 40, pairs=0.0)
    for kind in range(len(world.KINDS)):
        row = int(np.flatnonzero(scenes.kind[:, 0] == kind)[0])
        colour, _, _, ground = told(scenes, row)
        large, small = (drawn(scenes, row, 3, height).pixels for height in (256, 128))
        sharp, blurred = width(large, colour, ground), width(enlarged(small), colour, ground)
        assert 0.6 < sharp < 1.2
        assert sharp < 0.6 * blurred
        assert width(np.concatenate([large, large], 2), colour, ground) == pytest.approx(sharp, rel=0.05)


@pytest.mark.slow
def test_outlines_are_sharper_than_of_an_enlarged_base_pass(pool: sg.Pool) -> None:
    """And nearer to those of a drawn clip of the size; what is shown is the same shape on the same ground."""
    one, two = shipped("ltx2/text-to-video", frames=FRAMES), shipped("ltx2/text-to-video-two-pass", frames=FRAMES)
    refined, larger, true = [], [], []
    for row in range(len(SCENES)):
        colour, _, _, ground = told(SCENES, row)
        run = two.run(outputs=["base.video", "frames.output"], pool=pool, prompt=sentence(SCENES, row, 5), seed=row)
        given = {"denoise.video": run["base.video"]}
        small = one.run(outputs=["frames.output"], pool=pool, prompt="", given=given)["frames.output"].pixels
        large = run["frames.output"].pixels
        assert large.shape == (FRAMES, 256, 384, 3)
        seen = [look(pixels[::6], ground, most=1) for pixels in (small, large)]
        if [shapes[0].colour for shapes in seen if shapes] != [colour] * 2:
            continue
        refined.append(width(large, colour, ground))
        larger.append(width(enlarged(small), colour, ground))
        true.append(width(drawn(SCENES, row, FRAMES, 256).pixels, colour, ground))
    assert len(true) >= least(len(SCENES), SEEN)
    blurred, sharp, drawn_width = (float(np.mean(values)) for values in (larger, refined, true))
    assert sharp <= SHARPER * blurred, (refined, larger, true)
    assert abs(sharp - drawn_width) < abs(blurred - drawn_width)
