"""From the pieces that a layout has to a checkpoint: one family, one text encoder that fits. Needs no torch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import attrs

from stagegraph.errors import ComponentError, Fault
from stagegraph_ltx2.checkpoint.contents import Checkpoint, ComponentFiles, Layout
from stagegraph_ltx2.checkpoint.families import FAMILIES, family_of, mixed, refused
from stagegraph_ltx2.checkpoint.hints import download_gemma
from stagegraph_ltx2.errors import fault, unreadable


@attrs.define
class Pieces:
    """What was found of a checkpoint, before its parts are compared.

    Args:
        root: the folder or file.
        layout: how it lies there.
        family: the release that it says that it is of; None if it does not say.
        distilled, evidence, remarks, fixes: as in `Checkpoint`.
        found: the components that can be loaded.
        broken: what keeps others from it.
    """

    root: Path
    layout: Layout
    family: str | None = None
    distilled: bool | None = None
    evidence: str = ""
    found: dict[str, ComponentFiles] = attrs.field(factory=dict)
    broken: dict[str, tuple[Fault, ...]] = attrs.field(factory=dict)
    remarks: list[str] = attrs.field(factory=list)
    fixes: dict[str, str] = attrs.field(factory=dict)

    def look(self, name: str, find: Callable[[], ComponentFiles | None]) -> None:
        """Find a component, or keep what is wrong with it."""
        self.look_for([name], lambda: [find()])

    def look_for(self, names: Iterable[str], find: Callable[[], Iterable[ComponentFiles | None]]) -> None:
        """Find components that come together."""
        try:
            made = [files for files in find() if files is not None]
        except ComponentError as error:
            faults = error.faults
        except OSError as error:
            faults = unreadable(self.root, error).faults
        else:
            for files in made:
                self.put(files)
            return
        for name in names:
            self.found.pop(name, None)
            self.broken[name] = faults

    def put(self, files: ComponentFiles) -> None:
        """Take a component, in place of one that is there."""
        self.found[files.name] = files
        self.broken.pop(files.name, None)


def assemble(pieces: Pieces) -> Checkpoint:
    """The checkpoint that the pieces are.

    A component of another family than the transformer's, and a text encoder of another size than the connectors read,
    count as broken.

    Raises:
        ComponentError: a family that this release does not run.
    """
    families = {name: family_of(name, files.config) for name, files in pieces.found.items()}
    told = [family for family in families.values() if family is not None]
    family = families.get("transformer") or pieces.family or max(told, default=FAMILIES[0])
    latest = max([family, *told])
    if latest not in FAMILIES:
        raise refused(pieces.root, latest)
    found, broken = dict(pieces.found), dict(pieces.broken)
    for name, own in families.items():
        if own not in (None, family):
            broken[name] = (mixed(found.pop(name).place, name, str(own), family),)
    mismatch = _other_encoder(found)
    if mismatch is not None:
        del found["text_encoder"]
        broken["text_encoder"] = (mismatch,)
    return Checkpoint(
        pieces.root,
        pieces.layout,
        family,
        pieces.distilled,
        pieces.evidence,
        found,
        broken,
        tuple(pieces.remarks),
        pieces.fixes,
    )


def _other_encoder(found: Mapping[str, ComponentFiles]) -> Fault | None:
    """A fault if the hidden states of the text encoder are not those that the connectors read."""
    encoder, connectors = found.get("text_encoder"), found.get("connectors")
    if encoder is None or connectors is None:
        return None
    text = encoder.config.get("text_config", encoder.config)
    width, layers = (text.get("hidden_size"), text.get("num_hidden_layers")) if isinstance(text, Mapping) else (0, 0)
    wanted: Any
    states: Any
    wanted, states = (connectors.config.get(key) for key in ("caption_channels", "text_proj_in_factor"))
    if not all(type(number) is int for number in (width, layers, wanted, states)):
        return None
    if (width, layers) == (wanted, states - 1):  # the embeddings count as one more layer
        return None
    return fault(
        "text_encoder_mismatch",
        f"the text encoder has {layers} layers of width {width}",
        where=encoder.place,
        why=f"the text connectors were trained on {states - 1} layers of width {wanted}",
        fix=f"set text_encoder_path to the Gemma 3 of 12B: {download_gemma(Path('gemma'))}",
    )
