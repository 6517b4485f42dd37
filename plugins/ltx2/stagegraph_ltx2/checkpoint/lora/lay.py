"""Lay LoRAs over the weights of a module, and take them off again.

Sums are made in fp32, whatever the format of the weights, and rounded once: W <- W + sum of strength · scale · B @ A.
What is subtracted again would not be the same in the last bits, so weights are kept as they were, in the memory of the
CPU, if they are to come back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs
import torch
from torch import Tensor, nn

from stagegraph_ltx2.checkpoint.load import read_tensors
from stagegraph_ltx2.checkpoint.lora.file import Pair


@attrs.frozen
class Change:
    """A product that is added to a layer.

    Args:
        pair: its factors.
        strength: what it is multiplied by, beside its own scale.
    """

    pair: Pair
    strength: float

    @property
    def factor(self) -> float:
        """What B @ A is multiplied by."""
        return self.strength * self.pair.scale


@attrs.frozen(eq=False)
class Originals:
    """The weights of a module before something was laid over them.

    Args:
        weights: by the names of layers, on the CPU.
    """

    weights: Mapping[str, Tensor]

    @torch.no_grad()
    def restore(self, module: nn.Module) -> None:
        """Put them back, bit by bit."""
        for name, weight in self.weights.items():
            module.get_submodule(name).get_parameter("weight").copy_(weight)


@torch.no_grad()
def lay_over(module: nn.Module, changes: Mapping[str, Sequence[Change]], *, keep: bool) -> Originals:
    """Change the weights of a module in place, a layer at a time.

    Args:
        module: on any device.
        changes: by the names of its linear layers; several are summed. What counts nothing changes no bit.
        keep: keep the weights of these layers as they were.

    Returns:
        What was kept.

    Raises:
        ComponentError: a file that was cut or replaced meanwhile. Some layers are changed then.
    """
    kept: dict[str, Tensor] = {}
    for name, several in changes.items():
        counting = [change for change in several if change.factor]
        if not counting:
            continue
        weight = module.get_submodule(name).get_parameter("weight")
        if keep:
            kept[name] = weight.to("cpu", copy=True)
        weight.copy_(_changed(weight, counting))
    return Originals(kept)


def _changed(weight: Tensor, changes: Sequence[Change]) -> Tensor:
    """The sum of a weight and its changes, in fp32."""
    total = weight.to(torch.float32, copy=True)
    for change in changes:
        pair = {"down": change.pair.down, "up": change.pair.up}
        factors = read_tensors(pair, weight.device, torch.float32)
        total.addmm_(factors["up"], factors["down"], alpha=change.factor)
    return total
