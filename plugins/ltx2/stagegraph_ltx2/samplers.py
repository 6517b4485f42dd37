"""How a denoising loop goes from one noise level to the next: one function a sampler, over tensors of any shape.

Each takes latents x, asks for estimates x0 of them, and gives the latents at the next level. A pair holds video and
audio; both take the same steps.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple, Protocol

import attrs
import torch
from torch import Tensor

from .schedule import SamplerName


class Pair(NamedTuple):
    """Video and audio tokens, each [b, t, c]."""

    video: Tensor
    audio: Tensor


#: Latents at a noise level to estimates of what they are without noise; what is kept stands in both.
Estimate = Callable[[Pair, float], Pair]
#: Standard normal noise like the latents, for a purpose within the step; the same whenever it is asked for.
Noise = Callable[[str], Pair]
#: Latents with what is to be kept put in its place.
Restore = Callable[[Pair], Pair]


@attrs.frozen(eq=False)
class Step:
    """One step of a loop.

    Attributes:
        sigma: the noise level of the latents, above 0.
        next: the level to go to; the last step goes to 0.
        noise: for samplers that add some.
        restore: puts back what noise would have changed.
        memory: velocities of the step before, for samplers that look back; None in the first.
    """

    sigma: float
    next: float
    noise: Noise
    restore: Restore
    memory: Pair | None = None


class Sampler(Protocol):
    """Take one step: gives the latents at its next level, and what the step after it is to remember."""

    def __call__(self, x: Pair, estimate: Estimate, step: Step) -> tuple[Pair, Pair | None]: ...


def euler(x: Pair, estimate: Estimate, step: Step) -> tuple[Pair, None]:
    """Follow the velocity. A step to 0 arrives at the estimate."""
    x0 = estimate(x, step.sigma)
    return Pair(*(euler_step(a, b, step.sigma, step.next) for a, b in zip(x, x0, strict=True))), None


def euler_step(x: Tensor, x0: Tensor, sigma: float, next_sigma: float) -> Tensor:
    """x0 stays, the noise in x shrinks from one level to the next."""
    return x0 if next_sigma == 0 else x + (x - x0) / sigma * (next_sigma - sigma)


@attrs.frozen
class Ancestral:
    """Euler steps that go further than asked, and come back with new noise.

    Attributes:
        eta: how much of the noise is new: 0 is `euler`, 1 all that can be.
        s_noise: times the standard deviation of the new noise.
    """

    eta: float = 1.0
    s_noise: float = 1.0

    def __call__(self, x: Pair, estimate: Estimate, step: Step) -> tuple[Pair, None]:
        """One step."""
        x0 = estimate(x, step.sigma)
        if step.next == 0:
            return x0, None
        fresh = step.noise("ancestral")
        moved = Pair(*(self.move(a, b, n, step.sigma, step.next) for a, b, n in zip(x, x0, fresh, strict=True)))
        return step.restore(moved), None

    def move(self, x: Tensor, x0: Tensor, noise: Tensor, sigma: float, next_sigma: float) -> Tensor:
        """From one level to the next, above 0; a rectified flow scales its content by 1 - sigma."""
        down = next_sigma * (1 + (next_sigma / sigma - 1) * self.eta)
        alpha, alpha_down = 1 - next_sigma, 1 - down
        amount = math.sqrt(max(0.0, next_sigma**2 - down**2 * alpha**2 / alpha_down**2))
        below = torch.lerp(x0, x, down / sigma)
        return alpha / alpha_down * below + self.s_noise * amount * noise


@attrs.frozen
class GradientEstimation:
    """Euler steps whose velocity is extrapolated from the one before.

    Attributes:
        gamma: how far: 1 is `euler`.
    """

    gamma: float = 2.0

    def __call__(self, x: Pair, estimate: Estimate, step: Step) -> tuple[Pair, Pair]:
        """One step; remembers its own velocity."""
        x0 = estimate(x, step.sigma)
        current = Pair(*((a - b) / step.sigma for a, b in zip(x, x0, strict=True)))
        if step.next == 0:
            return x0, current
        used = current
        if step.memory is not None:
            used = Pair(*(self.gamma * (v - w) + w for v, w in zip(current, step.memory, strict=True)))
        return Pair(*(a + v * (step.next - step.sigma) for a, v in zip(x, used, strict=True))), current


FLOOR = 0.0011
"""The level at which `Res2s` asks for its last estimate instead of at 0."""


@attrs.frozen
class Res2s:
    """A second-order exponential integrator with new noise after each of its two stages, in fp64.

    Two estimates a step. Where steps are short, the point that a step starts from is moved until it agrees with the
    midpoint that the new noise made of it.

    Attributes:
        eta: how much of the noise is new, of what can be.
        rounds: how often the starting point is moved.
    """

    eta: float = 0.5
    rounds: int = 100

    def __call__(self, x: Pair, estimate: Estimate, step: Step) -> tuple[Pair, None]:
        """One step; a step to 0 is one to `FLOOR` and an estimate there."""
        if step.next == 0 and step.sigma <= FLOOR:
            return estimate(x, step.sigma), None
        end = step.next or FLOOR
        start = Pair(*(a.double() for a in x))
        first = Pair(*(a.double() for a in estimate(x, step.sigma)))
        h = -math.log(end / step.sigma)
        stage = h * 0.5 * _phi1(-h * 0.5)  # to the midpoint in the logarithm of the level
        middle = math.sqrt(step.sigma * end)
        mid = Pair(*(a + stage * (d - a) for a, d in zip(start, first, strict=True)))
        mid = self._noised(start, mid, step, step.sigma, middle, "res_2s midpoint")
        if h < 0.5 and step.sigma > 0.03:
            start = self._agreeing(start, mid, first, stage)
        second = Pair(*(a.double() for a in estimate(_like(mid, x), middle)))
        b2 = _phi2(-h) / 0.5
        b1 = _phi1(-h) - b2
        moved = Pair(*(a + h * (b1 * (d1 - a) + b2 * (d2 - a)) for a, d1, d2 in zip(start, first, second, strict=True)))
        moved = self._noised(start, moved, step, step.sigma, end, "res_2s")
        if step.next == 0:
            return estimate(_like(moved, x), FLOOR), None
        return _like(moved, x), None

    def _noised(self, x: Pair, target: Pair, step: Step, sigma: float, end: float, purpose: str) -> Pair:
        noise = step.noise(purpose)
        made = (inject(a, b, standardised(n), sigma, end, self.eta) for a, b, n in zip(x, target, noise, strict=True))
        return step.restore(Pair(*made))

    def _agreeing(self, start: Pair, mid: Pair, first: Pair, stage: float) -> Pair:
        moved = []
        for a, m, d in zip(start, mid, first, strict=True):
            for _ in range(self.rounds):
                a = m - stage * (d - a)
            moved.append(a)
        return Pair(*moved)


def inject(x: Tensor, target: Tensor, noise: Tensor, sigma: float, end: float, eta: float) -> Tensor:
    """Put new noise in the place of some that is left at the target.

    Args:
        x: latents at level `sigma`.
        target: what they became at level `end`.
        noise: standard normal.
        sigma: above `end`.
        end: where the target is.
        eta: how much of the noise is new.
    """
    up = min(eta * end, 0.9999 * end)
    if not up:
        return target
    rest = math.sqrt(end**2 - up**2)
    alpha = 1 - end + rest
    down = rest / alpha
    velocity = (x - target) / (sigma - end)
    return alpha * (x - sigma * velocity + down * velocity) + up * noise


def standardised(noise: Tensor) -> Tensor:
    """Noise [b, t, c] in fp64 of mean 0 and deviation 1: of the whole batch, then of each sample."""
    noise = noise.double()
    noise = (noise - noise.mean()) / noise.std()
    axes = (-2, -1)
    return (noise - noise.mean(axes, keepdim=True)) / noise.std(axes, keepdim=True)


def _phi1(z: float) -> float:
    return math.expm1(z) / z


def _phi2(z: float) -> float:
    return (math.expm1(z) - z) / z**2


def _like(pair: Pair, other: Pair) -> Pair:
    return Pair(*(a.to(b.dtype) for a, b in zip(pair, other, strict=True)))


def sampler_of(name: SamplerName, eta: float | None = None) -> Sampler:
    """A sampler by its name; `eta` is how much noise is new, for those that add some."""
    made: Mapping[SamplerName, Callable[[], Sampler]] = MappingProxyType(
        {
            "euler": lambda: euler,
            "euler_ancestral": lambda: Ancestral(1.0 if eta is None else eta),
            "res_2s": lambda: Res2s(0.5 if eta is None else eta),
            "gradient_estimation": GradientEstimation,
        }
    )
    return made[name]()
