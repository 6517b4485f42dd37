"""Do the tensors of a component's files fit a module? Decided from headers, before any memory is taken."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch

from stagegraph.errors import Fault
from stagegraph_ltx2.checkpoint.stored import LOADED, Stored, counted, foreign_formats
from stagegraph_ltx2.errors import fault, plain

FLOATS: Mapping[str, torch.dtype] = dict(
    zip(LOADED, (torch.float64, torch.float32, torch.float16, torch.bfloat16), strict=True)
)

MISSING = "a model runs with every weight or not at all"
UNEXPECTED = "weights without a place belong to another model, whose results this one would not give"
MISSHAPEN = "the configuration and the weights describe different models"
FIX = "download the component again, or the one that its configuration describes"


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
    if missing:
        yield fault("missing_tensor", counted(missing, "absent", missing), where=where, why=MISSING, fix=FIX)
    if unexpected:
        quoted = [f"{plain(name)} in {stored[name].header.path.name}" for name in unexpected]
        yield fault("unexpected_tensor", counted(unexpected, "unknown", quoted), where=where, why=UNEXPECTED, fix=FIX)
    if misshapen:
        shapes = [f"{n} is {list(stored[n].info.shape)}, not {list(wanted[n].shape)}" for n in misshapen]
        yield fault("tensor_shape", counted(misshapen, "misshapen", shapes), where=where, why=MISSHAPEN, fix=FIX)
    yield from foreign_formats({name: stored[name] for name in common}, where)
