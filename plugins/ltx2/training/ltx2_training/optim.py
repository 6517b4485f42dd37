"""The optimiser: Muon for matrices and kernels of convolutions, Adam for everything else, without waiting for the GPU.

Nothing in a step reads a number back from the device, so that a whole step can be captured as a CUDA graph. All
gradients lie in one piece of memory, which is what several GPUs share.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable

import torch
from torch import Tensor, nn

#: Coefficients of the odd polynomial whose iteration brings all singular values near 1.
NEWTON = (3.4445, -4.7750, 2.0315)


class Optimizer:
    """One step for all parameters of some modules, and a running average of them.

    Args:
        modules: whose parameters learn.
        lr: learning rate of Muon at full speed, whose steps are scaled to have the size of Adam's; Adam's is half.
        averaging: steps over which the average reaches back, at most.
        clip: largest norm of the gradient.
        matrices: whether matrices are Muon's; on a CPU that takes longer than the rest of a step.
        tables: ids of parameters that are lists of vectors rather than matrices, as embeddings are.
    """

    def __init__(
        self,
        modules: Iterable[nn.Module],
        lr: float,
        *,
        averaging: int = 500,
        clip: float = 1.0,
        matrices: bool = True,
        tables: Collection[int] = (),
    ) -> None:
        params: list[Tensor] = [p for module in modules for p in module.parameters() if p.requires_grad]
        self.params = params
        self.lr = lr
        self.averaging = averaging
        self.clip = clip
        device = params[0].device
        self.rate = torch.zeros((), device=device)
        self.blend = torch.ones((), device=device)
        self.count = torch.zeros((), device=device)
        self.norm = torch.zeros((), device=device)
        self.average = [p.detach().clone() for p in params]
        self.gradients = _laid(params)
        self._momentum = [torch.zeros_like(p) for p in params]
        self._groups: dict[tuple[int, int], list[int]] = defaultdict(list)
        self._rest: list[int] = []
        for i, p in enumerate(params):
            if matrices and p.ndim >= 2 and min(p.shape[0], p[0].numel()) >= 8 and id(p) not in tables:
                self._groups[p.shape[0], p[0].numel()].append(i)
            else:
                self._rest.append(i)
        self._square = [torch.zeros_like(params[i]) for i in self._rest]
        self.steps = 0

    def schedule(self, factor: float) -> None:
        """Set the learning rate of the next steps, and how far the average reaches back."""
        self.steps += 1
        warm = min(1.0, self.steps / 60)
        self.rate.fill_(self.lr * factor * warm)
        self.blend.fill_(max(1 / self.averaging, 1 / (0.2 * self.steps + 1)))

    def zero(self) -> None:
        """Forget gradients, but keep their memory: a graph writes to the same places again."""
        self.gradients.zero_()

    @torch.no_grad()
    def step(self) -> None:
        """Move all parameters by their gradients, which it uses up."""
        norm = self.gradients.norm()
        self.norm.copy_(norm)
        self.gradients.mul_((self.clip / (norm + 1e-6)).clamp(max=1.0))
        gradients: list[Tensor] = [p.grad for p in self.params]  # type: ignore[misc]
        self.count.add_(1)
        self._muon(gradients)
        self._adam(gradients)
        ahead = list(torch._foreach_sub(self.params, self.average))
        torch._foreach_add_(self.average, list(torch._foreach_mul(ahead, self.blend)))

    def _muon(self, gradients: list[Tensor]) -> None:
        """Steps whose singular values are alike, along the momentum."""
        chosen = [i for group in self._groups.values() for i in group]
        if not chosen:
            return
        momentum = [self._momentum[i] for i in chosen]
        torch._foreach_lerp_(momentum, [gradients[i] for i in chosen], 0.05)
        for (rows, columns), group in self._groups.items():
            ahead = torch.stack([torch.lerp(gradients[i], self._momentum[i], 0.95).flatten(1) for i in group])
            moves = orthogonal(ahead) * (0.2 * max(rows, columns) ** 0.5)
            for i, move in zip(group, moves.unbind(), strict=True):
                self.params[i].sub_(move.view(self.params[i].shape) * self.rate)

    def _adam(self, gradients: list[Tensor]) -> None:
        if not self._rest:
            return
        params = [self.params[i] for i in self._rest]
        momentum = [self._momentum[i] for i in self._rest]
        own = [gradients[i] for i in self._rest]
        torch._foreach_lerp_(momentum, own, 0.1)
        torch._foreach_lerp_(self._square, torch._foreach_mul(own, own), 0.05)
        small, large = 1 - torch.pow(0.9, self.count), 1 - torch.pow(0.95, self.count)
        scale = torch._foreach_sqrt(torch._foreach_div(self._square, large))
        torch._foreach_add_(scale, 1e-8)
        moves = torch._foreach_div(torch._foreach_div(momentum, small), scale)
        torch._foreach_sub_(params, list(torch._foreach_mul(moves, self.rate * 0.5)))


def _laid(params: list[Tensor]) -> Tensor:
    """Memory of all gradients; every parameter's own is a part of it."""
    sizes = [-(-p.numel() // 32) * 32 for p in params]  # whole lines of a cache
    memory = torch.zeros(sum(sizes), device=params[0].device)
    for p, part in zip(params, torch.split(memory, sizes), strict=True):
        p.grad = part[: p.numel()].view(p.shape)
    return memory


def orthogonal(x: Tensor, steps: int = 5) -> Tensor:
    """Matrices [k, r, c] with their singular values brought near 1, in bf16 on a GPU."""
    dtype = torch.bfloat16 if x.is_cuda else torch.float32
    y = x.to(dtype)
    turned = y.shape[1] > y.shape[2]
    if turned:
        y = y.mT
    y = y / (y.float().norm(dim=(1, 2), keepdim=True) + 1e-7).to(dtype)
    a, b, c = NEWTON
    for _ in range(steps):
        gram = y @ y.mT
        y = a * y + (b * gram + c * gram @ gram) @ y
    made: Tensor = (y.mT if turned else y).to(x.dtype)
    return made
