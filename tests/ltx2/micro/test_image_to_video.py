"""A picture is the first frame of its video, and then moves as the prompt says."""

from __future__ import annotations

from fractions import Fraction

import attrs
import numpy as np
import pytest

import stagegraph as sg
from ltx2_training import world
from ltx2_training.measure import look
from ltx2_training.scenes import Scenes, draw
from ltx2_training.sentences import sentence
from stagegraph_ltx2.component import LTX2Checkpoint
from stagegraph_ltx2.stages import LTX2VideoDecodingStage, LTX2VideoEncodingStage
from stagegraph_media.png import write_image
from stagegraph_media.values import Frames, Image

from .clips import Clip, drawn, least, make, psnr, shipped, told

KEPT, LEAST = 30.0, 25.0
"""dB, of first frames to their pictures, on average; and of each, as stars are harder to restore than circles."""

LOST = 2.0
"""dB that a first frame may be worse than what the VAE restores of the picture alone."""

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
    """PSNR of each first frame to its picture."""
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
    assert min(_kept(clips)) > 40
    assert _moves(clips) == len(clips)
    still = [attrs.evolve(clip, pixels=np.repeat(clip.pixels[:1], FRAMES, 0)) for clip in clips]
    assert _moves(still) == 0
    late = [attrs.evolve(clip, pixels=clip.pixels[12:]) for clip in clips[:4]]
    assert np.mean(_kept(late)) < KEPT


@pytest.fixture(scope="module")
def restored(pool: sg.Pool) -> list[Clip]:
    """The pictures alone, encoded and decoded."""
    g = sg.Graph("restored")
    g.component("model", LTX2Checkpoint(path="micro", device="cpu"))
    frames = g.input("frames", Frames)
    g.output("frames", g.add(LTX2VideoDecodingStage(), latents=g.add(LTX2VideoEncodingStage(), frames=frames)))
    pictures = [drawn(SCENES, row, 1) for row in range(len(SCENES))]
    made = [g.run(frames=Frames(one.pixels, Fraction(24)), pool=pool)["frames"].pixels for one in pictures]
    return [Clip(pixels, one.samples) for pixels, one in zip(made, pictures, strict=True)]


@pytest.mark.slow
def test_the_first_frame_is_the_picture(clips: list[Clip], restored: list[Clip]) -> None:
    """At strength 1, after the compression that frames of training had, as well as the VAE can show it."""
    found, best = _kept(clips), _kept(restored)
    assert np.mean(found) >= KEPT, (found, best)
    assert min(found) >= LEAST, (found, best)
    assert max(other - one for one, other in zip(found, best, strict=True)) <= LOST, (found, best)


@pytest.mark.slow
def test_the_picture_moves_as_is_said(clips: list[Clip]) -> None:
    """Its shape, of its colour: left, right, up, down; it bounces, grows, turns."""
    found = [(_seen(clip, row), told(SCENES, row)) for row, clip in enumerate(clips)]
    assert _moves(clips) >= least(len(clips), FOLLOWED), found
