"""A document that was read: plain data, and where each part of it stands in the text."""

from __future__ import annotations

from typing import Any

import attrs

from stagegraph.errors import Location
from stagegraph.serde import Path


@attrs.frozen
class Document:
    """Plain data and where it stands.

    `values` and `keys` give (line, column), from 1, for each path: the value there, the key that leads to it.
    """

    data: Any
    file: str
    text: str
    values: dict[Path, tuple[int, int]] = attrs.field(repr=False)
    keys: dict[Path, tuple[int, int]] = attrs.field(repr=False)

    def locate(self, path: Path, at_key: bool = False) -> Location:
        """The place of a path, or of the nearest place above it that the text has."""
        for end in range(len(path), -1, -1):
            first, second = (self.keys, self.values) if at_key and end == len(path) else (self.values, self.keys)
            place = first.get(path[:end]) or second.get(path[:end])
            if place is not None:
                return Location(self.file, *place)
        return Location(self.file)
