"""Which files hold a component's weights. Needs no torch."""

from __future__ import annotations

import re
from pathlib import Path

from stagegraph.errors import ComponentError, Fault
from stagegraph_ltx2.checkpoint.components import STEMS
from stagegraph_ltx2.checkpoint.containment import outside
from stagegraph_ltx2.checkpoint.hints import contents, download
from stagegraph_ltx2.checkpoint.strict_json import read_object
from stagegraph_ltx2.errors import failure, fault, listed, raise_all

PICKLED = (".bin", ".ckpt", ".pt", ".pth", ".pkl")

#: What writers of shards call them. A name with a separator would be a path.
SHARD_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\.safetensors")


def weight_files(root: Path, folder: Path, stem: str) -> list[Path]:
    """The safetensors files that hold a component's weights: one, or the shards that an index names."""
    for name in (stem, *(other for other in STEMS if other != stem)):
        single, index = (
            folder / f"{name}.safetensors",
            folder / f"{name}.safetensors.index.json",
        )
        if single.exists() and index.exists():
            raise failure(
                "ambiguous_file",
                f"{folder.name} has both {single.name} and {index.name}",
                where=folder,
                why="one of them is left over, and which one cannot be told",
                fix=f"rm {single}",
            )
        if single.exists():
            return [single]
        if index.exists():
            return _shards(root, index)
    raise _no_weights(root, folder, stem)


def _no_weights(root: Path, folder: Path, stem: str) -> ComponentError:
    pickled = sorted(entry.name for entry in folder.iterdir() if entry.suffix in PICKLED)
    if pickled:
        return failure(
            "pickled_weights",
            f"{folder.name} has {listed(pickled)} and no safetensors file",
            where=folder,
            why="pickles can run code when they are opened, so they never are",
            fix=download(root, f"{folder.name}/*.safetensors*"),
        )
    return failure(
        "missing_file",
        f"{folder.name} has neither {stem}.safetensors nor {stem}.safetensors.index.json",
        where=folder,
        why=contents(folder),
        fix=download(root, f"{folder.name}/*"),
    )


def _shards(root: Path, index: Path) -> list[Path]:
    raise_all([outside(index, index.parent, root)])
    weight_map = read_object(index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map or not all(isinstance(v, str) for v in weight_map.values()):
        raise failure(
            "bad_json",
            f"{index.name} has no weight_map",
            where=index,
            why="an index maps the name of every tensor to the file that holds it",
            fix=download(root, f"{index.parent.name}/*"),
        )
    names = sorted(set(weight_map.values()))
    raise_all(_misnamed(index, name) for name in names)
    raise_all(_absent_shard(root, index, name) for name in names)
    return [index.parent / name for name in names]


def _misnamed(index: Path, name: str) -> Fault | None:
    if SHARD_NAME.fullmatch(name):
        return None
    return fault(
        "outside_checkpoint",
        f"{index.name} names the file {name[:200]!r}",
        where=index,
        why="shards are safetensors files beside their index, named without a path",
        fix="download the checkpoint from its original repository",
    )


def _absent_shard(root: Path, index: Path, name: str) -> Fault | None:
    if (index.parent / name).is_file():
        return None
    return fault(
        "missing_file",
        f"{index.parent.name}/{name} is absent",
        where=index.parent,
        why=f"{index.name} says that it holds tensors",
        fix=download(root, f"{index.parent.name}/{name}"),
    )
