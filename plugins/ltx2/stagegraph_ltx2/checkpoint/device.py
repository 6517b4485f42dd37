"""Where models run and in which number format, from the words that people write."""

from __future__ import annotations

from pathlib import Path

import torch

from stagegraph.errors import suggest
from stagegraph_ltx2.errors import failure

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}


def resolve_device(name: str, *, count: int = 1) -> torch.device:
    """The device of this name: "auto" (the first GPU, or the CPU), "cpu", "cuda", "cuda:1", "mps".

    Args:
        name: a word of those.
        count: how many GPUs are needed from there on; any number of processes share the CPU.

    Raises:
        ComponentError: another word, or a device that this machine does not have.
    """
    present = present_devices()
    gpus = torch.cuda.device_count()
    if count > 1 and name != "cpu" and (gpus or name != "auto"):
        if gpus < count:
            what = f"nproc is {count}, but this machine has {gpus} GPU{'s' * (gpus != 1)}"
            fix = f"set nproc to {gpus}" if gpus > 1 else "set nproc to 1, or device to cpu"
            raise failure("no_such_device", what, why="each process has a GPU of its own", fix=fix)
        return torch.device("cuda:0")
    if name == "auto":
        return torch.device(present[0] if count == 1 else "cpu")
    if name in present:
        return torch.device(name)
    if name == "cuda" and "cuda:0" in present:
        return torch.device("cuda:0")
    raise failure(
        "no_such_device",
        f'no device "{name}"',
        why=f"this machine has {', '.join(present)}; torch {torch.__version__}",
        fix=suggest(name, ("auto", *present)),
    )


def present_devices() -> tuple[str, ...]:
    """The devices of this machine, the fastest first."""
    gpus = [f"cuda:{number}" for number in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    return (*gpus, *(["mps"] if torch.backends.mps.is_available() else []), "cpu")


def resolve_dtype(name: str, device: torch.device) -> torch.dtype:
    """The floating point format of this name: "bf16", "fp16", "fp32" or "auto".

    "auto" is bf16 on a GPU, the format that LTX-2 is stored in; fp16 has its size and less range. On a CPU it is fp32:
    one without bf16 instructions emulates them, and took 20 (convolution) to 60 times (matrix product) longer.

    Raises:
        ComponentError: another word.
    """
    if name == "auto":
        return torch.float32 if device.type == "cpu" else torch.bfloat16
    if name not in DTYPES:
        raise failure(
            "no_such_dtype",
            f'no number format "{name}"',
            why=f"models run in {', '.join(DTYPES)}",
            fix=suggest(name, ("auto", *DTYPES)),
        )
    return DTYPES[name]


def free_memory(device: torch.device) -> int | None:
    """Free bytes of a device, with those that torch holds and does not use; None if it does not tell."""
    if device.type == "cuda":
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0]) + unused
    return _available() if device.type == "cpu" else None


def _available() -> int | None:
    """Bytes that programs can have without swapping, with the cache of files; None where Linux does not tell."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")), None)


def peak_memory(device: torch.device) -> int:
    """The most bytes of a device that torch had in use since the last call; 0 for one that does not tell."""
    if device.type != "cuda":
        return 0
    peak = torch.cuda.max_memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    return peak
