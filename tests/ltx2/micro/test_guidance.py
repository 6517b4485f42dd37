"""Guidance moves away from the negative prompt, towards the prompt, and further with a larger scale.

A checkpoint that is distilled refuses it, so that this is asked of a copy that says it is none, at the same noise
levels. Prompts that are followed anyway cannot be followed better; so what is guided is told half: halfway between two
texts that differ in the colour of the background. Guided away from the one of them, it must become the other.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import stagegraph as sg
from ltx2_training import world
from ltx2_training.measure import nearest
from stagegraph_ltx2.checkpoint.diffusers_form import scheduler_config
from stagegraph_ltx2.checkpoint.resolve import resolve
from stagegraph_ltx2.schedule import DISTILLED_SIGMAS
from stagegraph_ltx2.values import TextContext

from .clips import Pixels, shipped

#: Two colours each that a background may have.
GROUNDS = (("red", "blue"), ("green", "pink"), ("white", "purple"), ("yellow", "black"))
PROMPT = "an orange square moves left on a {} background"
HALF_SCALE, WHOLE_SCALE = 3.0, 1.5
"""Of what is told half, and whole: from halfway, a scale of 3 leads as far beyond a text as one of 1.5 from this."""

TOWARDS = 0.5
"""How much more of the picture has the colour that is wanted: a square takes some of it."""


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the checkpoint that says that it is not distilled."""
    folder = tmp_path_factory.mktemp("base") / "micro"
    shutil.copytree(resolve("micro"), folder)
    path = folder / "scheduler" / "scheduler_config.json"
    path.write_text(json.dumps(scheduler_config(distilled=False)), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def texts(pool: sg.Pool) -> dict[str, TextContext]:
    """What each colour's prompt is to the transformer."""
    graph = shipped("ltx2/text-to-video")
    names = [name for pair in GROUNDS for name in pair]
    return {
        name: graph.run(outputs=["text.positive"], pool=pool, prompt=PROMPT.format(name))["text.positive"]
        for name in names
    }


def between(one: TextContext, other: TextContext) -> TextContext:
    """Halfway from one text to another."""
    return TextContext((one.video + other.video) / 2, (one.audio + other.audio) / 2)


def towards(frames: Pixels, wanted: str, unwanted: str) -> float:
    """What share of the picture has the one colour, less that of the other: 1 or -1 is all of it, less what moves."""
    names = nearest(frames[:: max(1, len(frames) // 5)])
    shares = [float((names == world.NAMES.index(name)).mean()) for name in (wanted, unwanted)]
    return shares[0] - shares[1]


def guided(graph: sg.Graph, pool: sg.Pool, text: TextContext, negative: TextContext | None, seed: int) -> Pixels:
    """Frames, of texts that are encoded already."""
    given = {"denoise.text": text, "denoise.negative_text": negative}
    pixels: Pixels = graph.run(outputs=["frames.output"], pool=pool, given=given, prompt="", seed=seed)[
        "frames.output"
    ].pixels
    return pixels


def _at(base: Path, scale: float) -> sg.Graph:
    settings = {"denoise__sigmas": list(DISTILLED_SIGMAS), "denoise__guidance_scale": scale}
    return shipped("ltx2/text-to-video", model=str(base), **settings)


def test_colours_are_told_apart() -> None:
    """Half and half is neither."""
    frames = np.zeros((2, 4, 4, 3), np.uint8)
    frames[:, :, :2] = world.RGB[world.NAMES.index("red")]
    frames[:, :, 2:] = world.RGB[world.NAMES.index("blue")]
    assert towards(frames, "red", "blue") == 0
    assert towards(frames[:, :, :2], "red", "blue") == 1
    assert towards(frames[:, :, :2], "blue", "red") == -1


@pytest.mark.slow
def test_a_larger_scale_moves_further_from_the_negative_prompt(
    base: Path, texts: dict[str, TextContext], pool: sg.Pool
) -> None:
    """What is told half becomes the colour that the negative prompt does not name, whichever of both it names."""
    plain, strong = _at(base, 1.0), _at(base, HALF_SCALE)
    found = []
    for seed, (one, other) in enumerate(GROUNDS):
        half = between(texts[one], texts[other])
        left = towards(guided(plain, pool, half, None, seed), one, other)
        away, back = (
            towards(guided(strong, pool, half, texts[negative], seed), one, other) for negative in (other, one)
        )
        found.append((back, left, away))
    back, left, away = (float(np.mean(values)) for values in zip(*found, strict=True))
    assert back < -TOWARDS, found
    assert away > TOWARDS, found
    assert back - 0.05 < left < away + 0.05, found


@pytest.mark.slow
def test_a_prompt_is_followed_whatever_the_negative_prompt_says(
    base: Path, texts: dict[str, TextContext], pool: sg.Pool
) -> None:
    """Guided away from another colour, all of them stay what they were."""
    strong = _at(base, WHOLE_SCALE)
    for seed, (one, other) in enumerate(GROUNDS[:2]):
        assert towards(guided(strong, pool, texts[one], texts[other], seed), one, other) > TOWARDS
