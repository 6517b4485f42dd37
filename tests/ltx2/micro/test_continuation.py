"""What the next segment of a session goes on with: shape, colour, velocity and tone, over the seam."""

from __future__ import annotations

import math

import attrs
import numpy as np
import pytest
from numpy.typing import NDArray

import stagegraph as sg
from ltx2_training import world
from ltx2_training.measure import look, pitch
from ltx2_training.scenes import Scenes, draw, poses
from ltx2_training.sentences import sentence

from .clips import RATE, Clip, drawn, shipped, told

SEGMENT, OVERLAP = 49, 9
NEAR = 12
"""Frames on each side of the seam that velocities are of."""

JUMP = 2.0
"""Pixels, on average, that a shape is beside where its motion would have it in the first new frame."""

TURN = 0.5
"""Of a velocity, that it changes by, in the middle of all."""

QUIETEST, LOUDEST = 0.5, 2.0
"""Loudness at the seam, of that around it."""


@attrs.frozen
class Seam:
    """What is seen and heard where two segments meet.

    Attributes:
        colours: of the shape, before and after.
        kinds: likewise.
        jump: pixels by which the first new frame is beside what the frames before it lead to.
        turn: change of velocity, of the velocity before.
        pitches: Hz, before and after.
        loudness: least and most in short windows at the seam, of what is usual beside it.
    """

    colours: tuple[str, str]
    kinds: tuple[str, str]
    jump: float
    turn: float
    pitches: tuple[float, float]
    loudness: tuple[float, float]


def seam(clip: Clip, at: int, ground: str) -> Seam | None:
    """Look at a seam before the frame `at`; None if there is no shape on one of its sides."""
    parts = [look(clip.pixels[frames], ground, most=1) for frames in (slice(at - NEAR, at), slice(at, at + NEAR))]
    if not all(parts):
        return None
    before, after = (found[0] for found in parts)
    ahead, velocity = _line(before.track)
    _, velocity_after = _line(after.track)
    jump = np.linalg.norm(after.track[0] - ahead) * clip.pixels.shape[1]
    slowest = 0.05 / 24  # half of what any shape does that travels
    turn = np.linalg.norm(velocity_after - velocity) / max(np.linalg.norm(velocity), slowest)
    middle = at * RATE // 24
    pitches = [
        pitch(clip.samples[:, part], RATE) for part in (slice(middle - 6000, middle), slice(middle, middle + 6000))
    ]
    return Seam(
        (before.colour, after.colour),
        (before.kind, after.kind),
        float(jump),
        float(turn),
        (pitches[0], pitches[1]),
        _loudness(clip, middle),
    )


