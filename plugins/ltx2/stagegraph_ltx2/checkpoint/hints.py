"""Texts that several errors about checkpoints share. Needs no torch."""

from __future__ import annotations

import os
from pathlib import Path

from stagegraph_ltx2.checkpoint.components import GEMMA_REPOSITORY
from stagegraph_ltx2.checkpoint.containment import hub_repository
from stagegraph_ltx2.errors import listed


def download(root: Path, pattern: str) -> str:
    """A command that fetches what is absent."""
    target = hub_repository(root)
    return f"hf download {target or '<repository>'} --include '{pattern}'" + ("" if target else f" --local-dir {root}")


def download_gemma(folder: Path) -> str:
    """A command that fetches the text encoder and its tokenizer into a folder."""
    return f"hf download {GEMMA_REPOSITORY} --local-dir {folder}"


def contents(folder: Path) -> str:
    names = sorted(entry.name + "/" * entry.is_dir(follow_symlinks=False) for entry in os.scandir(folder))
    return f"the folder contains {listed(names)}" if names else "the folder is empty"
