"""Training of the text encoder and the connectors alone: of each colour, what is said can be read from their features.

A transformer that learns from velocities finds out late what words mean that say how something moves. What it reads is
made plain beforehand: one query, as its attention to the text has them, tells for each colour whether it is that of a
shape, and of which, where, and how it moves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from . import world
from .loop import Task
from .recipe import TEXT_WIDTH
from .scenes import Scenes, draw
from .sentences import sentence
from .words import tokens

#: What is told of each colour, and of how many kinds it is.
FACTS: Mapping[str, int] = {
    "part": 3,  # of the picture: none, a shape, the background
    "kind": len(world.KINDS),
    "motion": len(world.MOTIONS),
    "speed": len(world.SPEEDS),
    "place": 2,  # in the order of what is said
}
HEADS = 4


class Reader(nn.Module):
    """Reads the facts of all colours from text features [p, t, d], by one attention."""

    def __init__(self, width: int = TEXT_WIDTH) -> None:
        super().__init__()
        self.queries = nn.Parameter(torch.randn(len(world.NAMES), width) * width**-0.5)
        self.attention = nn.MultiheadAttention(width, HEADS, batch_first=True)
        self.tell = nn.Linear(width, sum(FACTS.values()))

    def forward(self, features: Tensor) -> tuple[Tensor, ...]:
        """Logits [p, colours, kinds] of each fact."""
        queries = self.queries.expand(len(features), -1, -1)
        read, _ = self.attention(queries, features, features, need_weights=False)
        return torch.split(self.tell(read), list(FACTS.values()), dim=-1)


def facts(scenes: Scenes) -> dict[str, Tensor]:
    """What is true of each colour: [n, colours] for each fact, -1 where there is no such fact."""
    n, rows = len(scenes), torch.arange(len(scenes))
    told = {name: torch.full((n, len(world.NAMES)), -1) for name in FACTS}
    told["part"].zero_()
    told["part"][rows, torch.as_tensor(scenes.background)] = 2
    x, present = torch.as_tensor(scenes.x), torch.as_tensor(scenes.present) > 0
    for which in (0, 1):
        some = rows[present[:, which]]
        colour = torch.as_tensor(scenes.colour)[some, which]
        other = 1 - which
        told["part"][some, colour] = 1
        told["place"][some, colour] = (present[some, other] & (x[some, other] <= x[some, which])).long()
        for name in ("kind", "motion", "speed"):
            told[name][some, colour] = torch.as_tensor(getattr(scenes, name))[some, which]
    return told


def loss(trainee: Any, readers: Sequence[Reader], length: int) -> Callable[..., tuple[Tensor, Mapping[str, Tensor]]]:
    """The loss of facts read from the features for video and from those for sound."""

    def of(ids: Tensor, *true: Tensor) -> tuple[Tensor, Mapping[str, Tensor]]:
        total = ids.new_zeros((), dtype=torch.float32)
        right = {}
        for features, reader in zip(trainee.read(ids, length), readers, strict=False):
            for name, logits, wanted in zip(FACTS, reader(features), true, strict=True):
                total = total + nn.functional.cross_entropy(
                    logits.float().flatten(0, 1), wanted.flatten(), ignore_index=-1
                )
                hit = (logits.argmax(-1) == wanted) & (wanted >= 0)
                right[name] = hit.sum() / (wanted >= 0).sum()
        return total, right

    return of


def tasks(
    trainee: Any, readers: Sequence[Reader], scenes: Scenes, *, device: str, lengths: Mapping[int, int], seed: int = 0
) -> list[Task]:
    """Steps over sentences that are said anew each time.

    Args:
        trainee: its text encoder and connectors learn.
        readers: of the features for video and of those for sound.
        scenes: of numpy.
        device: where it learns.
        lengths: positions of the text, and how many sentences a step has of so many.
        seed: of the wording.
    """
    true = facts(scenes)
    generator = torch.Generator().manual_seed(seed)

    def batch(count: int) -> list[Tensor]:
        rows = torch.randint(len(scenes), (count,), generator=generator)
        way = int(torch.randint(2**20, (1,), generator=generator))
        ids = torch.from_numpy(tokens([sentence(scenes, int(row), way) for row in rows]))
        return [part.to(device) for part in (ids, *(told[rows] for told in true.values()))]

    return [
        Task(f"{length} positions", lambda n=count: batch(n), loss(trainee, readers, length), 5 if i == 0 else 1)  # type: ignore[misc]
        for i, (length, count) in enumerate(lengths.items())
    ]


@torch.no_grad()
def evaluate(
    trainee: Any, readers: Sequence[Reader], *, device: str, length: int, count: int = 256
) -> dict[str, float]:
    """Share of the facts of unseen scenes that are read right from the features for video."""
    scenes = draw(7, count, held_out=True)
    ids = torch.from_numpy(tokens([sentence(scenes, row, 9) for row in range(count)])).to(device)
    _, right = loss(trainee, readers[:1], length)(ids, *(told.to(device) for told in facts(scenes).values()))
    return {name: round(float(share), 4) for name, share in right.items()}
