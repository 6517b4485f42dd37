"""Texts that several errors about checkpoints share. Needs no torch."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from stagegraph_ltx2.checkpoint.components import GEMMA_REPOSITORY
from stagegraph_ltx2.checkpoint.containment import hub_repository
from stagegraph_ltx2.errors import listed

#: Family -> the repository and the name of its spatial upsampler.
UPSAMPLERS: Mapping[str, tuple[str, str]] = {
    "2.0": ("Lightricks/LTX-2", "ltx-2-spatial-upscaler-x2-1.0.safetensors"),
    "2.3": ("Lightricks/LTX-2.3", "ltx-2.3-spatial-upscaler-x2-1.1.safetensors"),
}


def download(root: Path, pattern: str) -> str:
    """A command that fetches what is absent."""
    target = hub_repository(root)
    return f"hf download {target or '<repository>'} --include '{pattern}'" + ("" if target else f" --local-dir {root}")


def download_gemma(folder: Path) -> str:
    """A command that fetches the text encoder and its tokenizer into a folder."""
    return f"hf download {GEMMA_REPOSITORY} --local-dir {folder}"


def download_upsampler(family: str, folder: Path) -> str:
    """A command that fetches the spatial upsampler of a family into a folder."""
    repository, name = UPSAMPLERS.get(family, UPSAMPLERS["2.0"])
    return f"hf download {repository} {name} --local-dir {folder}"


def contents(folder: Path) -> str:
    names = sorted(entry.name + "/" * entry.is_dir(follow_symlinks=False) for entry in os.scandir(folder))
    return f"the folder contains {listed(names)}" if names else "the folder is empty"
