"""From what a person writes to the file of a LoRA. Needs no torch."""

from __future__ import annotations

from pathlib import Path

import attrs

from stagegraph.errors import ComponentError, Fault
from stagegraph_ltx2.checkpoint.hints import contents
from stagegraph_ltx2.checkpoint.lora.scale import CONFIG, PEFT_FILE
from stagegraph_ltx2.checkpoint.resolve import present, resolve
from stagegraph_ltx2.checkpoint.weights import PICKLED
from stagegraph_ltx2.errors import failure, listed, unreadable

#: What diffusers calls its file, and PEFT its own.
NAMES = ("pytorch_lora_weights.safetensors", PEFT_FILE)

WHY = 'a LoRA is a safetensors file, a folder with one, or on Hugging Face "org/name" or "org/name/file.safetensors"'


def find_lora(name: str, revision: str | None = None) -> Path:
    """The file of a LoRA, downloaded if need be.

    Raises:
        ComponentError: as `resolve`; a folder with no such file, or several.
    """
    try:
        return _file_in(resolve(name, revision=revision, wanted=(*NAMES, CONFIG)))
    except ComponentError as error:
        raise _in_other_words(error) from None


def present_lora(name: str, revision: str | None = None) -> Path | None:
    """The file of a LoRA; None if it would have to be downloaded.

    Raises:
        ComponentError: as `find_lora`.
    """
    try:
        place = present(name, revision=revision)
        return None if place is None else _file_in(place)
    except ComponentError as error:
        raise _in_other_words(error) from None


def _in_other_words(error: ComponentError) -> ComponentError:
    """What is said of the names of checkpoints is not so of LoRAs."""
    return ComponentError(*map(_reworded, error.faults))


def _reworded(fault: Fault) -> Fault:
    if not fault.why.startswith(("a checkpoint is", "a repository of single files")):
        return fault
    what = fault.what.replace("is no checkpoint in folders", f"has no {' and no '.join(NAMES)}")
    return attrs.evolve(fault, what=what, why=WHY)


def _file_in(place: Path) -> Path:
    try:
        return _only_file(place) if place.is_dir() else place
    except OSError as error:
        raise unreadable(place, error) from None


def _only_file(place: Path) -> Path:
    """The one LoRA in a folder."""
    for name in NAMES:
        if (place / name).is_file():
            return place / name
    files = sorted(place.glob("*.safetensors"))
    if len(files) == 1:
        return files[0]
    if files:
        what = f"{place} has {len(files)} files: {listed([file.name for file in files])}"
        fix = f"give the path of one, e.g. {files[0]}"
        raise failure("ambiguous_file", what, where=place, why="which of them is meant cannot be told", fix=fix)
    pickled = sorted(entry.name for entry in place.iterdir() if entry.suffix in PICKLED)
    if pickled:
        why = "pickles can run code when they are opened, so they never are"
        what = f"{place.name} has {listed(pickled)} and no safetensors file"
        raise failure("pickled_weights", what, where=place, why=why, fix="save it as safetensors")
    what = f"{place} has no LoRA"
    raise failure("missing_file", what, where=place, why=f"{contents(place)}; {WHY}")
