"""A picture is the first frame of its video, and then moves as the prompt says."""

from __future__ import annotations

import attrs
import numpy as np
import pytest

import stagegraph as sg
from ltx2_training import world
from ltx2_training.measure import look
from ltx2_training.scenes import Scenes, draw
from ltx2_training.sentences import sentence
from stagegraph_media.png import write_image
from stagegraph_media.values import Image

from .clips import Clip, drawn, least, make, psnr, shipped, told

KEPT = 30.0
"""dB, of the first frame to the picture."""

FOLLOWED = 0.9
"""Share of clips that move as is said."""

FRAMES = 25


def _scenes() -> Scenes:
    """One for each motion; what grows or turns is a shape of which that is seen."""
    scenes = draw(61, 200, pairs=0.0, held_out=True)
    fits = [np.flatnonzero(scenes.motion[:, 0] == motion)[0] for motion in range(len(world.MOTIONS))]
    return scenes[np.array(fits)]


SCENES = _scenes()


def _seen(clip: Clip, row: int) -> tuple[str, str, str]:
    """Colour, kind and motion of the largest shape."""
    found = look(clip.pixels, told(SCENES, row)[3], most=1)
    return (found[0].colour, found[0].kind, found[0].motion) if found else ("none", "none", "none")


def _kept(clips: list[Clip]) -> list[float]:
    return [psnr(clip.pixels[0], drawn(SCENES, row, 1).pixels[0]) for row, clip in enumerate(clips)]


def _moves(clips: list[Clip]) -> int:
    """How many clips show the picture's own shape, which moves as is said."""
    return sum(_seen(clip, row) == told(SCENES, row)[:3] for row, clip in enumerate(clips))


@pytest.fixture(scope="module")
def clips(pool: sg.Pool, tmp_path_factory: pytest.TempPathFactory) -> list[Clip]:
    """A video for each motion, of a picture in a file."""
    graph, folder = shipped("ltx2/image-to-video", frames=FRAMES), tmp_path_factory.mktemp("pictures")
    made = []
    for row in range(len(SCENES)):
        path = folder / f"{row}.png"
        write_image(path, Image(drawn(SCENES, row, 1).pixels[0]))
        made.append(make(graph, pool, prompt=sentence(SCENES, row, 5), image=str(path), seed=row))
    return made


def test_what_is_drawn_passes_and_other_clips_do_not() -> None:
    """A clip that stands still keeps the picture and does not move; one that begins elsewhere moves and does not."""
    clips = [drawn(SCENES, row, FRAMES) for row in range(len(SCENES))]
    assert min(_kept(clips)) > KEPT
    assert _moves(clips) == len(clips)
    still = [attrs.evolve(clip, pixels=np.repeat(clip.pixels[:1], FRAMES, 0)) for clip in clips]
    assert _moves(still) == 0
    late = [attrs.evolve(clip, pixels=clip.pixels[12:]) for clip in clips[:4]]
    assert max(_kept(late)) < KEPT


@pytest.mark.slow
def test_the_first_frame_is_the_picture(clips: list[Clip]) -> None:
    """At strength 1, after the compression that frames of training had, encoded and decoded."""
    assert min(_kept(clips)) >= KEPT, _kept(clips)


@pytest.mark.slow
def test_the_picture_moves_as_is_said(clips: list[Clip]) -> None:
    """Its shape, of its colour: left, right, up, down; it bounces, grows, turns."""
    found = [(_seen(clip, row), told(SCENES, row)) for row, clip in enumerate(clips)]
    assert _moves(clips) >= least(len(clips), FOLLOWED), found
