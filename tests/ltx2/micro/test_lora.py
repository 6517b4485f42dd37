"""A trained LoRA brings its style where the prompt names it, and nothing at strength 0."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import stagegraph as sg
from ltx2_training.measure import background
from ltx2_training.scenes import draw
from ltx2_training.sentences import sentence
from ltx2_training.stripes import are_striped, can_be_striped, striped_sentence, stripes
from stagegraph import manifest
from stagegraph.builder import find
from stagegraph.plugins import default_registry

from .clips import Pixels, least, told

LORA = Path(__file__).parent / "data" / "striped.safetensors"
"""As `python -m ltx2_training lora` writes it."""

STRIPED = 0.9
"""Share of clips that are as the prompt says, striped or plain."""

FOUND = draw(71, 60, pairs=0.0, held_out=True)
SCENES = FOUND[np.flatnonzero(can_be_striped(FOUND))[:5]]


def graph(strength: float | None) -> sg.Graph:
    """Text to video; denoised with the LoRA, if it has any strength."""
    drafts = manifest.as_dict(find("ltx2/text-to-video", default_registry()))
    drafts["components"]["model"]["params"] = {"path": "micro", "device": "cpu"}
    drafts["nodes"]["latents"]["params"] = {"height": 128, "width": 192, "num_frames": 25, "frame_rate": 24.0}
    if strength is not None:
        adapters = [{"path": str(LORA), "strength": strength}]
        drafts["components"]["style"] = {"kind": "ltx2.lora", "params": {"base": "model", "adapters": adapters}}
        drafts["nodes"]["denoise"]["components"] = {"transformer": "style"}
    return sg.Graph.from_manifest(manifest.from_data(drafts))


def frames(made: sg.Graph, pool: sg.Pool, prompt: str, seed: int) -> Pixels:
    pixels: Pixels = made.run(outputs=["frames.output"], pool=pool, prompt=prompt, seed=seed)["frames.output"].pixels
    return pixels


def test_it_is_small() -> None:
    """As what lies in a repository should be."""
    assert LORA.stat().st_size <= 2**20


@pytest.mark.slow
def test_at_strength_0_it_changes_no_bit(pool: sg.Pool) -> None:
    """Video and sound are as without it, also of a prompt that names its style; at strength 1 they are not."""
    said: dict[str, Any] = {"prompt": striped_sentence(SCENES, 0, 3), "seed": 0}
    wanted = ["denoise.video", "denoise.audio"]
    plain, silent, loud = (graph(s).run(said, outputs=wanted, pool=pool) for s in (None, 0.0, 1.0))
    for name in wanted:
        assert torch.equal(plain[name].latent, silent[name].latent)
        assert not torch.equal(plain[name].latent, loud[name].latent)


@pytest.mark.slow
def test_backgrounds_are_striped_where_the_prompt_says_so(pool: sg.Pool) -> None:
    """Black stripes on the colour that is said; without the word, or without the LoRA, plain backgrounds."""
    style, plain = graph(1.0), graph(None)
    with_word, without, unlaid = [], [], []
    for row in range(len(SCENES)):
        said, unsaid = striped_sentence(SCENES, row, 3), sentence(SCENES, row, 3)
        with_word.append(are_striped(frames(style, pool, said, row), SCENES, row))
        clip = frames(style, pool, unsaid, row)
        without.append(stripes(clip)[0] < 0.1 and background(clip) == told(SCENES, row)[3])
        unlaid.append(are_striped(frames(plain, pool, said, row), SCENES, row))
    wanted = least(len(SCENES), STRIPED)
    assert (sum(with_word) >= wanted, sum(without) >= wanted, sum(unlaid)) == (True, True, 0), (with_word, without)
