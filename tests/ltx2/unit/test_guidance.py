"""The arithmetic of guidance."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from stagegraph_ltx2.guidance import Estimates, guide, velocity_to_x0
from stagegraph_ltx2.scales import Guidance, Scales

sigmas = st.floats(0.01, 1)


def tensors(n: int, seed: int = 0) -> tuple[Tensor, ...]:
    return torch.randn(n, 2, 5, 3, generator=torch.Generator().manual_seed(seed)).unbind()


@given(sigmas)
def test_the_true_velocity_points_at_the_clean_latent(sigma: float) -> None:
    """From any noise level."""
    x0, noise = tensors(2)
    x = (1 - sigma) * x0 + sigma * noise
    assert torch.allclose(velocity_to_x0(x, noise - x0, sigma), x0, atol=1e-6)


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
    results = velocity_to_x0(x, v, 0.5), guide(Estimates(x, v, x, v), Scales(3, 1, 3, 0.7))
    assert {result.dtype for result in results} == {torch.float32}


def test_without_guidance_the_estimate_is_returned() -> None:
    """What it would be moved away from then has no say, even where it is known."""
    full, *others = tensors(4)
    assert torch.equal(guide(Estimates(full, *others), Scales()), full)
    assert torch.equal(guide(Estimates(full, *others), Scales(rescale=0.7)), full)


@pytest.mark.parametrize(
    ("scales", "name"),
    [(Scales(text=3), "negative"), (Scales(modality=3), "isolated"), (Scales(perturbation=2), "perturbed")],
)
def test_each_term_moves_away_from_its_estimate(scales: Scales, name: str) -> None:
    """At a scale of 3 three times as far as from there to here; perturbation counts from 0."""
    full, other = tensors(2)
    assert torch.allclose(guide(Estimates(full, **{name: other}), scales), other + 3 * (full - other), atol=1e-6)


def test_terms_add_up() -> None:
    """All together are the sum of what each adds alone."""
    full, negative, perturbed, isolated = tensors(4)
    estimates = Estimates(full, negative, perturbed, isolated)
    alone = (Scales(text=3), Scales(perturbation=1), Scales(modality=2))
    together = guide(estimates, Scales(3, 1, 2))
    added = full + sum(guide(estimates, scales) - full for scales in alone)
    assert torch.allclose(together, added, atol=1e-5)


def test_full_rescaling_restores_contrast() -> None:
    """Of each sample on its own, whatever the others of the batch are; or of the batch as a whole."""
    full, negative = tensors(2)
    full = full * torch.tensor([1.0, 10.0])[:, None, None]
    estimates, scales = Estimates(full, negative), Scales(text=7, rescale=1)
    guided = guide(estimates, scales)
    assert torch.allclose(guided.std((1, 2)), full.std((1, 2)), rtol=1e-5)
    alone = guide(Estimates(full[:1], negative[:1]), scales)
    assert torch.allclose(alone, guided[:1], rtol=1e-5)
    whole = guide(estimates, scales, per_sample=False)
    assert torch.allclose(whole.std(), full.std(), rtol=1e-5)
    assert not torch.allclose(whole.std((1, 2)), full.std((1, 2)), rtol=1e-3)


def test_only_passes_that_change_something_are_needed() -> None:
    """Either stream is enough."""
    assert not (Guidance().needs_negative)
    assert not (Guidance().needs_perturbed)
    assert not (Guidance().needs_isolated)
    assert Guidance(audio=Scales(text=7)).needs_negative
    assert Guidance(video=Scales(perturbation=1)).needs_perturbed
    assert Guidance(audio=Scales(modality=3)).needs_isolated
