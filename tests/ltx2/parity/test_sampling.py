"""Schedules, steps and guidance give what diffusers' scheduler and pipeline give."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler, LTXEulerAncestralRFScheduler
from diffusers.pipelines.ltx2.pipeline_ltx2 import calculate_shift, rescale_noise_cfg

from stagegraph_ltx2.guidance import Estimates, guide, velocity_to_x0
from stagegraph_ltx2.samplers import Ancestral, euler_step
from stagegraph_ltx2.scales import Scales
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
        x = euler_step(x, velocity_to_x0(x, v, DISTILLED_SIGMAS[i]), *DISTILLED_SIGMAS[i : i + 2])
    assert relative_error(x, expected) < 3e-6


@pytest.mark.parametrize("rescale", [0.0, 0.7, 1.0])
def test_guidance(rescale: float) -> None:
    """In x0 space, with the contrast of each sample on its own; the reference repeats the pipeline's formula."""
    x, v, v_uncond = torch.randn(3, 2, 9, 6)
    cond, uncond = velocity_to_x0(x, v, 0.725), velocity_to_x0(x, v_uncond, 0.725)
    expected = rescale_noise_cfg(cond + 2 * (cond - uncond), cond, rescale)
    got = guide(Estimates(cond, uncond), Scales(text=3, rescale=rescale))
    assert relative_error(got, expected) < 1e-6


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_ancestral_steps(eta: float) -> None:
    """Along the whole list, with the noise that their generator draws."""
    theirs = LTXEulerAncestralRFScheduler(eta=eta)
    theirs.set_timesteps(sigmas=torch.tensor(DISTILLED_SIGMAS))
    ours, drawn = torch.Generator().manual_seed(3), torch.Generator().manual_seed(3)
    x = expected = torch.randn(2, 7, 5)
    for i, t in enumerate(theirs.timesteps[: len(DISTILLED_SIGMAS) - 1]):
        sigma, following = DISTILLED_SIGMAS[i : i + 2]
        v = torch.randn_like(x)
        expected = theirs.step(v, t, expected, generator=drawn, return_dict=False)[0]
        x0 = velocity_to_x0(x, v, sigma)
        noise = torch.randn(x.shape, generator=ours)
        x = x0 if following == 0 else Ancestral(eta).move(x, x0, noise, sigma, following)
    assert relative_error(x, expected) < 3e-6
