"""What every command prints: lines for people, or one JSON envelope for programs.

Of several processes that were started together, the first speaks for all.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final

from stagegraph.errors import Fault, StagegraphError
from stagegraph.ranks import is_first

ENVELOPE: Final = "stagegraph.envelope/1"

_CONTROLS: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def say(text: str = "") -> None:
    """A line of a result, to stdout."""
    if is_first():
        print(text)  # noqa: T201


def tell(text: str) -> None:
    """A line for the person in front of the screen, to stderr."""
    if is_first():
        print(printable(text), file=sys.stderr)  # noqa: T201


def printable(text: str) -> str:
    """A text that may come from anybody, without what would steer a terminal."""
    return _CONTROLS.sub(lambda found: f"\\x{ord(found[0]):02x}", text)


def warn(*faults: Fault) -> None:
    """What is odd, but keeps nothing from its end; to stderr."""
    for fault in faults:
        tell(str(fault).replace("error[", "warning[", 1))


def succeed(command: str, data: Mapping[str, Any]) -> None:
    """The envelope of a command that did its work."""
    say_json({"schema": ENVELOPE, "ok": True, "command": command, "data": data})


def fail(command: str, error: StagegraphError, as_json: bool, warnings: Sequence[Fault] = ()) -> None:
    """Tell what went wrong: all faults as text to stderr, or the envelope to stdout, with what was odd beside."""
    notes = list(getattr(error, "__notes__", ()))
    if not as_json:
        tell(str(error))
        inputs = getattr(error, "inputs", None)
        if inputs:
            tell("  inputs: " + ", ".join(f"{name} {value}" for name, value in inputs.items()))
        if len(error.faults) > 1:
            tell(f"{len(error.faults)} errors")
        for note in notes:
            tell(note)
        return
    first = error.faults[0]
    summary = {
        "code": first.code,
        "message": first.what,
        "path": str(first.location or first.where),
        "hint": first.fix,
        "retryable": error.retryable,
    }
    faults = [fault.as_dict() for fault in error.faults]
    envelope = {"schema": ENVELOPE, "ok": False, "command": command, "error": summary, "faults": faults}
    odd = {"warnings": [fault.as_dict() for fault in warnings]} if warnings else {}
    say_json({**envelope, **odd, **({"notes": notes} if notes else {})})


def say_json(data: Mapping[str, Any]) -> None:
    """One line of NDJSON."""
    say(json.dumps(data, ensure_ascii=False, default=str))


def table(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Rows as lines with aligned columns; the last column is not padded."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]) - 1)] if rows else []
    return [
        "  ".join([*(cell.ljust(w) for cell, w in zip(row, widths, strict=False)), row[-1]]).rstrip() for row in rows
    ]
