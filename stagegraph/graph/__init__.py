"""The graph: names resolved, types checked, acyclic, frozen.

`build(manifest, registry)` makes one from what a person wrote; `bind(drafts)` from drafts, which is what the Python
builder has. Both report every fault at once and read no weights.
"""

from stagegraph.graph.bind import Attempt, bind
from stagegraph.graph.drafts import Draft, Drafts, to_drafts, to_manifest
from stagegraph.graph.embed import embed, wrong_wires
from stagegraph.graph.faults import in_order
from stagegraph.graph.read import build, read, tried
from stagegraph.graph.values import INPUTS, OUTPUTS, Constant, Graph, Input, Node, PartRef, Ref, Source

__all__ = [
    "INPUTS",
    "OUTPUTS",
    "Attempt",
    "Constant",
    "Draft",
    "Drafts",
    "Graph",
    "Input",
    "Node",
    "PartRef",
    "Ref",
    "Source",
    "bind",
    "build",
    "embed",
    "in_order",
    "read",
    "to_drafts",
    "to_manifest",
    "tried",
    "wrong_wires",
]
