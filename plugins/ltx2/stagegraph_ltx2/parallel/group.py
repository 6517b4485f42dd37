"""What ranks move between each other: tensors, as bytes, so that any number format goes."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import torch
import torch.distributed
from torch import Tensor

#: Its types leave out some of what it documents.
dist: Any = torch.distributed

TIMEOUT: Final = timedelta(seconds=300)
"""For how long a rank waits for the others in one exchange."""

LOOPBACK: Final = "127.0.0.1"


class GroupError(RuntimeError):
    """An exchange failed, as a rule because another rank is gone."""


class Group:
    """The processes of one team.

    It is no default group of torch.distributed, of which a process has only one: a program may have a group of its
    own, and several teams.

    Args:
        folder: of the team; where the ranks find each other.
        rank: of this process.
        ranks: how many there are.
        device: of this process: a GPU of its own, or the CPU.
    """

    def __init__(self, folder: Path, rank: int, ranks: int, device: torch.device) -> None:
        self.rank = rank
        self.ranks = ranks
        self.device = device
        self._aborting = threading.Lock()
        self._aborted = False
        make = _nccl if device.type == "cuda" else _gloo
        with _told():
            self._backend = make(dist.FileStore(str(folder / "store"), ranks), rank, ranks)
            with _environment(NCCL_SOCKET_IFNAME="lo"):  # NCCL connects at the first exchange
                self.broadcast(torch.zeros(1, device=device))
                self.wait()

    def broadcast(self, x: Tensor) -> None:
        """Fill x, which is contiguous in all ranks but rank 0, with what rank 0 has in it."""
        options = dist.BroadcastOptions()
        options.rootRank = 0
        self._do(lambda: self._backend.broadcast([_bytes(x)], options))

    def all_to_all(self, x: Tensor) -> Tensor:
        """Row i of x [ranks, ...] goes to rank i; row i of the result came from rank i."""
        y = torch.empty_like(x, memory_format=torch.contiguous_format)
        self._do(lambda: self._backend.alltoall_base(_bytes(y), _bytes(x), [], []))
        return y

    def all_gather(self, x: Tensor) -> Tensor:
        """The x of all ranks, [ranks, ...]."""
        y = x.new_empty((self.ranks, *x.shape))
        self._do(lambda: self._backend._allgather_base(_bytes(y), _bytes(x)))
        return y

    def wait(self) -> None:
        """Until the device has done what it was told."""
        if self.device.type == "cuda":
            with _told():
                torch.cuda.current_stream(self.device).synchronize()

    def abort(self) -> None:
        """Let go of what waits for other ranks, from any thread; the group is of no use afterwards."""
        with self._aborting:
            if self.device.type == "cuda" and not self._aborted:  # gloo sees by itself that a connection is closed
                self._backend.abort()
            self._aborted = True

    def _do(self, start: Callable[[], Any]) -> None:
        with _told():
            start().wait()


def _bytes(x: Tensor) -> Tensor:
    return x.detach().contiguous().flatten().view(torch.uint8)


def _gloo(store: Any, rank: int, ranks: int) -> Any:
    options = dist.ProcessGroupGloo._Options()
    options._devices = [dist.ProcessGroupGloo.create_device(hostname=LOOPBACK)]
    options._timeout = TIMEOUT
    return dist.ProcessGroupGloo(store, rank, ranks, options)


def _nccl(store: Any, rank: int, ranks: int) -> Any:
    options = dist.ProcessGroupNCCL.Options()
    options._timeout = TIMEOUT
    options.global_ranks_in_group = list(range(ranks))
    options.group_name = "stagegraph"
    # By default its threads end the process where an exchange takes too long; here `Team` does what is to be done.
    with _environment(TORCH_NCCL_ASYNC_ERROR_HANDLING="0", TORCH_NCCL_ENABLE_MONITORING="0"):
        return dist.ProcessGroupNCCL(store, rank, ranks, options)


@contextlib.contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        if isinstance(error, (GroupError, torch.OutOfMemoryError)):
            raise
        raise GroupError(str(error)) from error


@contextlib.contextmanager
def _environment(**values: str) -> Iterator[None]:
    """Variables that libraries read while they begin, for those that are not set."""
    missing = {name: value for name, value in values.items() if name not in os.environ}
    os.environ.update(missing)
    try:
        yield
    finally:
        for name in missing:
            del os.environ[name]
