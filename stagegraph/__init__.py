"""stagegraph: typed graphs of plugin stages, checked before anything heavy loads.

The parts that most programs use. Start at `Graph` (Python), `load` (manifests) or `stage` (plugins).
"""

from stagegraph.builder import Graph, load
from stagegraph.components import Pool, component, part
from stagegraph.context import Cancellation, StageContext, derive_seed
from stagegraph.errors import StagegraphError
from stagegraph.executors.serial import Run
from stagegraph.hookspecs import Check, hookimpl
from stagegraph.manifest import Manifest
from stagegraph.registry import Registry
from stagegraph.rules import param
from stagegraph.stages import outputs, stage

__all__ = [
    "Cancellation",
    "Check",
    "Graph",
    "Manifest",
    "Pool",
    "Registry",
    "Run",
    "StageContext",
    "StagegraphError",
    "component",
    "derive_seed",
    "hookimpl",
    "load",
    "outputs",
    "param",
    "part",
    "stage",
]
