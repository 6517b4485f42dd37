"""The tensors of a component in its files, under the names of the network. Needs no torch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import attrs

from stagegraph.errors import ComponentError, Fault
from stagegraph_ltx2.checkpoint.contents import ComponentFiles
from stagegraph_ltx2.checkpoint.header import Header, TensorInfo, read_header
from stagegraph_ltx2.checkpoint.names import Names
from stagegraph_ltx2.errors import fault, listed, plain, raise_all


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


def check_headers(components: Iterable[ComponentFiles]) -> Iterator[Fault]:
    """A fault for each file of weights that is absent, damaged or no safetensors file."""
    for path in dict.fromkeys(file.path for files in components for file in files.weights):
        try:
            read_header(path)
        except ComponentError as error:
            yield from error.faults


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
