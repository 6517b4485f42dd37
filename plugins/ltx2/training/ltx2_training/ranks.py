"""Several GPUs that train the same weights, each with clips of its own: one process each, as torchrun starts them."""

from __future__ import annotations

import os

import torch
import torch.distributed as dist
from torch import Tensor

APART = 100
"""From the seeds of one process to those of the next."""


def join(device: str) -> None:
    """Take part, if torchrun started this process."""
    if "RANK" not in os.environ:
        return
    cuda = device == "cuda"
    if cuda:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group("nccl" if cuda else "gloo")


def leave() -> None:
    """Take part no longer; what is still to be done needs no other process."""
    if dist.is_initialized():
        dist.destroy_process_group()


def rank() -> int:
    return dist.get_rank() if dist.is_initialized() else 0


def world() -> int:
    return dist.get_world_size() if dist.is_initialized() else 1


def average(tensor: Tensor) -> None:
    """Replace a tensor by its mean over all processes."""
    if world() > 1:
        dist.all_reduce(tensor)
        tensor.div_(world())


def agreed(value: float, device: torch.device) -> float:
    """The number that the first process has, when the device has done all that was asked of it."""
    if world() > 1:
        shared = torch.tensor(value, dtype=torch.float64, device=device)
        dist.broadcast(shared, 0)
        return float(shared)
    if device.type == "cuda":
        torch.cuda.synchronize()
    return value
