"""What a checkpoint consists of, whichever way it lies on the disk. Needs no torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import attrs

from stagegraph.errors import ComponentError, Fault, suggest
from stagegraph_ltx2.checkpoint.components import COMPONENTS
from stagegraph_ltx2.checkpoint.names import AS_STORED, Names
from stagegraph_ltx2.errors import failure, raise_all

Layout = Literal["diffusers", "single", "split", "fastvideo"]

#: Layout -> what it is called in texts.
LAYOUTS: Mapping[Layout, str] = {
    "diffusers": "diffusers folder",
    "single": "single file",
    "split": "split pack",
    "fastvideo": "FastVideo folder",
}


@attrs.frozen
class WeightFile:
    """A safetensors file, and which of its tensors a network takes under which names."""

    path: Path
    names: Names = AS_STORED


@attrs.frozen
class Asset:
    """Bytes that belong to a component beside its weights: a file, or a tensor inside one.

    Args:
        path: the file.
        offset: the first byte.
        size: how many; None is all of the file.
    """

    path: Path
    offset: int = 0
    size: int | None = None


@attrs.frozen
class ComponentFiles:
    """Where a component lies, checked: every file exists and belongs to the checkpoint.

    Args:
        name: "transformer", "vae", …
        place: the folder or file that it lies in, for errors.
        config: what it is built from, in the terms of a diffusers folder.
        config_path: the file that says so.
        weights: the files that hold its tensors.
        assets: what else it needs, by the names that these files have in a folder: "tokenizer.json".
    """

    name: str
    place: Path
    config: Mapping[str, Any]
    config_path: Path
    weights: tuple[WeightFile, ...] = ()
    assets: Mapping[str, Asset] = attrs.field(factory=dict)


@attrs.frozen
class Checkpoint:
    """An LTX-2 model that this release can open, as far as its parts are there. No weights were read.

    Args:
        root: the folder or file.
        layout: how it lies there.
        family: the release of the model: "2.0" or "2.3".
        distilled: whether it was distilled to few steps; None if nothing says so.
        evidence: what says so.
        found: the components that can be loaded.
        broken: what keeps others from it.
        remarks: what is odd about it and keeps nothing from loading.
        fixes: component -> what to type where it is absent.
    """

    root: Path
    layout: Layout
    family: str
    distilled: bool | None
    evidence: str
    found: Mapping[str, ComponentFiles]
    broken: Mapping[str, tuple[Fault, ...]]
    remarks: tuple[str, ...] = ()
    fixes: Mapping[str, str] = attrs.field(factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """The components that are there, whole or broken."""
        return tuple(name for name in COMPONENTS if name in self.found or name in self.broken)

    def component(self, name: str) -> ComponentFiles:
        """The files of one component.

        Raises:
            ComponentError: as `components`.
        """
        return self.components([name])[0]

    def components(self, names: Iterable[str]) -> tuple[ComponentFiles, ...]:
        """The files of several components.

        Raises:
            ComponentError: for all of them at once: an unknown or absent component, absent or pickled weights, absent
                or ambiguous files, a file name that leads out of the checkpoint, a component of another model.
        """
        found: list[ComponentFiles] = []
        faults: list[Fault] = []
        for name in names:
            if name in self.found:
                found.append(self.found[name])
            else:
                faults += self.broken.get(name) or self._absent(name).faults
        raise_all(dict.fromkeys(faults))
        return tuple(found)

    def _absent(self, name: str) -> ComponentError:
        if name not in COMPONENTS:
            return failure("no_such_component", f'no component is called "{name}"', fix=suggest(name, COMPONENTS))
        return failure(
            "missing_component",
            f"the checkpoint has no {COMPONENTS[name].title}",
            where=self.root,
            why=f"it is a {LAYOUTS[self.layout]} with {', '.join(self.names) or 'no component'}",
            fix=self.fixes.get(name, ""),
        )
