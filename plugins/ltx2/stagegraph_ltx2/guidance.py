"""The arithmetic of guidance, in fp32: velocities, clean estimates x0, and how estimates are combined.

A noisy latent is x = (1 - sigma) x0 + sigma noise, and its velocity v = (x - x0) / sigma = noise - x0. Guidance
combines estimates of x0 rather than velocities, so that conditioning can replace part of an estimate afterwards.
"""

from __future__ import annotations

import attrs
import torch
from torch import Tensor

from .scales import Scales


@attrs.frozen(eq=False)
class Estimates:
    """Estimates x0 [b, t, c] of one stream; None for those that nobody needs.

    Attributes:
        full: with the prompt and everything else.
        negative: with the negative prompt.
        perturbed: by the perturbed network.
        isolated: without the other stream.
    """

    full: Tensor
    negative: Tensor | None = None
    perturbed: Tensor | None = None
    isolated: Tensor | None = None


def velocity_to_x0(x: Tensor, v: Tensor, sigma: Tensor | float) -> Tensor:
    """The clean latent that a velocity points at.

    Args:
        x: [b, t, c].
        v: [b, t, c].
        sigma: of the whole batch, or [b, t, 1] where tokens differ.
    """
    return x.float() - v.float() * sigma


def guide(estimates: Estimates, scales: Scales, *, per_sample: bool = True) -> Tensor:
    """The full estimate, moved away from the others.

    Args:
        estimates: of one stream.
        scales: of the same.
        per_sample: whether contrast is that of each sample, or of the whole batch.
    """
    full = estimates.full.float()
    pushes = (
        (scales.text - 1, estimates.negative),
        (scales.perturbation, estimates.perturbed),
        (scales.modality - 1, estimates.isolated),
    )
    guided = full
    for scale, other in pushes:
        if scale and other is not None:
            guided = guided + scale * (full - other.float())
    if scales.rescale == 0 or guided is full:
        return guided
    axes = tuple(range(int(per_sample), full.ndim))
    ratio = full.std(axes, keepdim=True) / guided.std(axes, keepdim=True)
    return guided * torch.lerp(torch.ones_like(ratio), ratio, scales.rescale)
