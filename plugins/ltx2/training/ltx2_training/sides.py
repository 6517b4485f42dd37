"""One vocoder for both sides of a stereo sound: it hears one at a time, so that it must learn how loud each is.

A vocoder that hears both together learns their common loudness first and stays there for long.
"""

from __future__ import annotations

import attrs
import torch
from torch import Tensor, nn

from stagegraph_ltx2.model.vocoder import Vocoder


class OneSide(nn.Module):
    """A vocoder of half the width, for each side by itself."""

    def __init__(self, stereo: Vocoder) -> None:
        super().__init__()
        c = stereo.config
        self.vocoder = Vocoder(
            attrs.evolve(
                c,
                in_channels=c.in_channels // 2,
                hidden_channels=c.hidden_channels // 2,
                out_channels=c.out_channels // 2,
            )
        )
        with torch.no_grad():
            for name, tensor in self.vocoder.state_dict().items():
                tensor.copy_(_first(stereo.state_dict()[name], tensor.shape))

    def forward(self, mel: Tensor) -> Tensor:
        """Spectrograms [b, 2, t, mel bins] to waveforms [b, 2, s], as a stereo vocoder does."""
        made: Tensor = self.vocoder(mel.flatten(0, 1)[:, None])
        return made.view(len(mel), 2, -1)

    @torch.no_grad()
    def fill(self, stereo: Vocoder) -> None:
        """Give a stereo vocoder what was learned, twice side by side."""
        for name, tensor in self.vocoder.state_dict().items():
            stereo.state_dict()[name].copy_(_twice(tensor))


def _first(both: Tensor, shape: torch.Size) -> Tensor:
    return both[tuple(slice(0, size) for size in shape)]


def _twice(side: Tensor) -> Tensor:
    if side.ndim == 1:
        return torch.cat((side, side))
    made = side.new_zeros(2 * side.shape[0], 2 * side.shape[1], *side.shape[2:])
    made[: side.shape[0], : side.shape[1]] = side
    made[side.shape[0] :, side.shape[1] :] = side
    return made
