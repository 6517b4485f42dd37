"""Files that hold the configuration of a pipeline: JSON, bounded before it is believed. Needs no torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stagegraph.errors import ComponentError, Fault
from stagegraph.serde import StructureError, dotted
from stagegraph.strictjson import JsonLimits, read
from stagegraph_ltx2.errors import failure, unreadable

#: How much of a file is read; one that sets every field has some 20 kB.
LIMITS = JsonLimits(max_bytes=2**20, max_depth=8, max_tokens=20_000)


def read_fields(path: Path) -> Mapping[str, Any]:
    """The JSON object in a file.

    Raises:
        ComponentError: the file is absent, unreadable, larger than `LIMITS`, or no JSON object.
    """
    try:
        if not path.is_file():
            why = "pipeline_config_path names a JSON file with fields of LTX2T2VConfig"
            raise failure("missing_file", f"there is no file {path}", where=path, why=why, fix=f"ls {path.parent}")
        with path.open("rb") as file:
            data = file.read(LIMITS.max_bytes + 1)
    except OSError as error:
        raise unreadable(path, error) from None
    try:
        plain = read(data, LIMITS)
    except StructureError as error:
        raise unfit(error, path) from None
    if not isinstance(plain, dict):
        what = f"{path.name} holds a JSON {type(plain).__name__}"
        raise failure("bad_json", what, where=path, why="it must be an object with fields of LTX2T2VConfig")
    return plain


def unfit(error: StructureError, path: Path) -> ComponentError:
    """Problems of a file, as faults that say where in it."""
    places = ((f"{path}: {dotted(each.path)}" if each.path else str(path), each) for each in error.problems)
    return ComponentError(*(Fault(each.code, each.what, where, each.why, each.fix) for where, each in places))
