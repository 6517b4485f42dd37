"""stagegraph: typed graphs of plugin stages, checked before anything heavy loads.

The parts that most programs use. Start at `Graph` (Python), `load` (manifests) or `stage` (plugins).
"""

from stagegraph.builder import Graph, constant, load
from stagegraph.components import component, part
from stagegraph.context import Cancellation, StageContext, derive_seed
from stagegraph.errors import StagegraphError
from stagegraph.executors.result import Run
from stagegraph.executors.threads import Lanes
from stagegraph.hookspecs import Check, hookimpl
from stagegraph.manifest import Manifest
from stagegraph.pool import Pool
from stagegraph.recordreaders import RecordReader
from stagegraph.registry import Registry
from stagegraph.rules import param
from stagegraph.stages import outputs, stage

__all__ = [
    "Cancellation",
    "Check",
    "Graph",
    "Lanes",
    "Manifest",
    "Pool",
    "RecordReader",
    "Registry",
    "Run",
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
