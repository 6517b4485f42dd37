"""What a run leaves."""

from __future__ import annotations

from typing import Any

import attrs

from stagegraph.errors import Fault, PlanError, suggest
from stagegraph.record import Recorder, RunRecord


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
    _recorder: Recorder = attrs.field(repr=False)

    @property
    def record(self) -> RunRecord:
        """What made the outputs: the graph, params, versions, fingerprints, times."""
        return self._recorder.record()

    def __getitem__(self, name: str) -> Any:
        return self.outputs[name]

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        """What a notebook shows: the outputs."""
        from stagegraph.views.notebook import run_bundle

        return run_bundle(self.record, self.outputs)
