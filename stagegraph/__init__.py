"""stagegraph: typed graphs of plugin stages, checked before anything heavy loads.

The parts that most programs use. Start at `Graph` (Python), `load` (manifests) or `stage` (plugins).
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stagegraph.builder import Graph, constant, load
    from stagegraph.components import component, part
    from stagegraph.context import Cancellation, StageContext, derive_seed
    from stagegraph.continuation import ContinuationState
    from stagegraph.errors import StagegraphError
    from stagegraph.executors.result import Run
    from stagegraph.executors.traffic import Lanes
    from stagegraph.hookspecs import Check, hookimpl
    from stagegraph.joiners import Joiner
    from stagegraph.manifest import Manifest
    from stagegraph.pool import Pool
    from stagegraph.recordreaders import RecordReader
    from stagegraph.registry import Registry
    from stagegraph.rules import param
    from stagegraph.sessions import Segment, Session
    from stagegraph.stages import outputs, stage

__all__ = [
    "Cancellation",
    "Check",
    "ContinuationState",
    "Graph",
    "Joiner",
    "Lanes",
    "Manifest",
    "Pool",
    "RecordReader",
    "Registry",
    "Run",
    "Segment",
    "Session",
    "StageContext",
    "StagegraphError",
    "component",
    "constant",
    "derive_seed",
    "hookimpl",
    "load",
    "outputs",
    "param",
    "part",
    "stage",
]

#: Where each name comes from; imported when it is first asked for, so that a plugin does not wait for the executors.
_HOMES = {
    "builder": ("Graph", "constant", "load"),
    "components": ("component", "part"),
    "context": ("Cancellation", "StageContext", "derive_seed"),
    "continuation": ("ContinuationState",),
    "errors": ("StagegraphError",),
    "executors.result": ("Run",),
    "executors.traffic": ("Lanes",),
    "hookspecs": ("Check", "hookimpl"),
    "manifest": ("Manifest",),
    "pool": ("Pool",),
    "recordreaders": ("RecordReader",),
    "joiners": ("Joiner",),
    "registry": ("Registry",),
    "rules": ("param",),
    "sessions": ("Segment", "Session"),
    "stages": ("outputs", "stage"),
}


def __getattr__(name: str) -> Any:
    from importlib import import_module

    home = next((home for home, names in _HOMES.items() if name in names), None)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"{__name__}.{home}"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
