"""The arithmetic of one denoising step, in fp32: velocities, clean estimates x0, guidance between them, and Euler.

A noisy latent is x = (1 - sigma) x0 + sigma noise, and its velocity v = (x - x0) / sigma = noise - x0. Guidance
combines estimates of x0 rather than velocities, so that conditioning can replace part of an estimate afterwards.
"""

from __future__ import annotations

import torch
from torch import Tensor


def velocity_to_x0(x: Tensor, v: Tensor, sigma: Tensor | float) -> Tensor:
    """The clean latent that a velocity points at.

    Args:
        x: [b, t, c].
        v: [b, t, c].
        sigma: Of the whole batch, or [b, t, 1] where tokens differ.
    """
    return x.float() - v.float() * sigma


def x0_to_velocity(x: Tensor, x0: Tensor, sigma: float) -> Tensor:
    """The velocity that leads from x, at sigma > 0, to x0."""
    return (x.float() - x0.float()) / sigma


def euler_step(x: Tensor, v: Tensor, sigma: float, next_sigma: float) -> Tensor:
    """Follow a velocity from one noise level to the next lower one; a step to 0 arrives at x0."""
    return x.float() + v.float() * (next_sigma - sigma)


def guide(cond: Tensor, uncond: Tensor, scale: float, rescale: float = 0.0) -> Tensor:
    """Classifier-free guidance: push the estimate with the prompt away from the one with the negative prompt.

    Args:
        cond: x0 [b, ...] estimated with the prompt.
        uncond: x0 [b, ...] estimated with the negative prompt.
        scale: 1 returns `cond`; larger follows the prompt more closely.
        rescale: How much of the contrast that guidance adds is taken back, from 0 (none) to 1 (all): each sample's
            standard deviation moves towards that of `cond`.
    """
    cond, uncond = cond.float(), uncond.float()
    guided = cond + (scale - 1) * (cond - uncond)
    if rescale == 0:
        return guided
    axes = tuple(range(1, cond.ndim))
    ratio = cond.std(axes, keepdim=True) / guided.std(axes, keepdim=True)
    return guided * torch.lerp(torch.ones_like(ratio), ratio, rescale)
