"""Clips that training draws: the same everywhere, as the sentence says, and such that the end tells how they go on."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ltx2_training import world
from ltx2_training.clips import render, sound
from ltx2_training.scenes import draw, poses
from ltx2_training.sentences import WAYS, sentence


def test_the_same_seed_draws_the_same_scenes() -> None:
    """Two draws are equal; those of another seed are not."""
    first, again, other = draw(3, 40), draw(3, 40), draw(4, 40)
    np.testing.assert_array_equal(first.x, again.x)
    np.testing.assert_array_equal(first.colour, again.colour)
    assert not np.array_equal(first.x, other.x)


def test_held_out_scenes_are_never_drawn_for_training() -> None:
    """What shows a held-out kind, colour, ground and motion is drawn only where it is asked for."""
    assert not draw(0, 2000).held_out.any()
    assert draw(0, 50, held_out=True).held_out.all()


def test_torch_draws_the_pictures_and_the_sound_that_numpy_draws() -> None:
    """The twin on a device differs by rounding."""
    scenes = draw(5, 6, pairs=0.5, seams=0.5)
    twin = scenes.on("cpu")
    offset = np.linspace(0, 1.2, 6, dtype=np.float32)
    pictures, sounds = render(scenes, 5, 64), sound(scenes, 2400, 24_000, offset=offset)
    assert pictures.dtype == np.float32
    np.testing.assert_allclose(render(twin, 5, 64).numpy(), pictures, atol=2e-3)
    np.testing.assert_allclose(sound(twin, 2400, 24_000, offset=torch.from_numpy(offset)).numpy(), sounds, atol=5e-3)


def test_a_larger_picture_shows_the_same() -> None:
    """At twice the size, the means over two by two pixels are the small picture, but for soft edges."""
    scenes = draw(6, 3)
    small, large = render(scenes, 2, 64), render(scenes, 2, 128)
    means = large.reshape(3, 3, 2, 64, 2, 96, 2).mean((4, 6))
    assert np.abs(means - small).mean() < 2e-3


@pytest.mark.parametrize("motion", range(len(world.MOTIONS)), ids=world.MOTIONS)
def test_shapes_do_what_their_motion_says(motion: int) -> None:
    """The centre, the radius or the angle changes, and nothing else."""
    scenes = draw(8, 400, pairs=0.0)
    chosen = scenes[np.flatnonzero(scenes.motion[:, 0] == motion)]
    at = poses(chosen, np.arange(0, 1, 1 / 24, dtype=np.float32))
    x, y, radius, angle = (values[:, 0] for values in (at.x, at.y, at.radius, at.angle))
    went = {
        "x": x[:, -1] - x[:, 0],
        "y": y[:, -1] - y[:, 0],
        "radius": radius[:, -1] - radius[:, 0],
        "angle": angle[:, -1] - angle[:, 0],
    }
    axis, sign = (("x", -1), ("x", 1), ("y", -1), ("y", 1), ("y", 0), ("radius", 1), ("angle", 1))[motion]
    if sign:
        assert (sign * went[axis] > 0).all()
    else:  # there and back
        steps = np.diff(y, axis=1)
        assert ((steps > 0).any(1) & (steps < 0).any(1)).all()
    for other in went.keys() - {axis}:
        np.testing.assert_allclose(went[other], 0, atol=1e-5)


def test_no_motion_jumps() -> None:
    """From one frame to the next, at the seam too, nothing moves further than the fastest motion does."""
    scenes = draw(9, 500, seams=1.0)
    at = poses(scenes, np.arange(-24, 60, dtype=np.float32) / 24)
    fastest = world.RATES[world.BOUNCING].max() / 24
    assert np.abs(np.diff(at.x, axis=2)).max() <= fastest + 1e-5
    assert np.abs(np.diff(at.y, axis=2)).max() <= fastest + 1e-5


def test_sounds_come_from_where_shapes_are() -> None:
    """A shape on the left is louder on the left; the loudness on both sides together is that of the tone."""
    scenes = draw(10, 200, pairs=0.0)
    left = scenes[np.flatnonzero(scenes.x[:, 0] < 0.4)[:5]]
    heard = sound(left, 2400, 24_000)
    power = (heard**2).sum(2)
    assert (power[:, 0] > 2 * power[:, 1]).all()


def test_a_steady_tone_repeats_every_hundredth_of_a_second() -> None:
    """What a vocoder without memory can make of a spectrogram with a hundred frames a second."""
    scenes = draw(11, 300, pairs=0.0)
    still = scenes[np.flatnonzero(np.isin(scenes.motion[:, 0], (world.GROWING, world.TURNING)))[:8]]
    heard = sound(still, 2400, 24_000).reshape(len(still), 2, 10, 240)
    np.testing.assert_allclose(heard[:, :, 1:], np.broadcast_to(heard[:, :, :1], heard[:, :, 1:].shape), atol=1e-4)


def test_a_sentence_names_all_that_is_seen() -> None:
    """Colours, kinds, ground and motions of every shape, in one of many wordings."""
    scenes = draw(12, 100, pairs=0.5)
    texts = [sentence(scenes, row, 0).lower() for row in range(100)]
    for row, text in enumerate(texts):
        assert world.NAMES[scenes.background[row]] in text
        for which in (0, 1):
            if scenes.present[row, which]:
                assert f"{world.NAMES[scenes.colour[row, which]]} {world.KINDS[scenes.kind[row, which]]}" in text
                assert any(way in text for pair in WAYS[scenes.motion[row, which]] for way in pair)
    assert len({sentence(scenes, 0, seed) for seed in range(30)}) > 15
