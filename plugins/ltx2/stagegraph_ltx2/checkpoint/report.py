"""What a checkpoint is, what it is good for and what is wrong with it, from headers alone. Needs no torch."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType

import attrs

from stagegraph.errors import ComponentError, Fault
from stagegraph_ltx2.checkpoint.components import COMPONENTS
from stagegraph_ltx2.checkpoint.contents import LAYOUTS, Checkpoint, ComponentFiles
from stagegraph_ltx2.checkpoint.families import FAMILIES, family_of
from stagegraph_ltx2.checkpoint.header import read_header
from stagegraph_ltx2.checkpoint.lora.file import lora_family, read_lora
from stagegraph_ltx2.checkpoint.lora.summary import LoraSummary, lora_in, summary
from stagegraph_ltx2.checkpoint.official_file import OfficialFile, component_from
from stagegraph_ltx2.checkpoint.opening import Elsewhere, open_checkpoint
from stagegraph_ltx2.checkpoint.stored import Stored, foreign_formats, tensors_of

ALWAYS = ("text_encoder", "tokenizer", "connectors", "transformer", "vae")
SOUND = (*ALWAYS, "audio_vae", "vocoder")

#: What is done with a checkpoint -> the components that it takes.
USES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "video without sound": ALWAYS,
        "text to video": SOUND,
        "image to video": SOUND,
        "keyframes": SOUND,
        "audio to video": SOUND,
        "retake": SOUND,
        "continuation": SOUND,
        "two passes": (*SOUND, "latent_upsampler"),
    }
)


@attrs.frozen
class ComponentReport:
    """One component.

    Args:
        name: "transformer", "vae", …
        title: what it is called in texts.
        place: where it lies, within the checkpoint if it does.
        parameters: how many numbers its weights have.
        bytes: what they take on the disk.
        formats: their number formats, the most frequent first.
        faults: what is wrong with it.
    """

    name: str
    title: str
    place: str
    parameters: int
    bytes: int
    formats: tuple[str, ...]
    faults: tuple[Fault, ...] = ()


@attrs.frozen
class Report:
    """What is known of a checkpoint, or of a file that is a part of one.

    Args:
        path: of it.
        kind: "diffusers folder", "single file", …, "LoRA", "video VAE".
        family: the release of LTX-2; None if it does not tell.
        distilled: None if nothing says so, or it is no model.
        evidence: what says so.
        components: the parts, whole or broken.
        complete_for: what can be done with it.
        incomplete_for: what cannot -> the components that are absent or broken.
        fixes: absent component -> what to type.
        remarks: what is odd and keeps nothing from working.
        lora: what there is to say of a LoRA.
    """

    path: Path
    kind: str
    family: str | None
    distilled: bool | None = None
    evidence: str = ""
    components: tuple[ComponentReport, ...] = ()
    complete_for: tuple[str, ...] = ()
    incomplete_for: Mapping[str, tuple[str, ...]] = attrs.field(factory=dict)
    fixes: Mapping[str, str] = attrs.field(factory=dict)
    remarks: tuple[str, ...] = ()
    lora: LoraSummary | None = None

    @property
    def faults(self) -> tuple[Fault, ...]:
        """Everything that is wrong, once."""
        return tuple(dict.fromkeys(fault for component in self.components for fault in component.faults))


def report_on(path: Path, elsewhere: Elsewhere | None = None) -> Report:
    """Look at a folder or a file.

    Raises:
        ComponentError: it is nothing of LTX-2 that this release knows, or damaged as a whole.
    """
    path = lora_in(path) or path
    try:
        return _checkpoint(open_checkpoint(path, elsewhere or Elsewhere()))
    except ComponentError as error:
        if error.code != "ltx2.unsupported_checkpoint" or not path.is_file():
            raise
        part = _part(OfficialFile.read(path))
        if part is None:
            raise
        return part


def _checkpoint(checkpoint: Checkpoint) -> Report:
    components = tuple(_component(checkpoint, name) for name in checkpoint.names if name != "scheduler")
    whole = {component.name for component in components if not component.faults}
    lacking = {use: tuple(name for name in names if name not in whole) for use, names in USES.items()}
    absent = dict.fromkeys(name for names in lacking.values() for name in names if name not in checkpoint.names)
    return Report(
        checkpoint.root,
        LAYOUTS[checkpoint.layout],
        checkpoint.family,
        checkpoint.distilled,
        checkpoint.evidence,
        components,
        tuple(use for use, names in lacking.items() if not names),
        {use: names for use, names in lacking.items() if names},
        {name: checkpoint.fixes.get(name, "") for name in absent},
        (*checkpoint.remarks, *_lora_remarks(checkpoint)),
    )


def _component(checkpoint: Checkpoint, name: str) -> ComponentReport:
    title = COMPONENTS[name].title
    if name in checkpoint.broken:
        return ComponentReport(name, title, "", 0, 0, (), checkpoint.broken[name])
    files = checkpoint.found[name]
    place = _within(files, checkpoint.root)
    try:
        stored = tensors_of(files)
        faults = tuple(foreign_formats(stored, str(files.place)))
        return attrs.evolve(_measured(name, place, stored.values()), faults=faults)
    except ComponentError as error:
        return ComponentReport(name, title, place, 0, 0, (), error.faults)


def _measured(name: str, place: str, tensors: Iterable[Stored]) -> ComponentReport:
    infos = [item.info for item in tensors]
    formats: Counter[str] = Counter()
    for info in infos:
        formats[info.dtype] += info.nbytes
    return ComponentReport(
        name,
        COMPONENTS[name].title,
        place,
        sum(math.prod(info.shape) for info in infos),
        sum(info.nbytes for info in infos),
        tuple(dtype for dtype, _ in formats.most_common()),
    )


def _within(files: ComponentFiles, root: Path) -> str:
    """Where a component lies, from the checkpoint's folder on if it lies there."""
    base = root if root.is_dir() else root.parent
    first, *more = [file.path for file in files.weights] or [files.place]
    if len(more) > 1:  # shards
        first, more = files.place, []
    shown = str(first.relative_to(base) if first.is_relative_to(base) else first)
    return f"{shown} + {more[0].name}" if more else shown


