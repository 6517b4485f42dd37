"""What is known of a LoRA by itself, for people and programs. Needs no torch."""

from __future__ import annotations

import math
from pathlib import Path

import attrs

from stagegraph_ltx2.checkpoint.lora.file import LoraFile
from stagegraph_ltx2.checkpoint.lora.place import NAMES


@attrs.frozen
class LoraSummary:
    """A LoRA.

    Args:
        forms: of its keys: "official", "diffusers", "PEFT", "kohya", "bare".
        layers: how many it changes.
        ranks: of their changes, in ascending order.
        alphas: that are said; none where the ranks count.
        scales: what products are multiplied by at strength 1.
        parameters: how many numbers its factors have.
        distils: whether its official name says that it makes a distilled checkpoint of another.
    """

    forms: tuple[str, ...]
    layers: int
    ranks: tuple[int, ...]
    alphas: tuple[float, ...]
    scales: tuple[float, ...]
    parameters: int
    distils: bool


def summary(lora: LoraFile) -> LoraSummary:
    """What there is to say of a LoRA."""
    pairs = lora.pairs.values()
    return LoraSummary(
        lora.forms,
        len(pairs),
        tuple(sorted({pair.rank for pair in pairs})),
        tuple(sorted({pair.alpha for pair in pairs if pair.alpha is not None})),
        tuple(sorted({pair.scale for pair in pairs})),
        sum(math.prod(half.info.shape) for pair in pairs for half in (pair.down, pair.up)),
        lora.distils,
    )


def lora_in(folder: Path) -> Path | None:
    """The file of a LoRA in a folder as diffusers or PEFT writes it."""
    return next((folder / name for name in NAMES if (folder / name).is_file()), None)
