"""Which files belong to a checkpoint once links are followed. Needs no torch."""

from __future__ import annotations

import os
from pathlib import Path

from stagegraph.errors import Fault
from stagegraph_ltx2.errors import fault


def real(path: Path) -> Path:
    """The path without links. Unlike `Path.resolve`, a loop of links is not an error here: opening it will be one."""
    return Path(os.path.realpath(path))


def hub_repository(root: Path) -> str | None:
    """The id of the repository when `root` is a snapshot in a Hugging Face cache, else None.

    Such a snapshot is `<cache>/models--<org>--<name>/snapshots/<commit>`.
    """
    commits = real(root).parent
    parts = commits.parent.name.split("--")
    return "/".join(parts[1:]) if commits.name == "snapshots" and parts[0] == "models" and len(parts) == 3 else None


def blob_folders(root: Path) -> tuple[Path, ...]:
    """Where the links of a snapshot in a Hugging Face cache lead: to the repository's blobs, or to those of all
    repositories. Empty for any other folder.
    """
    if hub_repository(root) is None:
        return ()
    repository = real(root).parent.parent
    return repository / "blobs", repository.parent / "blobs"


def root_of(folder: Path) -> Path:
    """The snapshot in a Hugging Face cache that a folder is in, whose links may lead to its blobs; else the folder."""
    return next((parent for parent in (folder, *folder.parents[:2]) if hub_repository(parent) is not None), folder)


def outside(path: Path, folder: Path, root: Path) -> Fault | None:
    """A fault if `path` leads out of `folder` (and out of the cache's blobs, if `root` is a snapshot in one)."""
    target = real(path)
    if any(target.is_relative_to(place) for place in (real(folder), *blob_folders(root))):
        return None
    return fault(
        "outside_checkpoint",
        f"{path.name} leads to {target}",
        where=path,
        why=f"a checkpoint names files inside {folder} only",
        fix=f"replace the link by a copy: cp --remove-destination {target} {path}",
    )
