"""`ltx2.lora`: LoRAs over a checkpoint, as a component of its own. Needs no torch until a part is lent.

The refine pass and the base pass of a graph are lent two components, of two fingerprints: what is kept of the one is
never taken for the other. In memory they are one transformer. A LoRA as it is trained changes most layers of it, so a
second copy of those that it changes would be nearly a second transformer, 38 GB of it; and in layers that add the
product to what the weights give, each step would pay for it. So weights are changed in place when a stage is lent
them (`stagegraph.components`, "laid over"), and nobody is lent them as they were until they are that again. What they
were is kept on the CPU meanwhile, for that is what brings them back bit by bit, but only if another step may come for
it; in a run whose last word is the refine pass, nothing is kept. Layers that no LoRA changes are not touched.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

import attrs

from stagegraph import component, param, part
from stagegraph.errors import ComponentError, Fault
from stagegraph_ltx2 import parts
from stagegraph_ltx2.checkpoint.fingerprint import sampled
from stagegraph_ltx2.checkpoint.lora.file import LoraFile, Pair, read_lora
from stagegraph_ltx2.checkpoint.lora.fit import Layer, Layers, fit
from stagegraph_ltx2.checkpoint.lora.place import find_lora, present_lora
from stagegraph_ltx2.component import LTX2Checkpoint
from stagegraph_ltx2.errors import fault, raise_all
from stagegraph_ltx2.lending import module_of

if TYPE_CHECKING:
    from stagegraph_ltx2.checkpoint.lora.lay import Change, Originals

#: Of a digest that is told.
SHORT = 16


@attrs.frozen
class Adapter:
    """A LoRA, and how strongly it counts."""

    path: str = param(
        help="A safetensors file in the form of the official files, diffusers, PEFT or kohya; a folder with one; or on "
        'Hugging Face "org/name" or "org/name/file.safetensors".'
    )
    strength: float = param(
        default=1.0, ge=-10, le=10, help="0 changes nothing, 1 as much as it was trained to, negative the opposite."
    )
    revision: str | None = param(default=None, help="Branch, tag or commit of a Hugging Face repository.")


@attrs.frozen(eq=False)
class _Laid:
    """An adapter, and what it adds to which layer."""

    adapter: Adapter
    file: LoraFile
    pairs: Mapping[Layer, Pair]


@component("ltx2.lora", version=1)
class LTX2Lora:
    """LoRAs laid over a checkpoint, for the nodes that name this component; all others are lent the checkpoint."""

    base: LTX2Checkpoint = param(help="The component with the checkpoint.")
    adapters: tuple[Adapter, ...] = param(help="One LoRA, or several, whose changes are added.")
    distilled: bool | None = param(
        default=None,
        help="Whether the two together are distilled to few steps; if left out, they are if the official name of a "
        "LoRA at strength 1 says so, and else as the checkpoint.",
    )

    def __attrs_post_init__(self) -> None:
        if not self.adapters:
            raise ValueError("adapters is empty: name a LoRA, or use the checkpoint itself")

    def check(self, parts: frozenset[str]) -> Iterable[Fault]:
        """Whether each LoRA is there, is one, and fits the checkpoint; what is to be downloaded is fine."""
        found: list[_Laid] = []
        faults: list[Fault] = []
        for adapter in self.adapters:
            try:
                place = present_lora(adapter.path, adapter.revision)
                if place is not None:
                    found.append(_Laid(adapter, read_lora(place), {}))
            except ComponentError as error:
                faults += error.faults
        try:
            checkpoint = self.base.present()
            layers = None if checkpoint is None else Layers.of(checkpoint)
        except ComponentError:  # its own check tells
            layers = None
        if layers is not None:
            fitted = [(laid.file, fit(laid.file, layers)) for laid in found]
            faults += [fault for _, one in fitted for fault in one.faults]
            faults += [
                f for file, one in fitted for f in _half_used(file, {layer.component for layer in one.pairs}, parts)
            ]
        return dict.fromkeys(faults)

    @cached_property
    def _laid(self) -> tuple[_Laid, ...]:
        """The LoRAs, found (or downloaded) and held against the checkpoint; no factors are read.

        Raises:
            ComponentError: one of them is absent, damaged or none, or does not fit.
        """
        layers = Layers.of(self.base.checkpoint)
        made: list[_Laid] = []
        faults: list[Fault] = []
        for adapter in self.adapters:
            file = read_lora(find_lora(adapter.path, adapter.revision))
            fitted = fit(file, layers)
            faults += fitted.faults
            made.append(_Laid(adapter, file, fitted.pairs))
        raise_all(dict.fromkeys(faults))
        return tuple(made)

    def fingerprint(self) -> str:
        """The identity of the weights, in hex: of the checkpoint, the LoRAs and their strengths."""
        return hashlib.sha256(f"{self.base.fingerprint()}\n{self._told}".encode()).hexdigest()

    @cached_property
    def _told(self) -> str:
        """The LoRAs by what they hold, and their strengths: "3f2a… x 0.8, …"."""
        whole = self.base.identity == "contents"
        return ", ".join(f"{_digest(one.pairs, whole=whole)} x {one.adapter.strength:g}" for one in self._laid)

    def placement(self) -> Mapping[str, str]:
        """That of the checkpoint, and what a transformer with these LoRAs tells of itself."""
        return {**self.base.placement(), **self._said()}

    def cache_facts(self) -> Mapping[str, str]:
        """What changes results beside the weights of the checkpoint."""
        return {**self.base.cache_facts(), **self._said(), "adapters": self._told}

    def part_facts(self, part: str) -> Mapping[str, Any]:
        """What the checkpoint knows of a part: the LoRAs take no memory once they are laid over it."""
        known = dict(self.base.part_facts(part))
        if "distilled" in known:
            known["distilled"] = self._distilled(known["distilled"])
        return known

    def free_memory(self) -> int | None:
        """Free bytes of the device."""
        return self.base.free_memory()

    def peak_memory(self) -> int:
        """The most bytes of the device that torch had in use since the last call; 0 on the CPU."""
        return self.base.peak_memory()

    @part
    def transformer(self, base: parts.Transformer, *, keep: bool) -> parts.Transformer:
        """The denoiser, with the LoRAs."""
        traits = {**base.traits, "distilled": self._distilled(base.traits.get("distilled"))}
        return attrs.evolve(base, traits=traits, under=self._lay("transformer", base, keep=keep))

    @part
    def connectors(self, base: parts.Connectors, *, keep: bool) -> parts.Connectors:
        """Hidden states to what the transformer reads, with the LoRAs."""
        return attrs.evolve(base, under=self._lay("connectors", base, keep=keep))

    def lift(self, part: str, value: parts.Transformer | parts.Connectors) -> None:
        """The weights as they were, bit by bit."""
        if value.under is not None:
            value.under.restore(module_of(value))

    def _lay(self, name: str, base: parts.Transformer | parts.Connectors, *, keep: bool) -> Originals:
        from stagegraph_ltx2.checkpoint.lora.lay import Change, lay_over

        changes: dict[str, list[Change]] = defaultdict(list)
        for laid in self._laid:
            for layer, pair in laid.pairs.items():
                if layer.component == name:
                    changes[layer.path].append(Change(pair, laid.adapter.strength))
        return lay_over(module_of(base), changes, keep=keep)

    def _said(self) -> Mapping[str, str]:
        return {"distilled": str(self._distilled(self.base.checkpoint.distilled)).lower()}

    def _distilled(self, base: bool | None) -> bool | None:
        """Whether the two together are distilled; None if nothing says so.

        A distilled LoRA over a checkpoint that is not distilled makes one that is. At another strength than 1 it is in
        between, and which schedule it wants, the graph has to say.
        """
        if self.distilled is not None or base:
            return base if self.distilled is None else self.distilled
        strengths = {one.adapter.strength for one in self._here() if one.file.distils} - {0.0}
        return base if not strengths else True if strengths == {1.0} else None

    def _here(self) -> Iterable[_Laid]:
        """The LoRAs, as far as they are on this machine."""
        for adapter in self.adapters:
            place = present_lora(adapter.path, adapter.revision)
            if place is not None:
                yield _Laid(adapter, read_lora(place), {})


def _half_used(file: LoraFile, changed: set[str], lent: frozenset[str]) -> Iterable[Fault]:
    """A fault if a component that a LoRA changes is not lent to any node with it."""
    for name in sorted(changed - lent):
        other = {"connectors": "text_encoding", "transformer": "denoising"}[name]
        what = f"{file.path.name} changes the {name}, too, and no node is lent this component's"
        why = "a LoRA of which a part is left out gives something else than it was trained to"
        fix = f"give a node of ltx2.{other} components: {{{name}: ...}} with this component"
        yield fault("half_used", what, where=file.path, why=why, fix=fix)


def _digest(pairs: Mapping[Layer, Pair], *, whole: bool) -> str:
    """The identity of what a LoRA adds, the same in every form of its keys."""
    digest = hashlib.sha256()
    tensors = []
    for layer, pair in sorted(pairs.items(), key=lambda item: (item[0].component, item[0].path)):
        shapes = [f"{half.info.dtype} {list(half.info.shape)}" for half in (pair.down, pair.up)]
        digest.update(f"{layer.component}.{layer.path} {pair.scale!r} {' '.join(shapes)}\n".encode())
        tensors += [pair.down, pair.up]
    for block in sampled(tensors, whole=whole):
        digest.update(block)
    return digest.hexdigest()[:SHORT]
