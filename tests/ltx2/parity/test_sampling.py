"""Schedules, steps and guidance give what diffusers' scheduler and pipeline give."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from diffusers.pipelines.ltx2.pipeline_ltx2 import calculate_shift, rescale_noise_cfg

from stagegraph_ltx2.guidance import euler_step, guide, velocity_to_x0, x0_to_velocity
from stagegraph_ltx2.schedule import DISTILLED_SIGMAS, base_sigmas, shift

from ..random_weights import relative_error


def scheduler(*, distilled: bool) -> FlowMatchEulerDiscreteScheduler:
    """As the folders of the released models configure it."""
    return FlowMatchEulerDiscreteScheduler(
        use_dynamic_shifting=not distilled,
        shift_terminal=None if distilled else 0.1,
        base_shift=0.95,
        max_shift=2.05,
        base_image_seq_len=1024,
        max_image_seq_len=4096,
    )


# For many tokens 1 - sigma is small, and diffusers rounds it to fp32 before stretching it a thousandfold.
@pytest.mark.parametrize(("tokens", "tolerance"), [(384, 3e-7), (4096, 3e-7), (6144, 3e-7), (24576, 1e-4)])
@pytest.mark.parametrize("steps", [2, 8, 30, 40])
def test_the_base_schedule(steps: int, tokens: int, tolerance: float) -> None:
    """For few tokens and for many, at the precision of fp32."""
    assert shift(tokens) == pytest.approx(calculate_shift(tokens, 1024, 4096, 0.95, 2.05), abs=1e-12)
    theirs = scheduler(distilled=False)
    theirs.set_timesteps(sigmas=np.linspace(1.0, 1 / steps, steps), mu=shift(tokens))
    assert base_sigmas(steps, tokens) == pytest.approx(theirs.sigmas.tolist(), abs=tolerance)


def test_the_distilled_schedule() -> None:
    """A list given to the scheduler of a distilled model comes back as it is."""
    theirs = scheduler(distilled=True)
    theirs.set_timesteps(sigmas=list(DISTILLED_SIGMAS[:-1]))
    assert pytest.approx(theirs.sigmas.tolist(), abs=1e-7) == DISTILLED_SIGMAS


def test_euler_steps() -> None:
    """Along the whole list, with a new velocity at each step."""
    theirs = scheduler(distilled=True)
    theirs.set_timesteps(sigmas=list(DISTILLED_SIGMAS[:-1]))
    x = expected = torch.randn(2, 7, 5)
    for i, t in enumerate(theirs.timesteps):
        v = torch.randn_like(x)
        expected = theirs.step(v, t, expected, return_dict=False)[0]
        x = euler_step(x, v, *DISTILLED_SIGMAS[i : i + 2])
    assert relative_error(x, expected) < 1e-6


@pytest.mark.parametrize("rescale", [0.0, 0.7, 1.0])
def test_guidance(rescale: float) -> None:
    """In x0 space, with the contrast of each sample on its own; the reference repeats the pipeline's formula."""
    x, v, v_uncond = torch.randn(3, 2, 9, 6)
    cond, uncond = velocity_to_x0(x, v, 0.725), velocity_to_x0(x, v_uncond, 0.725)
    expected = rescale_noise_cfg(cond + 2 * (cond - uncond), cond, rescale)
    got = guide(cond, uncond, 3.0, rescale)
    assert relative_error(got, expected) < 1e-6
    assert relative_error(x0_to_velocity(x, got, 0.725), (x - expected) / 0.725) < 2e-6
