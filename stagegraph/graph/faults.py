"""Collecting what is wrong with a graph, with the places where it was written."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from stagegraph.errors import Fault, Location
from stagegraph.serde import Path, dotted

Locate = Callable[[Path, bool], Location | None]


class Faults:
    """Faults so far.

    Args:
        locate: where a part of the document was written.
        faults: what is known already.
    """

    def __init__(self, locate: Locate, faults: list[Fault]) -> None:
        self._locate = locate
        self.faults = faults

    def add(self, path: Path, code: str, what: str, why: str = "", fix: str = "", at_key: bool = False) -> None:
        """Something is wrong with what stands at a path; `at_key` if it is the key that is wrong."""
        self.faults.append(Fault(code, what, dotted(path), why, fix, self._locate(path, at_key)))

    def adopt(self, path: Path, fault: Fault) -> None:
        """A fault that somebody else found, of what stands at a path."""
        self.add(path, fault.code, fault.what, fault.why, fault.fix)


def once(faults: Iterable[Fault]) -> list[Fault]:
    """Each fault once: a graph that is embedded is looked at alone, and wherever it is used."""
    return list({(f.code, f.what, f.location or f.where): f for f in reversed(list(faults))}.values())[::-1]


def in_order(faults: list[Fault]) -> list[Fault]:
    """Faults in the order of reading: file after file, as they were met, and within a file from top to bottom."""
    files = list(dict.fromkeys(fault.location.file if fault.location else "" for fault in faults))

    def place(fault: Fault) -> tuple[int, int, int]:
        at = fault.location
        return (files.index(at.file), at.line or 0, at.column or 0) if at else (files.index(""), 0, 0)

    return sorted(faults, key=place)


def listed(ports: Mapping[str, Any]) -> str:
    """Ports with their types: `image Image, strength float?`."""
    return named(str(port) for port in ports.values())


def named(names: Any) -> str:
    """Names in a row."""
    return ", ".join(names) or "none"
