"""Write a checkpoint again in another layout, bit by bit the same. Needs no torch."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from stagegraph.errors import ComponentError
from stagegraph_ltx2.checkpoint.components import COMPONENTS
from stagegraph_ltx2.checkpoint.contents import Checkpoint, Layout
from stagegraph_ltx2.checkpoint.diffusers_form import scheduler_config
from stagegraph_ltx2.checkpoint.drafts import NETWORKS, Draft, Origin, diffusers, single, split
from stagegraph_ltx2.checkpoint.fastvideo_draft import fastvideo
from stagegraph_ltx2.checkpoint.publish import published
from stagegraph_ltx2.checkpoint.writing import TensorFile, write_safetensors
from stagegraph_ltx2.errors import failure
from stagegraph_ltx2.model.config import ConfigError

#: Layout -> what makes its files, and the components that it cannot do without.
DRAFTS: Mapping[Layout, tuple[Callable[[Origin], Draft], tuple[str, ...]]] = MappingProxyType(
    {
        "diffusers": (diffusers, ("transformer",)),
        "single": (single, NETWORKS),
        "split": (split, ("transformer", "connectors")),
        "fastvideo": (fastvideo, (*NETWORKS, "text_encoder", "tokenizer")),
    }
)

#: Tells how far a conversion is: the file, bytes written so far, bytes in all.
OnProgress = Callable[[str, int, int], None]


def convert(
    checkpoint: Checkpoint,
    path: Path,
    layout: Layout,
    *,
    name: str = "",
    distilled: bool | None = None,
    on_progress: OnProgress = lambda file, done, total: None,
) -> Path:
    """Write a checkpoint in a layout, into a folder that appears at once and complete, or not at all.

    Tensors are copied as bytes, one after the other; memory holds a block of one. Where a layout leaves it open, files
    are called as the checkpoint's own single file is, or as the folder.

    Args:
        checkpoint: what is written; components that it lacks are left out.
        path: a folder that does not exist yet, or an empty one.
        layout: of what is written.
        name: what files are called where the layout leaves that open.
        distilled: whether the model is distilled, if the checkpoint does not say.
        on_progress: told how far it is.

    Returns:
        `path`.

    Raises:
        ComponentError: components that are broken, or that the layout cannot do without; nothing says whether the model
            is distilled, and the layout must; a configuration that it cannot say; no room; a folder that is not empty.
    """
    make, needed = DRAFTS[layout]
    # What is absent may be left out; what is broken may not.
    checkpoint.components(dict.fromkeys([*needed, *checkpoint.broken]))
    origin = Origin(checkpoint, name or _name(checkpoint, path), _scheduler(checkpoint, layout, distilled))
    try:
        draft = make(origin)
    except ConfigError as error:
        raise failure(
            "bad_config",
            "; ".join(error.faults),
            where=checkpoint.root,
            why=f"the {layout} layout has no way to say this",
            fix="convert it to diffusers",
        ) from None
    total = sum(entry.nbytes if isinstance(entry, TensorFile) else len(entry) for entry in draft.values())
    _check_room(path, total)
    with published(path) as folder:
        _write(folder, draft, total, on_progress)
    return path


def left_out(checkpoint: Checkpoint) -> tuple[str, ...]:
    """The components that a conversion has nothing to copy for."""
    return tuple(kind.title for name, kind in COMPONENTS.items() if name not in checkpoint.names)


def _write(folder: Path, draft: Draft, total: int, on_progress: OnProgress) -> None:
    done = 0
    for name, entry in draft.items():

        def count(written: int, name: str = name) -> None:
            nonlocal done
            done += written
            on_progress(name, done, total)

        if isinstance(entry, TensorFile):
            write_safetensors(folder / name, entry, count)
        else:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(entry)
            count(len(entry))


def _name(checkpoint: Checkpoint, path: Path) -> str:
    return checkpoint.root.stem if checkpoint.root.is_file() and checkpoint.layout == "single" else path.name


def _scheduler(checkpoint: Checkpoint, layout: Layout, distilled: bool | None) -> Mapping[str, object] | None:
    """The configuration of diffusers' scheduler, which says whether a model is distilled."""
    if distilled not in (None, checkpoint.distilled) and checkpoint.distilled is not None:
        raise failure(
            "contradiction",
            f"the checkpoint is {'' if checkpoint.distilled else 'not '}distilled",
            where=checkpoint.root,
            why=checkpoint.evidence,
            fix="leave the option out",
        )
    if "scheduler" in checkpoint.found:
        return checkpoint.found["scheduler"].config
    known = checkpoint.distilled if distilled is None else distilled
    if known is None:
        if layout == "diffusers":
            raise _undecided(checkpoint)
        return None
    return scheduler_config(distilled=known)


def _undecided(checkpoint: Checkpoint) -> ComponentError:
    return failure(
        "undecided",
        "nothing says whether the checkpoint is distilled",
        where=checkpoint.root,
        why="a diffusers folder has a scheduler that says so; single files say it by their official name only",
        fix="add --distilled or --base",
    )


def _check_room(path: Path, needed: int) -> None:
    place = next(parent for parent in path.absolute().parents if parent.exists())
    free = shutil.disk_usage(place).free
    if free < needed:
        raise failure(
            "no_room",
            f"the files take {needed / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free",
            where=place,
            why="a conversion copies every tensor; the original stays",
            fix="free some space, or name a folder on another disk",
        )
