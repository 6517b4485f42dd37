"""JSON Schemas (2020-12) of what the engine reads and writes, for editors and other languages.

`python -m stagegraph.schema DIR` writes those that the engine publishes. `manifest(registry)` knows the installed
stages and components too, so that an editor completes and checks them.
"""

from stagegraph.schema.documents import SCHEMAS, manifest, render, write
from stagegraph.schema.types import DIALECT, schema

__all__ = ["DIALECT", "SCHEMAS", "manifest", "render", "schema", "write"]
