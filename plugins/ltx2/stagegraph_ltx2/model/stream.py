"""Videos that pass through layers piece by piece in time, with the result that they have at once.

A layer that reads the frames around each frame keeps the last ones that it was given, so that no frame is computed
twice, and gives a frame when the last one that it needs has come: fewer frames than it was given at first, the rest
when the video ends. Layers are called with a `Stream`; without one they take what they are given for the whole video.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

import torch
from torch import Tensor, nn


class Stream:
    """What layers keep of one video between its pieces.

    Attributes:
        ended: no more frames come; layers give what they have held back.
    """

    def __init__(self) -> None:
        self.ended = False
        self._kept: dict[nn.Module, Tensor] = {}
        self._late: dict[nn.Module, Tensor] = {}
        self._begun: set[nn.Module] = set()

    def kept(self, layer: nn.Module) -> Tensor | None:
        """What a layer kept of the pieces before; None if there were none."""
        return self._kept.get(layer)

    def keep(self, layer: nn.Module, frames: Tensor) -> None:
        """Keep frames for the next piece; copied, so that the piece they are part of can go."""
        if self.ended:
            self._kept.pop(layer, None)
        else:
            self._kept[layer] = frames.clone()

    def late(self, layer: nn.Module, x: Tensor, count: int) -> list[Tensor]:
        """The next frames of what a layer reads; see `beside`."""
        waiting = self._late.pop(layer, None)
        parts = [x] if waiting is None else [waiting, x]
        taken, rest = [], []
        for part in parts:
            now = min(count, part.shape[2])
            count -= now
            taken += [part[:, :, :now]] if now else []
            rest += [part[:, :, now:]] if now < part.shape[2] else []
        if rest:
            self._late[layer] = torch.cat(rest, dim=2)
        return taken

    def grouped(self, layer: nn.Module, y: Tensor, frames: int) -> Tensor:
        """Of what a layer made, as many frames as make groups of so many; the others wait."""
        waiting = self._late.pop(layer, None)
        y = y if waiting is None else torch.cat((waiting, y), dim=2)
        count = y.shape[2] // frames * frames
        if count < y.shape[2]:
            self._late[layer] = y[:, :, count:].clone()
        return y[:, :, :count]

    def begins(self, layer: nn.Module) -> bool:
        """Whether a layer gives its first frames now; asked once, when it has some."""
        first = layer not in self._begun
        self._begun.add(layer)
        return first


def beside(layer: nn.Module, x: Tensor, count: int, stream: Stream | None) -> Iterator[tuple[int, Tensor]]:
    """What is to be added to the output of a layer that gives its frames later than it gets them.

    Args:
        layer: that reads x.
        x: the frames [b, c, f, h, w] that it is given now.
        count: how many frames it gives now; of x, and of what still waits, the others wait.
        stream: of the video.

    Returns:
        Parts of `count` frames together, each with the frame at which it is to be added.
    """
    at = 0
    for part in [x] if stream is None else stream.late(layer, x, count):
        yield at, part
        at += part.shape[2]


class Layer(Protocol):
    """What `flow` calls: frames [b, c, f, h, w] to frames."""

    def __call__(self, x: Tensor, *, stream: Stream) -> Tensor: ...


def flow(layer: Layer, pieces: Iterable[Tensor]) -> Iterator[Tensor]:
    """What a layer makes of a video, piece by piece as its frames come; pieces without frames are left out."""
    stream, nothing = Stream(), None
    for piece in pieces:
        nothing = piece.new_empty((*piece.shape[:2], 0, *piece.shape[3:]))
        made = layer(piece, stream=stream)
        del piece
        if made.shape[2]:
            yield made
        del made
    stream.ended = True
    if nothing is not None:
        made = layer(nothing, stream=stream)
        if made.shape[2]:
            yield made


def regrouped(pieces: Iterable[Tensor], frames: int) -> Iterator[Tensor]:
    """The same video in pieces of so many frames; the last one may be shorter."""
    held: Tensor | None = None
    for piece in pieces:
        held = piece if held is None else torch.cat((held, piece), dim=2)
        del piece
        while held is not None and held.shape[2] >= frames:
            ready, held = held[:, :, :frames], held[:, :, frames:] if held.shape[2] > frames else None
            yield ready
    if held is not None:
        yield held
