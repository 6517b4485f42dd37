"""Formats of manifests: a manifest of an older format becomes one of the newest, step by step, with its comments.

A step is a pure function from the plain data of one format to that of the next; the number under `stagegraph` is
raised for it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from pathlib import PurePath
from typing import Any, Final

import attrs

from stagegraph import yaml
from stagegraph.document import Document
from stagegraph.errors import Fault, ManifestError
from stagegraph.serde import describe

#: Plain data of format n to plain data of format n + 1.
Step = Callable[[Mapping[str, Any]], Mapping[str, Any]]

#: The first step takes format 1, so this release writes format 1 + len(STEPS).
STEPS: Final[Sequence[Step]] = ()


@attrs.frozen
class Migrated:
    """A manifest in the newest format; `before` equals `after` where nothing was to be done."""

    text: str
    before: int
    after: int


def migrate(document: Document, steps: Sequence[Step]) -> Migrated:
    """A manifest in the newest format, with its comments, order and layout; JSON stays JSON.

    Args:
        document: as read, of any format.
        steps: the first takes format 1; `STEPS`.

    Raises:
        ManifestError: the document says no format, or one that this release does not know.
    """
    newest = 1 + len(steps)
    before = _format(document, newest)
    if before == newest:
        return Migrated(document.text, before, newest)
    data = deepcopy(document.data)
    for number, step in enumerate(steps[before - 1 :], before + 1):
        data = {**step(data), "stagegraph": number}
    if PurePath(document.file).suffix == ".json":
        text = json.dumps(data, indent=2, ensure_ascii=False) + "\n"
    else:
        text = yaml.rewrite(document.text, data)
    return Migrated(text, before, newest)


def _format(document: Document, newest: int) -> int:
    data = document.data if isinstance(document.data, dict) else {}
    if "stagegraph" not in data:
        what = 'this is no manifest: it has no "stagegraph"'
        fix = f"write stagegraph: {newest}"
        raise ManifestError(Fault("missing_key", what, fix=fix, location=document.locate(())))
    found = data["stagegraph"]
    if type(found) is not int or not 1 <= found <= newest:
        what = f"the manifest has format version {describe(found)}"
        why = f"this release reads versions 1 to {newest}" if newest > 1 else "this release reads version 1"
        fix = "upgrade stagegraph" if type(found) is int and found > newest else ""
        location = document.locate(("stagegraph",))
        raise ManifestError(Fault("unsupported_version", what, why=why, fix=fix, location=location))
    return found
