"""Ways from one noise level to the next."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from stagegraph_ltx2.samplers import (
    Ancestral,
    GradientEstimation,
    Pair,
    Res2s,
    Sampler,
    Step,
    euler,
    sampler_of,
    standardised,
)
from stagegraph_ltx2.schedule import DISTILLED_SIGMAS, SamplerName

SAMPLERS: list[Sampler] = [euler, Ancestral(), Res2s(), GradientEstimation()]


def pair(seed: int) -> Pair:
    """Random tokens of both streams."""
    generator = torch.Generator().manual_seed(seed)
    return Pair(torch.randn(2, 6, 4, generator=generator), torch.randn(2, 3, 4, generator=generator))


def ids(sampler: object) -> str:
    """A sampler's name."""
    return getattr(sampler, "__name__", type(sampler).__name__)


@pytest.mark.parametrize("sampler", SAMPLERS, ids=ids)
def test_if_the_estimate_is_always_the_same_every_sampler_arrives_at_it(sampler: Sampler) -> None:
    """Whatever noise is added on the way."""
    x, goal, memory = pair(0), pair(1), None
    for number, (sigma, following) in enumerate(pairwise(DISTILLED_SIGMAS)):
        step = Step(sigma, following, lambda purpose, n=number: pair(10 + n), lambda p: p, memory)
        x, memory = sampler(x, lambda latents, level: goal, step)
    assert all(torch.equal(a, b) for a, b in zip(x, goal, strict=True))


@pytest.mark.parametrize("sampler", SAMPLERS, ids=ids)
@given(st.sampled_from(list(pairwise(DISTILLED_SIGMAS[:-1]))), st.integers(0, 10))
def test_what_is_restored_stays(sampler: Sampler, levels: tuple[float, float], seed: int) -> None:
    """What is kept is in the latents after each step, if it is in the estimate."""
    kept = pair(3)
    mask = Pair(torch.tensor([0.0, 1, 1, 0, 1, 0])[None, :, None], torch.tensor([1.0, 0, 0])[None, :, None])

    def restore(x: Pair) -> Pair:
        return Pair(*(torch.where(m == 0, k.to(a), a) for a, k, m in zip(x, kept, mask, strict=True)))

    memory = Pair(*(v * m for v, m in zip(pair(seed + 1), mask, strict=True)))  # what is kept does not move
    step = Step(*levels, lambda purpose: pair(seed), restore, memory)
    x, _ = sampler(restore(pair(seed)), lambda latents, level: restore(pair(seed + 2)), step)
    for a, k, m in zip(x, kept, mask, strict=True):
        assert torch.allclose(torch.where(m == 0, a, k), k, atol=1e-5)


def test_without_new_noise_ancestral_steps_are_those_of_euler() -> None:
    """Eta 0."""
    step = Step(0.725, 0.421875, lambda purpose: pair(5), lambda p: p)
    plain, _ = euler(pair(0), lambda x, s: pair(1), step)
    ancestral, _ = Ancestral(eta=0)(pair(0), lambda x, s: pair(1), step)
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(plain, ancestral, strict=True))


def test_gradient_estimation_at_gamma_1_is_euler() -> None:
    """It then has no use for the velocity before."""
    step = Step(0.725, 0.421875, lambda purpose: pair(5), lambda p: p, pair(7))
    plain, _ = euler(pair(0), lambda x, s: pair(1), step)
    other, memory = GradientEstimation(gamma=1)(pair(0), lambda x, s: pair(1), step)
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(plain, other, strict=True))
    assert memory is not None
    assert torch.allclose(memory.video, (pair(0).video - pair(1).video) / 0.725)


