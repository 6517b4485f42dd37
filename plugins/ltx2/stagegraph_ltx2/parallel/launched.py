"""Processes that were started together, by torchrun or another launcher that tells them so through the environment.

Rank 0 runs the graph, and the others wait here for the teams that it makes. Needs no torch until there are any.
"""

from __future__ import annotations

import contextlib
import itertools
import time
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from stagegraph.ranks import world
from stagegraph_ltx2.errors import failure

if TYPE_CHECKING:
    from torch.distributed.distributed_c10d import Store

#: Seconds between two looks at what rank 0 has announced.
_PAUSE: Final = 0.05
#: Seconds that rank 0 has to tell why it failed, once another rank has told it.
_LAST_WORDS: Final = 10.0
#: Seconds that the others have to see that rank 0 is done, before it takes the store with it.
_LEAVING: Final = 2.0


def announce(folder: Path, ranks: int) -> bool:
    """Tell the other ranks of a new team where it meets; False if no launcher started any.

    Raises:
        ComponentError: they are not as many as the team has, or this is one of them.
    """
    found = world()
    if found is None:
        return False
    if found.size != ranks:
        what = f"nproc is {ranks}, but {found.size} processes were started together"
        raise failure("contradiction", what, fix="leave nproc to the launcher, or start without one")
    if found.rank:
        raise failure("contradiction", f"rank {found.rank} is about to run a graph", why="rank 0 does")
    _board().announce(str(folder))
    return True


def serve() -> None:
    """Take part in every team that rank 0 makes, until that is done; for the other ranks."""
    from stagegraph_ltx2.parallel.worker import take_part

    found = world()
    assert found is not None
    board = _board()
    for number in itertools.count():
        folder = board.read(number)
        if not folder:
            board.leave()
            return
        if not take_part(Path(folder), found.rank):
            time.sleep(_LAST_WORDS)  # the launcher ends all as soon as one ends; before that, rank 0 tells why
            raise SystemExit(1)


def dismiss() -> None:
    """Tell the other ranks that there will be no further team; for rank 0."""
    found = world()
    if found is not None:
        with contextlib.suppress(RuntimeError):  # of a launcher that is gone
            board = _board()
            board.announce("")
            board.wait_for_leaving(found.size - 1)


class _Board:
    """Where rank 0 announces teams: the store of the launcher."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._teams = itertools.count()

    def announce(self, folder: str) -> None:
        self._store.set(f"stagegraph/team/{next(self._teams)}", folder)

    def read(self, number: int) -> str:
        key = f"stagegraph/team/{number}"
        while not self._store.check([key]):
            time.sleep(_PAUSE)
        return self._store.get(key).decode()

    def leave(self) -> None:
        self._store.add("stagegraph/left", 1)

    def wait_for_leaving(self, others: int) -> None:
        end = time.monotonic() + _LEAVING
        while self._store.add("stagegraph/left", 0) < others and time.monotonic() < end:
            time.sleep(_PAUSE)


@cache
def _board() -> _Board:
    """That of this process, which has one launcher."""
    from torch.distributed.rendezvous import rendezvous

    store, _, _ = next(rendezvous("env://"))
    return _Board(store)
