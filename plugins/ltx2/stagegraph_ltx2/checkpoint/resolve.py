"""From what a person writes to a folder or a file: a path, `tiny`, `micro`, or a Hugging Face repository.

Needs no torch.
"""

from __future__ import annotations

import difflib
import os
import re
from pathlib import Path

from stagegraph.errors import ComponentError
from stagegraph_ltx2.checkpoint.folder import INDEX
from stagegraph_ltx2.checkpoint.hub import fetch, wanted_files
from stagegraph_ltx2.checkpoint.tiny_recipe import EMBEDDED, VERSION
from stagegraph_ltx2.errors import failure

REPOSITORY = re.compile(
    r"(?P<id>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)"
    r"(/(?P<file>[A-Za-z0-9][\w./-]*\.safetensors))?"
    r"(@(?P<revision>[\w./-]+))?"
)

MICRO = "micro"
WORDS = (MICRO, *EMBEDDED)
"""The names that stand for checkpoints."""

SHIPPED = Path(__file__).parents[1] / MICRO
"""The trained checkpoint, which is part of the package."""


def resolve(
    name: str | Path,
    *,
    revision: str | None = None,
    cache_dir: Path | None = None,
    wanted: tuple[str, ...] | None = None,
    local: bool = False,
) -> Path:
    """The folder or the file of a checkpoint.

    Args:
        name: `micro`, which is trained and part of the package; one of `EMBEDDED`, checkpoints of random weights that
            are made on first use; a folder or a file; or a repository, `org/name`, or a file in one,
            `org/name/file.safetensors`, either with `@revision`. What exists wins over a repository; what looks like a
            path (`./…`, `/…`, `~…`, a `Path`) is never looked for on the Hub, nor is a file in a folder that exists.
            `micro` and `tiny` never mean a folder: write `./micro`.
        revision: a branch, tag or commit of the repository.
        cache_dir: where downloads go; by default Hugging Face's cache (HF_HOME).
        wanted: patterns of the files of a repository that are downloaded; by default those of a checkpoint.
        local: take what was downloaded before, and download nothing.

    Raises:
        ComponentError: no such folder or repository, no access to it, no network, a download that failed; `micro` in
            an installation that has lost it.
    """
    if name in EMBEDDED:
        return tiny_folder(str(name))
    if name == MICRO:
        return micro_folder()
    path = Path(os.path.expanduser(name))  # noqa: PTH111  unlike Path's, it leaves an unknown user's home as written
    if os.path.exists(path):  # noqa: PTH110  unlike Path's, it calls what cannot be looked up absent
        return path
    match = _repository(name)
    if match is None:
        raise _no_such_folder(path)
    wanted = (match["file"],) if match["file"] else wanted or wanted_files()
    one = _one_revision(match.string, match["revision"], revision)
    folder = fetch(match["id"], revision=one, cache_dir=cache_dir, wanted=wanted, local=local)
    return folder / match["file"] if match["file"] else folder


def present(name: str | Path, *, revision: str | None = None) -> Path | None:
    """The folder or file of a checkpoint as far as it is on this machine: nothing is made and nothing downloaded.

    Returns:
        None if `resolve` would make or download it.

    Raises:
        ComponentError: no such folder.
    """
    if name in EMBEDDED:
        folder = _tiny_cache(str(name))
        return folder if (folder / INDEX).is_file() else None
    if name == MICRO:
        return micro_folder()
    if _repository(name) is not None and not Path(name).expanduser().exists():
        return None
    return resolve(name, revision=revision)


def _repository(name: str | Path) -> re.Match[str] | None:
    """The parts of a name on the Hub; None for what looks like a path."""
    if isinstance(name, Path) or name.startswith((".", "/", "~")):
        return None
    match = REPOSITORY.fullmatch(name)
    return None if match and match["file"] and Path(name.partition("/")[0]).is_dir() else match


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
        f"no such file or folder: {path}",
        where=path,
        why=f"a checkpoint is a folder or a file, one of {', '.join(WORDS)}, or a Hugging Face repository like "
        "Lightricks/LTX-2",
        fix=_similar(path) or f"ls {path.parent}",
    )


def _similar(path: Path) -> str:
    try:
        entries = [e.name for e in os.scandir(path.parent) if e.is_dir() or e.name.endswith(".safetensors")]
    except OSError:
        return ""
    near = difflib.get_close_matches(path.name, entries, n=3)
    # With ./, a relative folder stays a folder: bare words have other meanings.
    names = [str(path.parent / name) if path.is_absolute() else f"./{path.parent / name}" for name in near]
    names += difflib.get_close_matches(str(path), WORDS, n=1)
    return f"did you mean {' or '.join(names)}?" if names else ""


def micro_folder() -> Path:
    """The trained checkpoint that is part of the package.

    Raises:
        ComponentError: this installation has lost it.
    """
    if (SHIPPED / INDEX).is_file():
        return SHIPPED
    raise failure(
        "not_shipped",
        f'"{MICRO}" is missing from this installation of stagegraph-ltx2',
        where=SHIPPED,
        why="it is part of the package, and was left out or removed",
        fix=f"pip install --force-reinstall --no-deps stagegraph-ltx2; for a folder with this name, ./{MICRO}",
    )


def _tiny_cache(name: str) -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "stagegraph" / "ltx2" / f"{name}.v{VERSION}"


def tiny_folder(name: str) -> Path:
    """An embedded checkpoint in the user's cache (XDG_CACHE_HOME); made if it is not there.

    Several processes may do this at once: one of them wins, and all get its folder.
    """
    folder = _tiny_cache(name)
    # The folder appears by a rename, complete.
    if (folder / INDEX).is_file():
        return folder
    # Imports torch, which a folder that is there does not need.
    from stagegraph_ltx2.checkpoint.tiny import make_tiny

    try:
        return make_tiny(folder, EMBEDDED[name])
    except ComponentError as error:
        if error.code == "ltx2.not_empty" and (folder / INDEX).is_file():
            return folder
        raise
