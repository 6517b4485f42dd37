"""From what a person writes to a folder: a path, `tiny`, or a Hugging Face repository. Needs no torch to find one."""

from __future__ import annotations

import difflib
import os
import re
from pathlib import Path

from stagegraph.errors import ComponentError
from stagegraph_ltx2.checkpoint.folder import INDEX
from stagegraph_ltx2.checkpoint.hub import fetch
from stagegraph_ltx2.checkpoint.tiny_recipe import VERSION
from stagegraph_ltx2.errors import failure

TINY = "tiny"

REPOSITORY = re.compile(r"(?P<id>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(@(?P<revision>[\w./-]+))?")


def resolve(name: str | Path, *, revision: str | None = None, cache_dir: Path | None = None) -> Path:
    """The folder of a checkpoint.

    Args:
        name: `tiny`, the checkpoint of random weights that is made on first use; a folder; or a repository,
            `org/name` or `org/name@revision`. A folder that exists wins over a repository; what looks like a path
            (`./…`, `/…`, `~…`, a `Path`) is never looked for on the Hub. `tiny` never means a folder: write `./tiny`.
        revision: a branch, tag or commit of the repository.
        cache_dir: where downloads go; by default Hugging Face's cache (HF_HOME).

    Raises:
        ComponentError: no such folder or repository, no access to it, no network, a download that failed.
    """
    if name == TINY:
        return tiny_folder()
    path = Path(os.path.expanduser(name))  # noqa: PTH111  unlike Path's, it leaves an unknown user's home as written
    if os.path.exists(path):  # noqa: PTH110  unlike Path's, it calls what cannot be looked up absent
        return path
    match = _repository(name)
    if match is None:
        raise _no_such_folder(path)
    return fetch(match["id"], revision=_one_revision(match.string, match["revision"], revision), cache_dir=cache_dir)


def present(name: str | Path, *, revision: str | None = None) -> Path | None:
    """The folder of a checkpoint as far as it is on this machine: nothing is made and nothing downloaded.

    Returns:
        None if `resolve` would make or download it.

    Raises:
        ComponentError: no such folder.
    """
    if name == TINY:
        folder = _tiny_cache()
        return folder if (folder / INDEX).is_file() else None
    if _repository(name) is not None and not Path(name).expanduser().exists():
        return None
    return resolve(name, revision=revision)


def _repository(name: str | Path) -> re.Match[str] | None:
    """The parts of a name on the Hub; None for what looks like a path."""
    if isinstance(name, Path) or name.startswith((".", "/", "~")):
        return None
    return REPOSITORY.fullmatch(name)


def _one_revision(name: str, written: str | None, passed: str | None) -> str | None:
    if written and passed and written != passed:
        raise failure(
            "no_such_checkpoint",
            f'"{name}" with revision "{passed}"',
            why="two revisions are asked for",
            fix=f"remove @{written} or the revision",
        )
    return written or passed


def _no_such_folder(path: Path) -> ComponentError:
    return failure(
        "no_such_checkpoint",
        f"no such folder: {path}",
        where=path,
        why=f"a checkpoint is a folder, the word {TINY}, or a Hugging Face repository like Lightricks/LTX-2",
        fix=_similar(path) or f"ls {path.parent}",
    )


def _similar(path: Path) -> str:
    try:
        folders = [entry.name for entry in os.scandir(path.parent) if entry.is_dir()]
    except OSError:
        return ""
    near = difflib.get_close_matches(path.name, folders, n=3)
    # With ./, a relative folder stays a folder: bare words have other meanings.
    names = [str(path.parent / name) if path.is_absolute() else f"./{path.parent / name}" for name in near]
    names += difflib.get_close_matches(str(path), [TINY], n=1)
    return f"did you mean {' or '.join(names)}?" if names else ""


def _tiny_cache() -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "stagegraph" / "ltx2" / f"tiny-{VERSION}"


def tiny_folder() -> Path:
    """The tiny checkpoint in the user's cache (XDG_CACHE_HOME); made if it is not there.

    Several processes may do this at once: one of them wins, and all get its folder.
    """
    folder = _tiny_cache()
    # The folder appears by a rename, complete.
    if (folder / INDEX).is_file():
        return folder
    # Imports torch, which a folder that is there does not need.
    from stagegraph_ltx2.checkpoint.tiny import make_tiny

    try:
        return make_tiny(folder)
    except ComponentError as error:
        if error.code == "ltx2.not_empty" and (folder / INDEX).is_file():
            return folder
        raise