def _line(track: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Where a track [f, 2] leads in the frame after it, and its velocity a frame, by the line that fits best."""
    slope, start = np.polynomial.polynomial.polyfit(np.arange(len(track)), np.nan_to_num(track), 1)[::-1]
    return start + slope * len(track), slope


def _loudness(clip: Clip, middle: int) -> tuple[float, float]:
    """Least and most within 0.15 s of a sample, of the middle loudness within half a second of it."""
    window = RATE // 40
    around = clip.samples[:, middle - 20 * window : middle + 20 * window]
    loud = np.sqrt((around.reshape(2, 40, window) ** 2).sum(0).mean(1))
    near, usual = loud[14:26], np.median(np.delete(loud, slice(14, 26)))
    return float(near.min() / max(usual, 1e-9)), float(near.max() / max(usual, 1e-9))


def faults(seams: list[Seam | None]) -> list[str]:
    """What is not kept."""
    found = [one for one in seams if one is not None]
    if len(found) < len(seams):
        return [f"{len(seams) - len(found)} of {len(seams)} have no shape"]
    said = []
    said += [f"a colour changes: {one.colours}" for one in found if len(set(one.colours)) > 1]
    said += [f"a shape changes: {one.kinds}" for one in found if len(set(one.kinds)) > 1]
    jump = float(np.mean([one.jump for one in found]))
    turn = float(np.median([one.turn for one in found]))  # one of them may have come to a wall
    said += [f"shapes jump by {jump:.2f} pixels"] if jump > JUMP else []
    said += [f"velocities change by {turn:.2f}"] if turn > TURN else []
    for one in found:
        said += [f"a pitch changes: {one.pitches}"] if abs(12 * math.log2(one.pitches[1] / one.pitches[0])) > 1 else []
        said += [f"a tone has a gap or a click: {one.loudness}"] if not _even(one) else []
    return said


def _even(one: Seam) -> bool:
    return one.loudness[0] >= QUIETEST and one.loudness[1] <= LOUDEST


def _scenes() -> Scenes:
    """Single shapes that travel slowly, one each way, and reach no wall."""
    scenes = draw(81, 600, pairs=0.0, held_out=True)
    slow = (scenes.speed[:, 0] == 0) & (scenes.motion[:, 0] < 4)
    at = poses(scenes, np.array([0.0, 3.0], np.float32))
    way = np.hypot(*(np.diff(values[:, 0], axis=1)[:, 0] for values in (at.x, at.y)))
    free = slow & (way > 0.99 * 3 * float(world.RATES[0, 0]))
    return scenes[np.array([np.flatnonzero(free & (scenes.motion[:, 0] == motion))[0] for motion in range(4)])]


SCENES = _scenes()


def _drawn(
    *, jump: int = 0, turned: bool = False, other: bool = False, reshaped: bool = False, gap: bool = False
) -> list[Seam | None]:
    """Seams of drawn clips, as they should be or with something wrong."""
    seams = []
    for row in range(len(SCENES)):
        clip = drawn(SCENES, row, SEGMENT + NEAR)
        start, middle = SEGMENT - NEAR, NEAR * RATE // 24
        pixels, samples = clip.pixels[start:].copy(), clip.samples[:, start * RATE // 24 :].copy()
        late = pixels[NEAR:]
        if jump:
            late[:] = np.roll(late, jump, 2)
        if turned:
            late[:] = pixels[:NEAR][::-1]
        if other:
            shape = (late.astype(int) - late[0, 0, 0]).any(-1)
            late[shape] = (245, 245, 245) if late[0, 0, 0].min() < 200 else (18, 18, 22)
        if reshaped:
            kinds = attrs.evolve(SCENES, kind=(SCENES.kind + 1) % len(world.KINDS))
            late[:] = drawn(kinds, row, SEGMENT + NEAR).pixels[SEGMENT:]
        if gap:
            samples[:, middle - 600 : middle + 600] = 0
        seams.append(seam(Clip(pixels, samples), NEAR, told(SCENES, row)[3]))
    return seams


def test_drawn_clips_pass_and_others_do_not() -> None:
    """A shape that jumps by three pixels, goes back, changes its colour, is another; a tone with a gap of 50 ms."""
    assert faults(_drawn()) == []
    assert [said.partition(" by")[0] for said in faults(_drawn(jump=3))] == ["shapes jump"]
    assert [said.partition(" by")[0] for said in faults(_drawn(turned=True))] == ["velocities change"]
    assert {said.partition(":")[0] for said in faults(_drawn(other=True))} == {"a colour changes"}
    assert "a shape changes" in {said.partition(":")[0] for said in faults(_drawn(reshaped=True))}
    assert {said.partition(":")[0] for said in faults(_drawn(gap=True))} == {"a tone has a gap or a click"}


@pytest.fixture(scope="module")
def films(pool: sg.Pool) -> list[Clip]:
    """Two segments each, joined as their session joins them."""
    graph = shipped("ltx2/continue", frames=SEGMENT, latents="noise")
    films = []
    for row in range(len(SCENES)):
        session = sg.Session(graph, outputs=["new.frames", "new.waveform"], pool=pool, seed=row)
        segments = [session.extend(prompt=sentence(SCENES, row, 3)).outputs for _ in range(2)]
        clips = [Clip(one["new.frames"].pixels, one["new.waveform"].samples) for one in segments]
        films.append(clips[0].then(clips[1]))
    return films


@pytest.mark.slow
def test_a_segment_goes_on_from_the_one_before(films: list[Clip]) -> None:
    """Nothing is there twice or missing; the shape goes on as it went, and its tone sounds on."""
    assert {len(film.pixels) for film in films} == {2 * SEGMENT - OVERLAP}
    assert {film.samples.shape[1] for film in films} == {(2 * SEGMENT - OVERLAP) * RATE // 24}
    seams = [seam(film, SEGMENT, told(SCENES, row)[3]) for row, film in enumerate(films)]
    assert faults(seams) == [], seams
