"""Fill a module from a component's files: each tensor goes from the file to its device and dtype once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import FileIO
from itertools import groupby
from typing import TypeVar

import torch
from torch import Tensor, nn

from stagegraph.errors import Fault
from stagegraph_ltx2.checkpoint.contents import ComponentFiles
from stagegraph_ltx2.checkpoint.header import Header, read_header
from stagegraph_ltx2.checkpoint.match import FLOATS, mismatches
from stagegraph_ltx2.checkpoint.stored import Stored, stored_tensors
from stagegraph_ltx2.errors import failure, raise_all, unreadable
from stagegraph_ltx2.model.config import ConfigError

M = TypeVar("M", bound=nn.Module)

#: Bytes asked for in one read; Linux gives at most 2 GiB.
READ_BYTES = 1 << 30


def load_module(
    build: Callable[[], M],
    files: ComponentFiles,
    *,
    device: torch.device,
    dtype: torch.dtype,
) -> M:
    """A module with the weights of a component, in eval mode and without gradients.

    The module is built on the meta device. Names, shapes and number formats of all files are compared with it before
    any weight is read, so that the wrong model costs milliseconds. Then memory holds the module and one tensor more.

    Weights are read, not mapped: a file that is cut while it is read gives an error instead of SIGBUS, a later write to
    it cannot change the model, and the pages of a map would count against this process until the file is closed.

    Args:
        build: makes the module; called under `torch.device("meta")`. It may raise `ConfigError`.
        files: the component.
        device: where the weights go.
        dtype: floating point; what they become.

    Raises:
        ComponentError: a configuration that cannot be built; files that are damaged; tensors that are missing,
            unexpected, stored twice, misshapen or quantised, all at once.
        TypeError: the module has state that no file could fill (a buffer that is not part of its state dict).
    """
    module = _build(build, files)
    wanted = module.state_dict()
    stored, duplicates = _stored(files)
    raise_all([*duplicates, *mismatches(wanted, stored, str(files.place))])
    module.load_state_dict(read_tensors(stored, device, dtype), strict=True, assign=True)
    hollow = [name for name, tensor in (*module.named_parameters(), *module.named_buffers()) if tensor.is_meta]
    if hollow:
        raise TypeError(f"{type(module).__name__} has state that is not in its state dict: {', '.join(hollow)}")
    # What is left to move are the buffers that the module computed itself.
    return module.to(device).eval().requires_grad_(False)


def _build(build: Callable[[], M], files: ComponentFiles) -> M:
    try:
        with torch.device("meta"):
            return build()
    except ConfigError as error:
        faults = error.faults
    except (RuntimeError, OverflowError) as error:  # sizes beyond what a tensor can have
        faults = (str(error).partition("\n")[0],)
    raise failure(
        "bad_config",
        "; ".join(faults),
        where=files.config_path,
        why=f"{files.name} cannot be built from this configuration",
        fix="use a checkpoint of LTX-2, e.g. Lightricks/LTX-2",
    )


def _stored(files: ComponentFiles) -> tuple[dict[str, Stored], list[Fault]]:
    return stored_tensors([(read_header(file.path), file.names) for file in files.weights])


def read_tensors(stored: Mapping[str, Stored], device: torch.device, dtype: torch.dtype) -> dict[str, Tensor]:
    """Tensors by the names of what is stored, on a device and in a number format; file after file, each from its start
    to its end.

    Raises:
        ComponentError: a file that cannot be read, or was cut.
    """
    order = sorted(stored.items(), key=lambda item: (str(item[1].header.path), item[1].info.offset))
    # One buffer for all that is converted: freeing one for each tensor leaves holes that double the process.
    scratch = torch.empty(max((item.info.nbytes for item in stored.values()), default=0), dtype=torch.uint8)
    state: dict[str, Tensor] = {}
    for header, group in groupby(order, key=lambda item: item[1].header):
        with _opened(header) as file:
            for name, item in group:
                state[name] = torch.empty(item.info.shape, dtype=dtype, device=device)
                _read_into(state[name], file, item, scratch)
    return state


@contextmanager
def _opened(header: Header) -> Iterator[FileIO]:
    try:
        with header.path.open("rb", buffering=0) as file:
            yield file
    except OSError as error:
        raise unreadable(header.path, error) from None


def _read_into(target: Tensor, file: FileIO, item: Stored, scratch: Tensor) -> None:
    stored = FLOATS[item.info.dtype]
    if target.device.type == "cpu" and target.dtype == stored:
        _fill(target.reshape(-1).view(torch.uint8), file, item)
    else:
        data = scratch[: item.info.nbytes]
        _fill(data, file, item)
        target.copy_(data.view(stored).view(item.info.shape))


def _fill(data: Tensor, file: FileIO, item: Stored) -> None:
    """Read the bytes of a tensor."""
    buffer = memoryview(data.numpy())  # type: ignore[arg-type]  # numpy declares no buffer before 3.12
    file.seek(item.info.offset)
    done = 0
    while done < len(buffer):
        count = file.readinto(buffer[done : done + READ_BYTES])
        if not count:
            raise failure(
                "truncated",
                f"{item.header.path.name} ended at byte {item.info.offset + done} "
                f"and had {item.header.file_bytes} bytes before",
                where=item.header.path,
                why="the file was replaced or cut while it was read",
                fix="run again once nothing writes there",
            )
        done += count


def load_tensors(files: ComponentFiles, names: Sequence[str]) -> list[Tensor]:
    """Single tensors of a component, in fp32 on the CPU.

    Raises:
        ComponentError: files that are damaged, a tensor that is missing or quantised.
    """
    stored, duplicates = _stored(files)
    raise_all(duplicates)
    missing = [name for name in names if name not in stored]
    if missing:
        what = f"{files.name} has no {', '.join(missing)}"
        raise failure("missing_tensor", what, where=files.place, fix="download the component again")
    wanted = {name: stored[name] for name in names}
    found = read_tensors(wanted, torch.device("cpu"), torch.float32)
    return [found[name] for name in names]
