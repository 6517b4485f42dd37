"""The graph: names resolved, types checked, acyclic, frozen.

`build(manifest, registry)` makes one from what a person wrote; `bind(drafts)` from drafts, which is what the Python
builder has. Both report every fault at once and read no weights.
"""

from stagegraph.graph.bind import bind
from stagegraph.graph.drafts import Draft, Drafts, embed, to_drafts, to_manifest
from stagegraph.graph.read import build, read
from stagegraph.graph.values import INPUTS, Constant, Graph, Input, Node, PartRef, Ref, Source

__all__ = [
    "INPUTS",
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
    "read",
    "to_drafts",
    "to_manifest",
]
