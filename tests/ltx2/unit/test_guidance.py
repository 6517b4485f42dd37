"""The arithmetic of one denoising step."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from stagegraph_ltx2.guidance import euler_step, guide, velocity_to_x0, x0_to_velocity
from stagegraph_ltx2.schedule import DISTILLED_SIGMAS

sigmas = st.floats(0.01, 1)


def tensors(n: int, seed: int = 0) -> tuple[Tensor, ...]:
    return torch.randn(n, 2, 5, 3, generator=torch.Generator().manual_seed(seed)).unbind()


@given(sigmas)
def test_velocity_and_x0_are_two_views_of_one_estimate(sigma: float) -> None:
    """There and back."""
    x, v = tensors(2)
    assert torch.allclose(x0_to_velocity(x, velocity_to_x0(x, v, sigma), sigma), v, atol=1e-4)


@given(sigmas)
def test_the_true_velocity_leads_to_the_clean_latent(sigma: float) -> None:
    """From any noise level in one step."""
    x0, noise = tensors(2)
    x = (1 - sigma) * x0 + sigma * noise
    assert torch.allclose(velocity_to_x0(x, noise - x0, sigma), x0, atol=1e-6)
    assert torch.allclose(euler_step(x, noise - x0, sigma, 0.0), x0, atol=1e-6)


def test_a_step_to_zero_arrives_at_x0() -> None:
    """The last step of every schedule."""
    x, v = tensors(2)
    assert torch.equal(euler_step(x, v, 0.421875, 0.0), velocity_to_x0(x, v, 0.421875))


def test_the_true_velocity_leads_along_every_schedule_to_the_clean_latent() -> None:
    """Step by step."""
    x0, noise = tensors(2)
    x = noise
    for sigma, next_sigma in pairwise(DISTILLED_SIGMAS):
        x = euler_step(x, noise - x0, sigma, next_sigma)
    assert torch.allclose(x, x0, atol=1e-6)


def test_tokens_may_have_noise_levels_of_their_own() -> None:
    """At 0, x0 is the token itself."""
    x, v = tensors(2)
    sigma = torch.tensor([0.0, 0.5, 0.5, 0.5, 1.0])[None, :, None]
    x0 = velocity_to_x0(x, v, sigma)
    assert torch.equal(x0[:, 0], x[:, 0])
    assert torch.equal(x0[:, 4], x[:, 4] - v[:, 4])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_everything_is_computed_in_fp32(dtype: torch.dtype) -> None:
    """Whatever the model's dtype."""
    x, v = (tensor.to(dtype) for tensor in tensors(2))
    results = (
        velocity_to_x0(x, v, 0.5),
        x0_to_velocity(x, v, 0.5),
        euler_step(x, v, 0.5, 0.25),
        guide(x, v, 3.0, 0.7),
    )
    assert {result.dtype for result in results} == {torch.float32}


def test_guidance_of_1_returns_the_estimate_with_the_prompt() -> None:
    """The negative prompt then has no say."""
    cond, uncond = tensors(2)
    assert torch.equal(guide(cond, uncond, 1.0), cond)


def test_guidance_extrapolates_from_the_negative_prompt() -> None:
    """At 3 it goes three times as far."""
    cond, uncond = tensors(2)
    assert torch.allclose(guide(cond, uncond, 3.0), uncond + 3 * (cond - uncond), atol=1e-6)


def test_full_rescaling_restores_the_contrast_of_each_sample() -> None:
    """Each sample its own, whatever the others of the batch are."""
    cond, uncond = tensors(2)
    cond = cond * torch.tensor([1.0, 10.0])[:, None, None]
    guided = guide(cond, uncond, 7.0, rescale=1.0)
    assert torch.allclose(guided.std((1, 2)), cond.std((1, 2)), rtol=1e-5)
    assert torch.allclose(guide(cond[:1], uncond[:1], 7.0, rescale=1.0), guided[:1], rtol=1e-5)
