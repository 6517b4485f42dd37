"""Sound belongs to what is seen: it comes from where the shape is, and clicks where it hits a wall."""

from __future__ import annotations

import attrs
import numpy as np
import pytest
from numpy.typing import NDArray

import stagegraph as sg
from ltx2_training import world
from ltx2_training.measure import look, sides
from ltx2_training.scenes import Scenes, draw
from ltx2_training.sentences import sentence

from .clips import RATE, Clip, drawn, least, make, shipped, told

FRAMES = 49
APART = 2
"""Frames by which a click is heard from where a wall is seen to be hit."""

HEARD = 0.7
"""Share of clips whose clicks are where they should be; it is no floor that training was for, but far from chance."""


def _scenes() -> Scenes:
    """Two that travel to each side, and four that bounce; of circles, whose tones have no partials near the click."""
    scenes = draw(101, 1500, pairs=0.0, held_out=True)
    motion, fast = scenes.motion[:, 0], scenes.speed[:, 0] == 2
    quiet = (scenes.kind[:, 0] == 0) & (world.PITCHES[scenes.colour[:, 0]] < 1000)
    rows = [np.flatnonzero(quiet & fast & (motion == which))[:2] for which in (world.LEFT, world.RIGHT)]
    return scenes[np.concatenate([*rows, np.flatnonzero(quiet & (motion == world.BOUNCING))[:4]])]


SCENES = _scenes()
TRAVEL, BOUNCE = range(4), range(4, 8)


def follows(clip: Clip, row: int) -> bool:
    """Whether the tone goes to the side to which the shape is seen to go, as far."""
    colour, _, _, ground = told(SCENES, row)
    seen = [one for one in look(clip.pixels, ground, most=1) if one.colour == colour]
    if not seen or np.isnan(seen[0].track).any():
        return False
    heard = sides(clip.samples, RATE, float(world.PITCHES[world.NAMES.index(colour)]))
    x = seen[0].track[:, 0] / world.ASPECT
    gone, moved = heard[-3:].mean() - heard[:3].mean(), x[-6:].mean() - x[:6].mean()
    return bool(0.5 < gone / moved < 1.5)


def clicks(clip: Clip) -> NDArray[np.float64]:
    """The frames [k] at which clicks are heard: short, and far above what else sounds at their pitch."""
    window, hop = RATE // 100, RATE // 200
    parts = np.lib.stride_tricks.sliding_window_view(clip.samples, window, axis=1)[:, ::hop] * np.hanning(window)
    wave = np.exp(-2j * np.pi * world.CLICK_HERTZ / RATE * np.arange(window))
    loud = (np.abs(parts @ wave) ** 2).sum(0)
    over = loud > max(16 * float(np.median(loud)), 0.2 * float(loud.max()))
    begins = np.flatnonzero(over & ~np.concatenate([[False], over[:-1]]))
    return begins * hop / RATE * 24 + 0.5 * window / RATE * 24


def clicks_where_it_bounces(clip: Clip, row: int) -> bool:
    """Whether there is a click for each wall that the shape is seen to hit, within the clip, and hardly another."""
    found = look(clip.pixels, told(SCENES, row)[3], most=1)
    if not found:
        return False
    way = np.sign(np.diff(found[0].track[:, 1]))
    walls = np.flatnonzero(way[1:] * way[:-1] < 0) + 1.0
    walls = walls[(walls > 2) & (walls < len(clip.pixels) - 3)]
    heard = clicks(clip)
    near = [bool((np.abs(heard - wall) <= APART).any()) for wall in walls]
    return len(walls) > 0 and all(near) and len(heard) <= len(walls) + 1


@pytest.fixture(scope="module")
def clips(pool: sg.Pool) -> list[Clip]:
    """What `micro` makes of the sentences."""
    graph = shipped("ltx2/text-to-video", frames=FRAMES)
    return [make(graph, pool, prompt=sentence(SCENES, row, 5), seed=row) for row in range(len(SCENES))]


def test_drawn_clips_pass_and_others_do_not() -> None:
    """Sound with its sides exchanged follows nothing; sound that comes late clicks elsewhere."""
    clips = [drawn(SCENES, row, FRAMES) for row in range(len(SCENES))]
    assert all(follows(clips[row], row) for row in TRAVEL)
    assert not any(follows(attrs.evolve(clips[row], samples=clips[row].samples[::-1]), row) for row in TRAVEL)
    assert all(clicks_where_it_bounces(clips[row], row) for row in BOUNCE)
    late = [attrs.evolve(clip, samples=np.roll(clip.samples, 5 * RATE // 24, 1)) for clip in clips]
    assert not any(clicks_where_it_bounces(late[row], row) for row in BOUNCE)
    assert not any(clicks_where_it_bounces(attrs.evolve(clips[row], samples=clips[0].samples), row) for row in BOUNCE)


@pytest.mark.slow
def test_a_tone_goes_where_its_shape_goes(clips: list[Clip]) -> None:
    """From one side to the other."""
    found = [follows(clips[row], row) for row in TRAVEL]
    assert sum(found) >= least(len(found), HEARD), found


@pytest.mark.slow
def test_it_clicks_where_a_wall_is_hit(clips: list[Clip]) -> None:
    """Within two frames of where that is seen."""
    found = [clicks_where_it_bounces(clips[row], row) for row in BOUNCE]
    assert sum(found) >= least(len(found), HEARD), (found, [clicks(clips[row]).tolist() for row in BOUNCE])
