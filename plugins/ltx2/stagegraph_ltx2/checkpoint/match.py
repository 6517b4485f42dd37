"""Do the tensors of a component's files fit a module? Decided from headers, before any memory is taken."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch

from stagegraph.errors import Fault
from stagegraph_ltx2.checkpoint.stored import Stored, counted
from stagegraph_ltx2.errors import fault, plain

#: How the formats are called that weights may have. Integers and 8-bit floats are quantised: they need scales and other
#: layers than ours.
FLOATS: Mapping[str, torch.dtype] = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
}


MISSING = "a model runs with every weight or not at all"
UNEXPECTED = "weights without a place belong to another model, whose results this one would not give"
MISSHAPEN = "config.json and the weights describe different models"
FOREIGN = f"this release loads {', '.join(FLOATS)}"
FIX = "download the component again, or the one that its config.json describes"


def mismatches(wanted: Mapping[str, torch.Tensor], stored: Mapping[str, Stored], where: str) -> Iterator[Fault]:
    """One fault a kind: tensors that are missing, unexpected, of another shape, of a number format that is not loaded.

    Args:
        wanted: the module's state, on any device.
        stored: what the files hold, under the module's names.
        where: the component's folder or file.
    """
    missing = sorted(wanted.keys() - stored.keys())
    unexpected = sorted(stored.keys() - wanted.keys())
    common = sorted(wanted.keys() & stored.keys())
    misshapen = [name for name in common if stored[name].info.shape != tuple(wanted[name].shape)]
    foreign = [name for name in common if stored[name].info.dtype not in FLOATS]
    if missing:
        yield fault("missing_tensor", counted(missing, "absent", missing), where=where, why=MISSING, fix=FIX)
    if unexpected:
        quoted = [f"{plain(name)} in {stored[name].header.path.name}" for name in unexpected]
        yield fault("unexpected_tensor", counted(unexpected, "unknown", quoted), where=where, why=UNEXPECTED, fix=FIX)
    if misshapen:
        shapes = [f"{n} is {list(stored[n].info.shape)}, not {list(wanted[n].shape)}" for n in misshapen]
        yield fault("tensor_shape", counted(misshapen, "misshapen", shapes), where=where, why=MISSHAPEN, fix=FIX)
    if foreign:
        formats = [f"{name} is {stored[name].info.dtype}" for name in foreign]
        yield fault("tensor_dtype", counted(foreign, "quantised", formats), where=where, why=FOREIGN, fix=FIX)
