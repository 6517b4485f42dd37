"""A LoRA by its header: which layers it changes and how. Reads no factors and needs no torch."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

import attrs

from stagegraph.errors import ComponentError, Fault
from stagegraph_ltx2.checkpoint.components import COMPONENTS
from stagegraph_ltx2.checkpoint.families import family_of_header
from stagegraph_ltx2.checkpoint.header import Header, read_header
from stagegraph_ltx2.checkpoint.identify import identify
from stagegraph_ltx2.checkpoint.lora.keys import Half, Key, other_kinds, read_key
from stagegraph_ltx2.checkpoint.lora.scale import Settings, read_alpha, read_settings
from stagegraph_ltx2.checkpoint.stored import Stored, counted, foreign_formats
from stagegraph_ltx2.errors import failure, fault, listed, plain, raise_all

#: Official names of files: ltx-2-19b-distilled-lora-384, ltx-2.3-22b-distilled-lora-384-1.1.
OFFICIAL_NAME = re.compile(r"ltx-(?P<family>2(\.\d+)?)-\d+b-(?P<distilled>distilled-)?.*lora")

#: Pieces of paths of layers that one release alone has -> that release.
TELLING: Mapping[str, str] = {
    "to_gate_logits": "2.3",
    "prompt_adaln": "2.3",
    "video_aggregate_embed": "2.3",
    "video_text_proj_in": "2.3",
    "caption_projection": "2.0",
}

Halves = dict[Half, Stored]

PRODUCT = "a LoRA changes a layer [out, in] by a product of B [out, rank] and A [rank, in]"
USE = "use one with lora_A and lora_B, or lora_down and lora_up, for each layer"


@attrs.frozen
class Pair:
    """What is added to a layer: scale · up @ down.

    Args:
        down: A [rank, in].
        up: B [out, rank].
        alpha: None if nothing says it.
        scale: what follows from it.
    """

    down: Stored
    up: Stored
    alpha: float | None
    scale: float

    @property
    def rank(self) -> int:
        """How many columns and rows meet."""
        return self.down.info.shape[0]

    @property
    def shape(self) -> tuple[int, int]:
        """[out, in] of the layer that it is for."""
        return self.up.info.shape[0], self.down.info.shape[1]


@attrs.frozen
class LoraFile:
    """A LoRA.

    Args:
        header: of its file.
        forms: of its keys, as `Key` has them.
        pairs: by the path that the file has for the layer.
    """

    header: Header
    forms: tuple[str, ...]
    pairs: Mapping[str, Pair]

    @property
    def path(self) -> Path:
        """Of the file."""
        return self.header.path

    @property
    def family(self) -> str | None:
        """The release that it was trained on, if anything tells."""
        return lora_family(self.header)

    @property
    def distils(self) -> bool:
        """Whether its official name says that it makes a distilled checkpoint of another."""
        name = OFFICIAL_NAME.match(self.path.name)
        return name is not None and name["distilled"] is not None


def lora_family(header: Header) -> str | None:
    """The release that a LoRA was trained on: as the layers that it changes tell, its header, or its official name."""
    for piece, family in TELLING.items():
        if any(piece in name for name in header.tensors):
            return family
    name = OFFICIAL_NAME.match(header.path.name)
    told = family_of_header(header.metadata, {})
    return told or ({"2": "2.0"}.get(name["family"], name["family"]) if name else None)


def read_lora(path: Path) -> LoraFile:
    """A LoRA out of a file.

    Raises:
        ComponentError: as `read_header`; no LoRA but a checkpoint, or an adapter of another kind; keys that are none of
            a LoRA, half a pair, factors that do not go together, an alpha that is no number: all of them at once.
    """
    header = read_header(path)
    names = header.tensors
    if not identify(names).lora:
        raise _no_lora(path, names)
    settings = read_settings(header)
    kinds = other_kinds(names) or (["DoRA"] if any(said.dora for said in settings.values()) else [])
    if kinds:
        raise _other_kind(path, kinds)
    keys = {name: key for name in names if (key := read_key(name)) is not None}
    halves, twice = _by_layer(header, keys)
    unknown = sorted(names - keys.keys())
    raise_all([*_wrong_names(path, unknown, twice), *_wrong_halves(path, halves)])
    components = {key.layer: key.component for key in keys.values()}
    pairs = {layer: _pair(layer, found, settings[components[layer]]) for layer, found in sorted(halves.items())}
    return LoraFile(header, tuple(dict.fromkeys(key.form for key in keys.values())), pairs)


def _by_layer(header: Header, keys: Mapping[str, Key]) -> tuple[Mapping[str, Halves], list[str]]:
    """What there is for each layer, and what there is twice."""
    halves: dict[str, Halves] = defaultdict(dict)
    twice: list[str] = []
    for name, key in keys.items():
        found = halves[key.layer]
        if key.half in found:
            twice.append(f"{plain(name)} and {plain(found[key.half].name)}")
        found[key.half] = Stored(header, name, header.tensors[name])
    return halves, twice


def _pair(layer: str, found: Halves, settings: Settings) -> Pair:
    alpha = read_alpha(found["alpha"]) if "alpha" in found else settings.alpha_of(layer)
    return Pair(found["down"], found["up"], alpha, settings.scale(alpha, found["down"].info.shape[0]))


def _no_lora(path: Path, names: Collection[str]) -> ComponentError:
    kinds = other_kinds(names)
    if kinds:
        return _other_kind(path, kinds)
    held = [COMPONENTS[name].title for name in identify(names).components]
    fix = f"it is a checkpoint: set path of an ltx2.checkpoint to {path}" if "transformer" in held else USE
    why = f"it holds {', '.join(held) or 'tensors of another model'}; {PRODUCT}"
    return failure("not_a_lora", f"{path.name} is no LoRA", where=path, why=why, fix=fix)


def _other_kind(path: Path, kinds: list[str]) -> ComponentError:
    what, why = f"{path.name} is {' and '.join(kinds)}", f"this release lays LoRAs alone: {PRODUCT}"
    return failure("bad_lora", what, where=path, why=why, fix=USE)


def _wrong_names(path: Path, unknown: list[str], twice: list[str]) -> Iterator[Fault]:
    if unknown:
        what = counted(unknown, "unknown", [plain(name) for name in unknown])
        yield fault("unexpected_tensor", what, where=path, why=f"{PRODUCT}; nothing else is laid", fix=USE)
    if twice:
        why = "which of the two is meant cannot be told"
        yield fault("duplicate_tensor", counted(twice, "stored twice", twice), where=path, why=why, fix=USE)


def _wrong_halves(path: Path, halves: Mapping[str, Halves]) -> Iterator[Fault]:
    """What is wrong with the tensors that belong together."""
    problems: list[str] = []
    whole: dict[str, Stored] = {}
    for layer, found in sorted(halves.items()):
        absent = {"down": "A (down)", "up": "B (up)"}.items()
        lacks = [title for half, title in absent if half not in found]
        if lacks:
            problems.append(f"{plain(layer)} has no {' and no '.join(lacks)}")
            continue
        whole |= {item.name: item for half, item in found.items() if half != "alpha"}
        problem = _shape_problem(found["down"].info.shape, found["up"].info.shape)
        if problem:
            problems.append(f"{plain(layer)} {problem}")
        if "alpha" in found and read_alpha(found["alpha"]) is None:
            problems.append(f"{plain(layer)} has an alpha that is no number")
    if problems:
        what = f"{len(problems)} layer{'s' * (len(problems) > 1)} cannot be changed so: {listed(problems)}"
        yield fault("bad_lora", what, where=path, why=PRODUCT, fix="download or save it again")
    yield from foreign_formats(whole, str(path))


def _shape_problem(down: tuple[int, ...], up: tuple[int, ...]) -> str:
    """Why factors of these shapes cannot be those of a layer; empty if they can."""
    if len(down) != 2 or len(up) != 2:
        return f"has A {list(down)} and B {list(up)}, which are no matrices"
    if down[0] != up[1]:
        return f"has A {list(down)} and B {list(up)}, whose ranks differ"
    if not 1 <= down[0] <= max(down[1], up[0]):
        return f"has rank {down[0]}, and at most {max(down[1], up[0])} makes sense"
    return ""
