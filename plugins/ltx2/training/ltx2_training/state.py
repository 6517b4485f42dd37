"""What training keeps between its pieces: averaged weights in files of at most 15 MiB, and a report beside them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

LARGEST = 15 * 2**20


def save(folder: Path, name: str, tensors: Mapping[str, Tensor], *, dtype: torch.dtype | None = None) -> None:
    """Write tensors as `name-0.safetensors`, `name-1.safetensors` and so on, in the place of earlier ones."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob(f"{name}-*.safetensors"):
        old.unlink()
    shards: list[dict[str, Tensor]] = [{}]
    size = 0
    for key, tensor in tensors.items():
        kept = tensor.detach().to("cpu", dtype if tensor.is_floating_point() else None).contiguous()
        if size and size + kept.nbytes > LARGEST:
            shards.append({})
            size = 0
        shards[-1][key] = kept
        size += kept.nbytes
    for number, shard in enumerate(shards):
        save_file(shard, folder / f"{name}-{number}.safetensors")


def load(folder: Path, name: str) -> dict[str, Tensor]:
    """What `save` wrote; nothing if it wrote nothing."""
    found: dict[str, Tensor] = {}
    for path in sorted(folder.glob(f"{name}-*.safetensors")):
        found.update(load_file(path))
    return found


def resume(folder: Path | None, name: str, modules: nn.ModuleDict) -> bool:
    """Fill modules with what an earlier piece left of them; whether there was any."""
    stored = load(folder, name) if folder is not None else {}
    found = {key: tensor for key, tensor in stored.items() if key.partition(".")[0] in modules}
    if found:
        modules.load_state_dict(found)
    return bool(found)


def note(folder: Path, name: str, values: Mapping[str, Any]) -> None:
    """Add the report of one piece to `report.json`."""
    path = folder / "report.json"
    report = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    report.setdefault(name, []).append(dict(values))
    path.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
