"""Processes that a launcher such as torchrun started together, as it tells them through the environment.

One of them, rank 0, runs the graph. The others lend a hand to the components that several processes share: those with a
param `nproc`, which says how many (`stagegraph.components`).
"""

from __future__ import annotations

import os
from typing import Final

import attrs

_VARIABLES: Final = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


@attrs.frozen
class World:
    """All processes that were started together.

    Attributes:
        rank: of this process, from 0.
        size: how many there are.
    """

    rank: int
    size: int


def world() -> World | None:
    """What the launcher says; None without one, or if it started a single process."""
    rank, size, *address = (os.environ.get(name, "") for name in _VARIABLES)
    if not (all(address) and rank.isdecimal() and size.isdecimal()) or int(size) < 2:
        return None
    return World(int(rank), int(size))


def is_first() -> bool:
    """Whether this process speaks for all of them, or is the only one."""
    started = world()
    return started is None or not started.rank
