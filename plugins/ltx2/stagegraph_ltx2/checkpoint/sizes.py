"""How large the parts of a checkpoint are once loaded, from headers alone. Needs no torch."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterable
from typing import Any

from stagegraph_ltx2.checkpoint.contents import ComponentFiles
from stagegraph_ltx2.checkpoint.header import read_header


def weight_count(components: Iterable[ComponentFiles]) -> int:
    """How many numbers the weights of some components have, without those that are never loaded.

    Raises:
        ComponentError: a file that is absent, unreadable or damaged.
    """
    return sum(
        math.prod(info.shape)
        for files in components
        for file in files.weights
        for name, info in read_header(file.path).tensors.items()
        if file.names.ours(name) is not None
    )


def weight_bytes(dtype: str, device: str) -> int:
    """Bytes of a weight in the number format of this name; "auto" is that of the device.

    Where torch is not imported anyway, the device files of the system say whether there is a GPU.
    """
    if dtype != "auto":
        return 4 if dtype == "fp32" else 2
    return 4 if on_cpu(device) else 2


def on_cpu(device: str) -> bool:
    """Whether the device of this name is the CPU; "auto" is, where there is no GPU."""
    return device == "cpu" or (device == "auto" and not _has_gpu())


def _has_gpu() -> bool:
    torch: Any = sys.modules.get("torch")
    if torch is not None:
        return bool(torch.cuda.is_available() or torch.backends.mps.is_available())
    return os.path.exists("/dev/nvidiactl") or sys.platform == "darwin"  # noqa: PTH110
