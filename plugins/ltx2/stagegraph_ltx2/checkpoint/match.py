"""Do the tensors of a component's files fit a module? Decided from headers, before any memory is taken."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import attrs
import torch

from stagegraph.errors import Fault
from stagegraph_ltx2.checkpoint.header import Header, TensorInfo
from stagegraph_ltx2.errors import fault, listed, plain

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


@attrs.frozen
class Names:
    """How the names in a file become names in a module.

    Args:
        prefixes: (in the file, in the module); the first that a name starts with is replaced, other names stay.
        ignore: prefixes, in the file, of tensors that are left out.
    """

    prefixes: tuple[tuple[str, str], ...] = ()
    ignore: tuple[str, ...] = ()

    def __call__(self, name: str) -> str | None:
        """The name in the module, or None for a tensor that is left out."""
        if name.startswith(self.ignore):
            return None
        for stored, ours in self.prefixes:
            if name.startswith(stored):
                return ours + name.removeprefix(stored)
        return name


@attrs.frozen
class Stored:
    """One tensor that a module takes, and the file that holds it."""

    header: Header
    name: str
    info: TensorInfo


def stored_tensors(headers: Sequence[Header], names: Names) -> tuple[dict[str, Stored], list[Fault]]:
    """Name in the module -> tensor in a file, and a fault if several tensors would get one name."""
    found: dict[str, Stored] = {}
    twice: list[str] = []
    for header in headers:
        for name, info in header.tensors.items():
            ours = names(name)
            if ours is None:
                continue
            if ours in found:
                twice.append(
                    f"{plain(name)} in {header.path.name} and "
                    f"{plain(found[ours].name)} in {found[ours].header.path.name}"
                )
            found[ours] = Stored(header, name, info)
    if not twice:
        return found, []
    where = headers[0].path.parent
    return found, [
        fault(
            "duplicate_tensor",
            _counted(twice, "stored twice", twice),
            where=where,
            why="which of the two is meant cannot be told",
            fix=f"ls {where}, and remove the weights that another save left there",
        )
    ]


def mismatches(wanted: Mapping[str, torch.Tensor], stored: Mapping[str, Stored], where: str) -> Iterator[Fault]:
    """One fault a kind: tensors that are missing, unexpected, of another shape, of a number format that is not loaded.

    Args:
        wanted: the module's state, on any device.
        stored: what the files hold, under the module's names.
        where: the component's folder.
    """
    missing = sorted(wanted.keys() - stored.keys())
    unexpected = sorted(stored.keys() - wanted.keys())
    common = sorted(wanted.keys() & stored.keys())
    misshapen = [name for name in common if stored[name].info.shape != tuple(wanted[name].shape)]
    foreign = [name for name in common if stored[name].info.dtype not in FLOATS]
    if missing:
        yield fault("missing_tensor", _counted(missing, "absent", missing), where=where, why=MISSING, fix=FIX)
    if unexpected:
        quoted = [f"{plain(name)} in {stored[name].header.path.name}" for name in unexpected]
        yield fault("unexpected_tensor", _counted(unexpected, "unknown", quoted), where=where, why=UNEXPECTED, fix=FIX)
    if misshapen:
        shapes = [f"{n} is {list(stored[n].info.shape)}, not {list(wanted[n].shape)}" for n in misshapen]
        yield fault("tensor_shape", _counted(misshapen, "misshapen", shapes), where=where, why=MISSHAPEN, fix=FIX)
    if foreign:
        formats = [f"{name} is {stored[name].info.dtype}" for name in foreign]
        yield fault("tensor_dtype", _counted(foreign, "quantised", formats), where=where, why=FOREIGN, fix=FIX)


def _counted(names: Sequence[str], state: str, details: Sequence[str]) -> str:
    return f"{len(names)} tensor{'s' * (len(names) > 1)} {state}: {listed(details)}"
