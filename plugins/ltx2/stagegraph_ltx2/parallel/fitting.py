"""Whether so many processes can share a transformer, before any of them is started. Needs no torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from stagegraph.errors import Fault
from stagegraph.ranks import world
from stagegraph_ltx2.errors import fault
from stagegraph_ltx2.model.config import TransformerConfig

#: The most processes that share a transformer.
MAX_RANKS: Final = 64


def device_faults(nproc: int, device: str) -> Iterator[Fault]:
    """What is wrong with a number of processes on devices of this name."""
    if nproc == 1:
        return
    if device not in ("auto", "cpu", "cuda", "cuda:0"):
        what = f"nproc is {nproc}, but device is {device}"
        why = f"each process has a GPU of its own, cuda:0 to cuda:{nproc - 1}, or all of them the CPU"
        yield fault("contradiction", what, why=why, fix="leave device out, or set nproc to 1")
    started = world()
    if started is not None and started.size != nproc:
        what = f"nproc is {nproc}, but {started.size} processes were started together"
        yield fault("contradiction", what, fix=f"set nproc to {started.size} or 1, or start a single process")


def head_faults(nproc: int, config: Mapping[str, Any]) -> Iterator[Fault]:
    """What is wrong with a number of processes for a transformer of this configuration."""
    heads = config.get("num_attention_heads", TransformerConfig().num_attention_heads)
    if isinstance(heads, int) and heads % nproc:
        what = f"nproc is {nproc}, but the transformer has {heads} heads of attention"
        fitting = ", ".join(str(n) for n in range(1, min(heads, MAX_RANKS) + 1) if heads % n == 0)
        yield fault("contradiction", what, why="every process takes as many", fix=f"use {fitting}")
