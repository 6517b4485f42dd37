"""The error codes of this plugin, and how its faults are made. Needs no torch.

Everything that is wrong with a checkpoint is a `stagegraph.errors.ComponentError`: something to download or to mend.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from stagegraph.errors import ComponentError, Fault, RunError
from stagegraph.serde import Problem, StructureError

#: Code -> what it says. Codes are stable: programs match on them.
CODES: dict[str, str] = {
    "ltx2.no_such_checkpoint": "no folder, shipped checkpoint or Hugging Face repository has this name",
    "ltx2.not_shipped": "the trained checkpoint of the package is missing from this installation",
    "ltx2.no_such_component": "no component of an LTX-2 checkpoint has this name",
    "ltx2.missing_component": "a component that the checkpoint does not contain",
    "ltx2.mixed_families": "components of different releases of LTX-2 in one checkpoint, or a LoRA of another release",
    "ltx2.text_encoder_mismatch": "a text encoder of another size than the checkpoint was trained with",
    "ltx2.undecided": "a checkpoint that does not say whether it is distilled, where that must be known",
    "ltx2.no_room": "files that do not fit on the disk",
    "ltx2.missing_file": "a file that the layout of a checkpoint requires",
    "ltx2.ambiguous_file": "two sets of weights where one is expected",
    "ltx2.unreadable_file": "a file that the operating system does not let us read or write",
    "ltx2.not_empty": "a folder that would be overwritten",
    "ltx2.pickled_weights": "weights in a format that can run code when it is opened",
    "ltx2.outside_checkpoint": "a file name that leads out of the checkpoint",
    "ltx2.unsupported_checkpoint": "a checkpoint of another model, version or layout than this release opens",
    "ltx2.bad_json": "a JSON file that is damaged, or not of the form that its place requires",
    "ltx2.bad_config": "a component's configuration that this release cannot build",
    "ltx2.bad_tokenizer": "a tokenizer that cannot be used",
    "ltx2.too_large": "a file that exceeds a documented limit",
    "ltx2.not_safetensors": "a file with the name of a safetensors file and another content",
    "ltx2.truncated": "a file that is shorter than it says",
    "ltx2.bad_header": "a safetensors header that contradicts itself or its file",
    "ltx2.missing_tensor": "a tensor that the model needs and the checkpoint lacks",
    "ltx2.unexpected_tensor": "a tensor that the model has no place for",
    "ltx2.duplicate_tensor": "one tensor stored twice",
    "ltx2.tensor_shape": "a tensor of another shape than the model's",
    "ltx2.tensor_dtype": "a tensor of a number format that this release does not load",
    "ltx2.not_a_lora": "a file that is no LoRA where one is expected",
    "ltx2.bad_lora": "a LoRA that contradicts itself, or an adapter of another kind",
    "ltx2.unknown_layer": "a LoRA that changes layers that the model does not have",
    "ltx2.half_used": "a LoRA that changes two components, of which one is lent as it is",
    "ltx2.prompt_too_long": "a prompt of more tokens than the model reads",
    "ltx2.no_negative_text": "guidance without a negative prompt to move away from",
    "ltx2.contradiction": "settings that do not fit each other, the checkpoint or the latents",
    "ltx2.no_such_frame": "a frame that the video does not have, or that cannot be used so",
    "ltx2.no_such_time": "a time that the video does not have",
    "ltx2.out_of_memory": "a device that had no memory left for what a stage does",
    "ltx2.no_such_device": "a device that this machine does not have",
    "ltx2.text_function": "a function over prompts or hidden states that is not registered, or cannot be used",
    "ltx2.other_config": "a checkpoint that is not what the configuration of a pipeline says",
    "ltx2.set_twice": "a setting of a pipeline that its file sets, too, to another value",
    "ltx2.autocast": "a number format that somebody else changes behind the back of a pipeline",
    "ltx2.rank_lost": "one of several processes that share a transformer ended before its time",
    "ltx2.no_such_dtype": "a number format that models cannot run in",
    "ltx2.bad_base64": "a text that is not base64 in its one canonical form",
    "ltx2.bad_png": "a frame that is not a PNG file of the one kind that continuation states hold",
    "ltx2.bad_frames": "frames that do not go together, or are packed wrongly",
    "ltx2.bad_tensor": "latents that are not one safetensors tensor of finite numbers",
    "ltx2.hub_offline": "a checkpoint that is not on this machine while downloads are switched off or impossible",
    "ltx2.hub_denied": "a Hugging Face repository that this account may not read",
    "ltx2.hub_failed": "a download that failed",
}


class RankError(RunError):
    """One of several processes that share a transformer was lost; the next call starts others."""

    retryable = True


#: How many faults of one kind a message lists; a wrong model has thousands.
LISTED = 20


def fault(code: str, what: str, *, where: Path | str = "", why: str = "", fix: str = "") -> Fault:
    """A fault of this plugin.

    Args:
        code: without the prefix "ltx2.".
        what: what is wrong, with the value.
        where: the path.
        why: the rule, and what else would be allowed.
        fix: something to type.
    """
    return Fault(f"ltx2.{code}", what, where=str(where), why=why, fix=fix)


def problem(code: str, what: str, why: str = "", fix: str = "") -> StructureError:
    """What is wrong with a part of a continuation state; whoever reads the whole knows the path.

    Args:
        code: without the prefix "ltx2.".
        what: what is wrong, with the value.
        why: the rule.
        fix: something to type.
    """
    return StructureError([Problem((), f"ltx2.{code}", what, why, fix)])


def failure(code: str, what: str, *, where: Path | str = "", why: str = "", fix: str = "") -> ComponentError:
    """An error of one fault."""
    return ComponentError(fault(code, what, where=where, why=why, fix=fix))


def raise_all(faults: Iterable[Fault | None]) -> None:
    """Raise one error of all the faults that there are."""
    found = [fault for fault in faults if fault]
    if found:
        raise ComponentError(*found)


def plain(name: str) -> str:
    """A name out of a file, fit to be printed: no control characters, no broken Unicode, of a readable length."""
    short = name if len(name) <= 100 else name[:100] + "…"
    return short if short.isprintable() else repr(short)


def listed(lines: Sequence[str]) -> str:
    """The first lines, and how many more there are."""
    rest = len(lines) - LISTED
    return "; ".join(lines[:LISTED]) + (f"; … and {rest} more" if rest > 0 else "")


def unreadable(path: Path, error: OSError) -> ComponentError:
    """The error for a path that the operating system refuses."""
    return failure(
        "unreadable_file",
        f"{path.name} cannot be used: {error.strerror or error}",
        where=path,
        why="the operating system refused it",
        fix=f"ls -ld {path.parent} {path}",
    )
