"""Whether there is room on the device, and what is said when there was not."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import nn

from stagegraph.errors import FitError
from stagegraph.memory import size_text
from stagegraph_ltx2.checkpoint.device import free_memory
from stagegraph_ltx2.errors import fault


def fits(module: nn.Module, need: int) -> bool:
    """Whether so many bytes, and a tenth more, are free where a module is; true where nobody knows."""
    free = free_memory(next(module.parameters()).device)
    return free is None or need <= free * 9 // 10


@contextlib.contextmanager
def room_for(work: str, need: int, fix: str) -> Iterator[None]:
    """Tell what would help if the device has no memory left in the `with` block.

    Args:
        work: what goes on there.
        need: bytes that it was thought to take.
        fix: what takes less.

    Raises:
        FitError: it ran out.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        what = f"{work} ran out of memory"
        why = f"it takes about {size_text(need)} beside the weights; {str(error).partition('. ')[0]}"
        raise FitError(fault("out_of_memory", what, why=why, fix=fix)) from error
