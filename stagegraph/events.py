"""What a run says while it runs: the API that progress bars, logs, servers and tests consume."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import attrs

from stagegraph.errors import Fault


@attrs.frozen
class Event:
    """Something that happened; `run` is the id of the run."""

    run: str


@attrs.frozen
class RunStarted(Event):
    """The first event."""

    graph: str
    steps: int


@attrs.frozen
class ComponentLoading(Event):
    """A part of a component is being loaded."""

    component: str
    part: str


@attrs.frozen
class ComponentLoaded(Event):
    """It is there."""

    component: str
    part: str
    seconds: float


@attrs.frozen
class ComponentOffloaded(Event):
    """It was moved out of the device's memory until it is lent again."""

    component: str
    part: str


@attrs.frozen
class ComponentReleased(Event):
    """No later step is lent it."""

    component: str
    part: str


@attrs.frozen
class NodeStarted(Event):
    """A node's stage is called; `step` counts from 1."""

    node: str
    stage: str
    step: int


@attrs.frozen
class NodeProgress(Event):
    """The stage has done `done` of `total` of its own steps."""

    node: str
    done: int
    total: int
    message: str


@attrs.frozen
class NodeFinished(Event):
    """The stage has returned."""

    node: str
    seconds: float


@attrs.frozen
class NodeRetried(Event):
    """A call failed with an error that may pass; the next one comes after `delay` seconds.

    `attempt` is the number of the call that failed, from 1, of `attempts` in all.
    """

    node: str
    attempt: int
    attempts: int
    delay: float
    faults: tuple[Fault, ...]


@attrs.frozen
class NodeReused(Event):
    """The stage was not called: its outputs were kept from an earlier run, or what would read them was."""

    node: str


@attrs.frozen
class CacheWarning(Event):
    """Something kept could not be used, or something could not be kept; the stage ran instead."""

    faults: tuple[Fault, ...]


@attrs.frozen
class NodeSkipped(Event):
    """The stage was not called: a condition did not hold, or what it needs was skipped."""

    node: str
    why: str


@attrs.frozen
class NodeFailed(Event):
    """The stage raised."""

    node: str
    faults: tuple[Fault, ...]


@attrs.frozen
class RunFinished(Event):
    """The last event of a run that succeeded."""

    seconds: float


@attrs.frozen
class RunFailed(Event):
    """The last event of a run that failed."""

    faults: tuple[Fault, ...]


@attrs.frozen
class RunCancelled(Event):
    """The last event of a run that was cancelled."""


#: Receives every event, in order, in the thread of the run.
Listener = Callable[[Event], None]


def name_of(kind: type[Event]) -> str:
    """What a kind of event is called in JSON: `NodeStarted` is "node_started"."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", kind.__name__).lower()


def as_dict(event: Event) -> dict[str, Any]:
    """Plain JSON: {"event": "node_started", "run": ..., ...}."""
    data = {field.name: getattr(event, field.name) for field in attrs.fields(type(event))}
    if "faults" in data:
        data["faults"] = [fault.as_dict() for fault in data["faults"]]
    return {"event": name_of(type(event)), **data}
