"""The tensors of a component in its files, under the names of the network. Needs no torch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import attrs

from stagegraph.errors import ComponentError, Fault
from stagegraph_ltx2.checkpoint.contents import ComponentFiles
from stagegraph_ltx2.checkpoint.header import Header, TensorInfo, read_header
from stagegraph_ltx2.checkpoint.names import Names
from stagegraph_ltx2.errors import fault, listed, plain, raise_all

#: The number formats that weights may have. Integers and 8-bit floats are quantised: they need scales and other layers
#: than ours.
LOADED = ("F64", "F32", "F16", "BF16")


@attrs.frozen
class Stored:
    """One tensor that a module takes, and the file that holds it."""

    header: Header
    name: str
    info: TensorInfo


def tensors_of(files: ComponentFiles) -> dict[str, Stored]:
    """Name in the network -> tensor in a file.

    Raises:
        ComponentError: files that are absent or damaged; several tensors that would get one name.
    """
    found, twice = stored_tensors([(read_header(file.path), file.names) for file in files.weights])
    raise_all(twice)
    return found


def faults_in_files(components: Iterable[ComponentFiles]) -> Iterator[Fault]:
    """What headers tell to be wrong with weights: files that are damaged or none, formats that are not loaded."""
    broken: dict[Path, tuple[Fault, ...]] = {}
    headers: dict[Path, Header] = {}
    for path in dict.fromkeys(file.path for files in components for file in files.weights):
        try:
            headers[path] = read_header(path)
        except ComponentError as error:
            broken[path] = error.faults
    yield from (fault for faults in broken.values() for fault in faults)
    for files in components:
        pairs = [(headers[file.path], file.names) for file in files.weights if file.path in headers]
        yield from foreign_formats(stored_tensors(pairs)[0], str(files.place))


def foreign_formats(stored: Mapping[str, Stored], where: str) -> Iterator[Fault]:
    """A fault if tensors have a number format that is not loaded."""
    names = sorted(name for name, item in stored.items() if item.info.dtype not in LOADED)
    if names:
        formats = [f"{name} is {stored[name].info.dtype}" for name in names]
        what, why = counted(names, "quantised", formats), f"this release loads {', '.join(LOADED)}"
        yield fault("tensor_dtype", what, where=where, why=why, fix="use the files in bf16")


def stored_tensors(files: Sequence[tuple[Header, Names]]) -> tuple[dict[str, Stored], list[Fault]]:
    """Name in the module -> tensor in a file, and a fault if several tensors would get one name."""
    found: dict[str, Stored] = {}
    twice: list[str] = []
    for header, names in files:
        for name, info in header.tensors.items():
            ours = names.ours(name)
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
    where = files[0][0].path.parent
    return found, [
        fault(
            "duplicate_tensor",
            counted(twice, "stored twice", twice),
            where=where,
            why="which of the two is meant cannot be told",
            fix=f"ls {where}, and remove the weights that another save left there",
        )
    ]


def counted(names: Sequence[str], state: str, details: Sequence[str]) -> str:
    """How many tensors are in a state, and which."""
    return f"{len(names)} tensor{'s' * (len(names) > 1)} {state}: {listed(details)}"