class Reference:
    """The formulas of the ancestral step and of the second-order integrator, written down once more in float64."""

    @staticmethod
    def ancestral(x: Tensor, x0: Tensor, noise: Tensor, s: float, t: float, eta: float) -> Tensor:
        """One step for a rectified flow."""
        r = 1 + (t / s - 1) * eta
        d = t * r
        xd = (d / s) * x + (1 - d / s) * x0
        c = max(0.0, t * t - d * d * (1 - t) ** 2 / (1 - d) ** 2) ** 0.5
        return (1 - t) / (1 - d) * xd + c * noise

    @staticmethod
    def inject(x: Tensor, y: Tensor, noise: Tensor, s: float, t: float, eta: float = 0.5) -> Tensor:
        """New noise in place of old."""
        up = min(eta * t, 0.9999 * t)
        res = (t * t - up * up) ** 0.5
        alpha = (1 - t) + res
        down = res / alpha
        eps = (x - y) / (s - t)
        return alpha * ((x - s * eps) + down * eps) + up * noise

    @classmethod
    def res_2s(cls, x, model, noises, s, t):  # type: ignore[no-untyped-def]
        """One step of one stream; `noises` are those of the midpoint and of the step."""
        last = t == 0
        t = 0.0011 if last else t
        h = -math.log(t / s)
        phi1 = lambda z: (math.exp(z) - 1) / z  # noqa: E731
        phi2 = lambda z: (math.exp(z) - 1 - z) / (z * z)  # noqa: E731
        a21 = 0.5 * phi1(-h * 0.5)
        b2 = phi2(-h) / 0.5
        b1 = phi1(-h) - b2
        d1 = model(x, s)
        e1 = d1 - x
        mid = x + h * a21 * e1
        sm = (s * t) ** 0.5
        mid = cls.inject(x, mid, noises[0], s, sm)
        if h < 0.5 and s > 0.03:
            for _ in range(100):
                x = mid - h * a21 * e1
                e1 = d1 - x
        d2 = model(mid, sm)
        y = x + h * (b1 * e1 + b2 * (d2 - x))
        y = cls.inject(x, y, noises[1], s, t)
        return model(y, 0.0011) if last else y


def model(x: Tensor, sigma: float) -> Tensor:
    """An estimate that depends on everything."""
    return torch.tanh(x * (1 - sigma) + 0.3 * sigma) * 0.8


def estimate(x: Pair, sigma: float) -> Pair:
    """The same for both streams."""
    return Pair(model(x.video, sigma), model(x.audio, sigma))


def double(x: Pair) -> Pair:
    """In fp64."""
    return Pair(x.video.double(), x.audio.double())


@pytest.mark.parametrize("eta", [0.25, 1.0])
@pytest.mark.parametrize("levels", list(pairwise(DISTILLED_SIGMAS[:-1])), ids=str)
def test_ancestral_steps_are_those_of_the_formula(levels: tuple[float, float], eta: float) -> None:
    """Over the whole distilled schedule."""
    x, noise = double(pair(0)), double(pair(1))
    got, _ = Ancestral(eta)(x, estimate, Step(*levels, lambda purpose: noise, lambda p: p))
    for a, n, result in zip(x, noise, got, strict=True):
        assert torch.allclose(result, Reference.ancestral(a, model(a, levels[0]), n, *levels, eta), atol=1e-12)


@pytest.mark.parametrize("levels", [*pairwise(DISTILLED_SIGMAS), (0.2, 0.02), (0.02, 0.0)], ids=str)
def test_res_2s_steps_are_those_of_the_formula(levels: tuple[float, float]) -> None:
    """Long steps and short ones, which agree with their midpoint; and the last one, which ends with an estimate."""
    x = double(pair(0))
    drawn = {"res_2s midpoint": double(pair(1)), "res_2s": double(pair(2))}
    got, _ = Res2s()(x, estimate, Step(*levels, lambda purpose: drawn[purpose], lambda p: p))
    for index, (a, result) in enumerate(zip(x, got, strict=True)):
        noises = [standardised(drawn[purpose][index]) for purpose in ("res_2s midpoint", "res_2s")]
        expected = Reference.res_2s(a, model, noises, *levels)
        assert torch.allclose(result, expected, atol=1e-10), (result - expected).abs().max()


def test_standardised_noise_has_no_mean_and_deviation_1() -> None:
    """In each sample."""
    noise = standardised(torch.randn(3, 50, 8) * 4 + 2)
    assert torch.allclose(noise.mean((1, 2)), torch.zeros(3, dtype=torch.float64), atol=1e-12)
    assert torch.allclose(noise.std((1, 2)), torch.ones(3, dtype=torch.float64), atol=1e-12)


@pytest.mark.parametrize(
    ("name", "eta", "sampler"),
    [
        ("euler", 0.3, euler),
        ("euler_ancestral", None, Ancestral(1.0)),
        ("euler_ancestral", 0.3, Ancestral(0.3)),
        ("res_2s", None, Res2s(0.5)),
        ("gradient_estimation", None, GradientEstimation(2.0)),
    ],
)
def test_samplers_have_names(name: SamplerName, eta: float | None, sampler: Sampler) -> None:
    """With their usual settings unless others are asked for."""
    assert sampler_of(name, eta) == sampler
