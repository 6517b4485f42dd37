"""How often held-out prompts are followed: what was measured of the weights that are shipped, and a sample of it."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from ltx2_training import reporting
from ltx2_training.agreement import Agreement
from ltx2_training.reporting import MEASURES, SCENES_SEED, Asked
from ltx2_training.scenes import Scenes, draw
from stagegraph_ltx2.checkpoint.resolve import resolve

from .clips import RATE, RISK, drawn, least

SHARES = {name: floor for name, (_, floor) in MEASURES.items() if name != "panning_error"}
COUNT, FRAMES = 24, 25


def test_a_bound_lets_pass_what_is_as_good_as_it_should_be() -> None:
    """But for a risk of one in a hundred; what is much worse fails."""
    assert [least(24, floor) for floor in (0.95, 0.90, 0.85)] == [20, 18, 16]
    rng = np.random.default_rng(0)
    for floor in SHARES.values():
        passed = (rng.binomial(COUNT, floor, 20_000) >= least(COUNT, floor)).mean()
        assert passed >= 1 - RISK
        assert (rng.binomial(COUNT, floor - 0.4, 20_000) >= least(COUNT, floor)).mean() < 0.1


def test_what_was_measured_is_as_good_as_it_should_be() -> None:
    """Of 200 prompts or more, and of these very weights."""
    measured = json.loads((resolve("micro") / "metrics.json").read_text(encoding="utf-8"))
    assert measured["count"] >= 200
    assert measured["agreement"].keys() == MEASURES.keys()
    assert reporting.missed(measured["agreement"]) == []
    assert measured["weights"] == reporting.digest(resolve("micro"))


def _assert_followed(agreement: Agreement) -> None:
    """What a checkpoint at the floors would miss in one of a hundred samples."""
    wanted = {name: least(agreement.all[name], floor) for name, floor in SHARES.items()}
    found = {name: agreement.right[name] for name in SHARES}
    assert all(found[name] >= wanted[name] for name in SHARES), (found, wanted, agreement.all)
    apart = np.array(agreement.panning)
    # Two and a third standard errors: as seldom missed.
    bound = MEASURES["panning_error"][1] + 2.33 * apart.std(ddof=1) / math.sqrt(len(apart))
    assert apart.mean() <= bound


def _agreement(scenes: Scenes, shown: Scenes, *, swapped: bool = False) -> Agreement:
    agreement = Agreement()
    for row in range(len(scenes)):
        clip = drawn(shown, row, FRAMES)
        agreement.add(scenes, row, clip.pixels, clip.samples[::-1] if swapped else clip.samples, RATE)
    return agreement


@pytest.mark.slow
def test_clips_that_are_as_they_should_be_pass_and_others_fail() -> None:
    """Drawn clips; those of other scenes; those with left and right exchanged."""
    scenes = draw(SCENES_SEED, 12, held_out=True)
    _assert_followed(_agreement(scenes, scenes))
    with pytest.raises(AssertionError):
        _assert_followed(_agreement(scenes, scenes[np.roll(np.arange(12), 7)]))
    with pytest.raises(AssertionError):
        _assert_followed(_agreement(scenes[:6], scenes[:6], swapped=True))


@pytest.mark.slow
def test_held_out_prompts_are_followed() -> None:
    """Background, colour, shape, motion, pitch, and where it is heard; a sample of what the card says."""
    agreement, _ = reporting.watch(Asked("micro", COUNT, FRAMES, "cpu"))
    _assert_followed(agreement)
