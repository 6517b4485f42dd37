"""What a run leaves."""

from __future__ import annotations

from typing import Any

import attrs

from stagegraph.errors import Fault, PlanError, suggest
from stagegraph.record import RunRecord


class Outputs(dict[str, Any]):
    """The values asked for, by name; any other name is an error that says why it is not there.

    `skipped` are the outputs that no node made, because a condition did not hold: name -> reason.
    """

    def __init__(self, values: dict[str, Any], skipped: dict[str, str] | None = None) -> None:
        super().__init__(values)
        self.skipped = skipped or {}

    def __missing__(self, name: str) -> Any:
        if name in self.skipped:
            raise PlanError(Fault("skipped", f'output "{name}" was not made', why=self.skipped[name]))
        raise PlanError(Fault("unknown_output", f'output "{name}" was not asked for', fix=suggest(name, self)))


@attrs.frozen
class Run:
    """A run that has finished."""

    id: str
    outputs: Outputs
    record: RunRecord

    def __getitem__(self, name: str) -> Any:
        return self.outputs[name]
