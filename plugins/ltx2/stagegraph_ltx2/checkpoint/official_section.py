"""One section of the configuration in an official file, read key by key. Needs no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from stagegraph_ltx2.model.config import ConfigError

Shapes = Mapping[str, Sequence[int]]

#: In place of a value that is absent; None may be one.
MISSING = object()


class Section:
    """A section whose keys are taken one by one; what is wrong or left over is told at the end."""

    def __init__(self, title: str, values: Any) -> None:
        self.title = title
        self.faults: list[str] = []
        if not isinstance(values, Mapping):
            raise ConfigError(title, (f"{title} is no object",))
        self.rest = dict(values)

    def take(self, key: str, default: Any = None) -> Any:
        """The value of a key, which is done with."""
        return self.rest.pop(key, default)

    def whole(self, key: str, default: int) -> int:
        """The value of a key that must be a whole number."""
        found = self.take(key, default)
        if type(found) is int:
            return found
        self.faults.append(f"{key}={found!r:.80} must be a whole number")
        return default

    def same(self, constants: Mapping[str, Any]) -> None:
        """Take keys that have one value in every release, or are absent."""
        for key, value in constants.items():
            found = self.take(key, value)
            if found != value:
                self.faults.append(f"{key}={found!r:.80} is in no released LTX-2 model; supported: {value!r}")

    def renamed(self, table: Mapping[str, str]) -> dict[str, Any]:
        """What is there of a table, under our names."""
        return {ours: self.rest.pop(name) for name, ours in table.items() if name in self.rest}

    def drop(self, names: frozenset[str] | set[str]) -> None:
        """Pass over keys."""
        for name in names:
            self.rest.pop(name, None)

    def close(self) -> None:
        """Raise if anything was wrong or is left."""
        self.faults += [f"{key} is not a key of {self.title} that is known here" for key in sorted(self.rest)]
        self.check()

    def check(self) -> None:
        """Raise if anything was wrong."""
        if self.faults:
            raise ConfigError(self.title, tuple(self.faults))