def _part(file: OfficialFile) -> Report | None:
    """What a file is that is no checkpoint, if it is a part of one or changes one."""
    if file.holds.lora:
        lora = read_lora(file.path)
        return Report(file.path, "LoRA", lora.family, lora=summary(lora))
    if not file.holds.components or "transformer" in file.holds.components:
        return None
    parts = [_part_component(file, name) for name in file.holds.components]
    kind = " and ".join(component.title for component, _ in parts)
    known = [family for _, family in parts if family is not None]
    return Report(file.path, kind, max(known, default=None), components=tuple(component for component, _ in parts))


def _part_component(file: OfficialFile, name: str) -> tuple[ComponentReport, str | None]:
    """A component of a file, and its family."""
    names = file.holds.components[name]
    stored = {
        ours: Stored(file.header, stored, info)
        for stored, info in file.header.tensors.items()
        if (ours := names.ours(stored)) is not None
    }
    measured = _measured(name, file.path.name, stored.values())
    if name == "text_encoder":
        return measured, None
    if name == "connectors":  # their projection alone, which the transformer's header describes
        projections = {"video_text_proj_in.weight": "2.3", "text_proj_in.weight": "2.0"}
        return measured, next((family for key, family in projections.items() if key in stored), None)
    try:
        return measured, family_of(name, component_from(name, [file], [file]).config)
    except ComponentError as error:
        return attrs.evolve(measured, faults=error.faults), None


def _lora_remarks(checkpoint: Checkpoint) -> Iterable[str]:
    """LoRAs of another release that lie in a pack."""
    if checkpoint.layout != "split" or not checkpoint.root.is_dir():
        return
    for path in sorted((checkpoint.root / "loras").glob("*.safetensors")):
        try:
            family = lora_family(read_header(path))
        except ComponentError:
            continue
        if family in FAMILIES and family != checkpoint.family:
            yield f"loras/{path.name} is for LTX-{family}, and changes nothing sensible in LTX-{checkpoint.family}"
