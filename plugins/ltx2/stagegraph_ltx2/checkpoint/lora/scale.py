"""How strongly the factors of a LoRA count: their product is scaled by alpha / rank, by 1 where nothing says alpha.

Alpha stands in a tensor beside the factors, in what diffusers keeps in the header, or in PEFT's `adapter_config.json`.
Needs no torch.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs

from stagegraph_ltx2.checkpoint.header import Header
from stagegraph_ltx2.checkpoint.official_file import json_in
from stagegraph_ltx2.checkpoint.stored import Stored
from stagegraph_ltx2.checkpoint.strict_json import read_object
from stagegraph_ltx2.errors import failure, plain, unreadable

#: The key of the header of a file that diffusers wrote.
METADATA = "lora_adapter_metadata"
#: What PEFT writes beside its file, and what this file is called.
CONFIG, PEFT_FILE = "adapter_config.json", "adapter_model.safetensors"

#: The components that LoRAs change.
CHANGED = ("transformer", "connectors")

#: Bytes of a number -> how it is unpacked.
_FORMATS = {"F64": "<d", "F32": "<f", "F16": "<e"}


@attrs.frozen
class Settings:
    """What a trainer wrote of its LoRA.

    Args:
        alpha: of all layers; None if it does not say.
        patterns: layer, or the end of its path -> its own alpha.
        rank_stabilized: the product is scaled by alpha / sqrt(rank).
        dora: it is a DoRA.
    """

    alpha: float | None = None
    patterns: Mapping[str, float] = attrs.field(factory=dict)
    rank_stabilized: bool = False
    dora: bool = False

    def alpha_of(self, layer: str) -> float | None:
        """The alpha of a layer, by its path."""
        for pattern, alpha in self.patterns.items():
            if layer == pattern or layer.endswith(f".{pattern}"):
                return alpha
        return self.alpha

    def scale(self, alpha: float | None, rank: int) -> float:
        """What a product of this rank is multiplied by."""
        if alpha is None:
            return 1.0
        return alpha / (math.sqrt(rank) if self.rank_stabilized else rank)


def read_settings(header: Header) -> Mapping[str, Settings]:
    """What is said of the LoRA in a file, by component: "transformer", "connectors".

    Raises:
        ComponentError: what is there is damaged, or of another form.
    """
    beside = header.path.with_name(CONFIG)
    if METADATA in header.metadata:
        written, place = json_in(header, METADATA), f"{METADATA} in the header of {header.path.name}"
    elif header.path.name == PEFT_FILE and beside.is_file():
        written, place = read_object(beside), CONFIG
    else:
        return dict.fromkeys(CHANGED, Settings())
    return {name: _settings(_of(name, written), place, header.path) for name in CHANGED}


def _of(component: str, written: Mapping[str, Any]) -> Mapping[str, Any]:
    """What is said of a component; what is said of none is said of all."""
    scoped = {key: value for key, value in written.items() if not key.startswith(tuple(f"{name}." for name in CHANGED))}
    return scoped | {
        key.removeprefix(f"{component}."): value for key, value in written.items() if key.startswith(f"{component}.")
    }


def _settings(written: Mapping[str, Any], place: str, path: Path) -> Settings:
    problems = list(_problems(written))
    if problems:
        what = f"{place}: {'; '.join(problems)}"
        raise failure("bad_lora", what, where=path, why="it says how strongly the LoRA counts")
    alpha, patterns = written.get("lora_alpha"), written.get("alpha_pattern") or {}
    return Settings(
        None if alpha is None else float(alpha),
        {_literal(key): float(value) for key, value in patterns.items()},
        bool(written.get("use_rslora")),
        bool(written.get("use_dora")),
    )


def _problems(written: Mapping[str, Any]) -> Iterator[str]:
    if not _is_number(written.get("lora_alpha", 1)) and written["lora_alpha"] is not None:
        yield "lora_alpha is no number"
    patterns = written.get("alpha_pattern") or {}
    if not isinstance(patterns, dict) or not all(map(_is_number, patterns.values())):
        yield "alpha_pattern does not map layers to numbers"
        return
    # Regular expressions of strangers are not run: those that are written are paths.
    yield from (f"alpha_pattern has {plain(key)!r}, which is no path" for key in patterns if not _literal(key))


def _literal(pattern: str) -> str:
    """The path that a pattern stands for; empty if it is not one."""
    path = pattern.removeprefix("^").removesuffix("$").replace(r"\.", ".")
    return path if re.fullmatch(r"[\w.]+", path) else ""


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e30


def read_alpha(tensor: Stored) -> float | None:
    """The number that a tensor of one element holds; None if it holds none.

    Raises:
        ComponentError: the file cannot be read.
    """
    info, path = tensor.info, tensor.header.path
    if math.prod(info.shape) != 1 or info.dtype not in (*_FORMATS, "BF16"):
        return None
    try:
        with path.open("rb") as file:
            file.seek(info.offset)
            data = file.read(info.nbytes)
    except OSError as error:
        raise unreadable(path, error) from None
    if len(data) < info.nbytes:
        return None
    if info.dtype == "BF16":
        data = b"\0\0" + data
    value: float = struct.unpack(_FORMATS.get(info.dtype, "<f"), data)[0]
    return value if math.isfinite(value) else None
