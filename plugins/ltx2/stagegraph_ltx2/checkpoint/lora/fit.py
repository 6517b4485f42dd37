"""Which layers of a checkpoint a LoRA changes. Decided from headers, before any weight is read; needs no torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property

import attrs

from stagegraph.errors import Fault, nearest
from stagegraph_ltx2.checkpoint.contents import Checkpoint
from stagegraph_ltx2.checkpoint.families import FAMILIES
from stagegraph_ltx2.checkpoint.keymaps import CONNECTORS, TRANSFORMER, KeyMap
from stagegraph_ltx2.checkpoint.lora.file import LoraFile, Pair
from stagegraph_ltx2.checkpoint.stored import counted, tensors_of
from stagegraph_ltx2.errors import fault, listed, plain

#: The official names of the layers of components that LoRAs change.
NAMES: Mapping[str, KeyMap] = {"transformer": TRANSFORMER, "connectors": CONNECTORS}

#: Layers for which a near name is sought.
SUGGESTED = 3


@attrs.frozen
class Layer:
    """A linear layer of a checkpoint."""

    component: str
    path: str


@attrs.frozen(slots=False)
class Layers:
    """The linear layers that a LoRA may change.

    Args:
        shapes: [out, in] of each, by our names.
        family: of the checkpoint.
    """

    shapes: Mapping[Layer, tuple[int, int]]
    family: str

    @classmethod
    def of(cls, checkpoint: Checkpoint) -> Layers:
        """Those of a checkpoint, as far as it has the components.

        Raises:
            ComponentError: a component that is damaged.
        """
        shapes = {
            Layer(name, key.removesuffix(".weight")): (item.info.shape[0], item.info.shape[1])
            for name in NAMES
            if name in checkpoint.found
            for key, item in tensors_of(checkpoint.component(name)).items()
            if key.endswith(".weight") and len(item.info.shape) == 2
        }
        return cls(shapes, checkpoint.family)

    def find(self, path: str) -> Layer | None:
        """A layer by a path out of a file: an official one, one of diffusers, or either with underscores for dots."""
        for component, names in NAMES.items():
            layer = Layer(component, names.ours(path))
            if layer in self.shapes:
                return layer
        return self._underscored.get(path)

    def near(self, path: str) -> str | None:
        """The official path of a layer that was perhaps meant."""
        known = [NAMES[layer.component].official(layer.path) for layer in self.shapes]
        if "." not in path:
            known = [name.replace(".", "_") for name in known]
        return nearest(path, known)

    @cached_property
    def _underscored(self) -> Mapping[str, Layer]:
        """By official paths and our own; a name that two layers would get stands for none."""
        found: dict[str, Layer] = {}
        several: set[str] = set()
        for layer in self.shapes:
            for path in {layer.path, NAMES[layer.component].official(layer.path)}:
                name = path.replace(".", "_")
                if found.setdefault(name, layer) != layer:
                    several.add(name)
        return {name: layer for name, layer in found.items() if name not in several}


@attrs.frozen
class Fit:
    """A LoRA, held against a checkpoint.

    Args:
        pairs: what is added to which layer.
        faults: why it cannot be laid over it.
    """

    pairs: Mapping[Layer, Pair]
    faults: tuple[Fault, ...]


def fit(lora: LoraFile, layers: Layers) -> Fit:
    """Find the layers that a LoRA changes."""
    if lora.family not in (None, layers.family):
        return Fit({}, (_other_family(lora, layers.family),))
    pairs: dict[Layer, Pair] = {}
    unknown, twice, misshapen = [], [], []
    for path, pair in lora.pairs.items():
        layer = layers.find(path)
        if layer is None:
            unknown.append(path)
            continue
        if layer in pairs:
            twice.append(f"{plain(pair.down.name)} and {plain(pairs[layer].down.name)}")
        if pair.shape != layers.shapes[layer]:
            misshapen.append(f"{layer.path} is {list(layers.shapes[layer])}, the change {list(pair.shape)}")
        pairs[layer] = pair
    return Fit(pairs, tuple(_faults(lora, layers, unknown, twice, misshapen)))


def _faults(
    lora: LoraFile, layers: Layers, unknown: list[str], twice: list[str], misshapen: list[str]
) -> Iterator[Fault]:
    name = lora.path.name
    if unknown:
        what = f"LTX-{layers.family} does not have {len(unknown)} of the {len(lora.pairs)} layers that {name} changes: "
        near = [f"{plain(path)}: {other}" for path in unknown[:SUGGESTED] if (other := layers.near(path))]
        fix = f"these are near: {'; '.join(near)}" if near else "use a LoRA that was trained on this model"
        why = "a LoRA of which a part is left out gives something else than it was trained to"
        yield fault("unknown_layer", what + listed(list(map(plain, unknown))), where=lora.path, why=why, fix=fix)
    if twice:
        why = "which of the two is meant cannot be told"
        yield fault("duplicate_tensor", counted(twice, "for one layer", twice), where=lora.path, why=why)
    if misshapen:
        what = f"{name} does not fit {len(misshapen)} layer{'s' * (len(misshapen) > 1)}: {listed(misshapen)}"
        why = "it was trained on a model of another size"
        yield fault("tensor_shape", what, where=lora.path, why=why, fix=f"use a LoRA for LTX-{layers.family}")


def _other_family(lora: LoraFile, family: str) -> Fault:
    what = f"{lora.path.name} is for LTX-{lora.family}, and the checkpoint is LTX-{family}"
    supported = lora.family in FAMILIES
    fix = f"use a LoRA for LTX-{family}" + (f", or lay it over a checkpoint of LTX-{lora.family}" if supported else "")
    return fault("mixed_families", what, where=lora.path, why="each release was trained anew", fix=fix)
