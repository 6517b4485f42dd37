"""The documents that have a schema: the manifest, and what a run and the command line write."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from stagegraph import events, record
from stagegraph.continuation import KIND
from stagegraph.errors import Fault
from stagegraph.events import Event
from stagegraph.manifest import Manifest
from stagegraph.registry import Registry
from stagegraph.schema.installed import with_installed
from stagegraph.schema.types import Definitions, Schema, document, schema

_TEXT: Final[Schema] = {"type": "string"}

#: A node is either a stage or a graph, and a graph has no settings of its own.
_STAGE: Final[Schema] = {"required": ["stage"], "properties": {"stage": {"minLength": 1}, "graph": {"const": ""}}}
_GRAPH: Final[Schema] = {
    "required": ["graph"],
    "properties": {
        "graph": {"minLength": 1},
        "stage": {"const": ""},
        "params": {"maxProperties": 0},
        "when": {"const": True},
        "map": {"maxItems": 0},
        "timeout": {"const": None},
        "retry": {"const": None},
    },
}


def manifest(registry: Registry | None = None) -> Schema:
    """What people write.

    Args:
        registry: whose stages, components and types the schema knows; without one, names and params are left to
            `stagegraph validate`.
    """
    made = {**schema(Manifest), "title": "stagegraph manifest, format 1"}
    made["$defs"]["NodeDecl"]["oneOf"] = [_STAGE, _GRAPH]
    return made if registry is None else with_installed(made, registry)


def run() -> Schema:
    """The run record: `run.json`, and the tag of an mp4."""
    definitions = Definitions(written=True)
    made = definitions.object(record.RunRecord)
    properties = {"schema": {"const": record.SCHEMA}, **made["properties"]}
    made |= {"properties": properties, "required": list(properties), "title": "stagegraph run record, version 1"}
    return document(made, definitions)


def event_stream() -> Schema:
    """One line of what `stagegraph run --json` prints while it runs."""
    definitions = Definitions(written=True)
    definitions.define(Fault, _fault())
    kinds = [kind for kind in vars(events).values() if isinstance(kind, type) and issubclass(kind, Event)]
    members = []
    for kind in kinds:
        if kind is not Event:
            made = definitions.object(kind)
            properties = {"event": {"const": events.name_of(kind)}, **made["properties"]}
            members.append({**made, "properties": properties, "required": list(properties)})
    return document({"title": "stagegraph event", "oneOf": members}, definitions)


def envelope() -> Schema:
    """The last line of what every command prints with --json."""
    definitions = Definitions(written=True)
    definitions.define(Fault, _fault())
    texts = dict.fromkeys(("code", "message", "path", "hint"), _TEXT)
    error = {
        "type": "object",
        "description": "The first fault, in short.",
        "properties": {**texts, "retryable": {"type": "boolean"}},
        "required": [*texts, "retryable"],
    }
    faults = {"type": "array", "items": {"$ref": "#/$defs/Fault"}, "minItems": 1}
    notes = {"type": "array", "items": _TEXT, "description": "What else there is to say, such as how to go on."}
    warnings = {**faults, "description": "What is odd, but kept nothing from its end."}
    made = {
        "title": "stagegraph envelope, version 1",
        "type": "object",
        "properties": {"schema": {"const": "stagegraph.envelope/1"}, "ok": {"type": "boolean"}, "command": _TEXT},
        "required": ["schema", "ok", "command"],
        "if": {"properties": {"ok": {"const": True}}},
        "then": {"properties": {"data": {"type": "object"}}, "required": ["data"]},
        "else": {
            "properties": {"error": error, "faults": faults, "warnings": warnings, "notes": notes},
            "required": ["error", "faults"],
        },
    }
    return document(made, definitions)


def catalogue() -> Schema:
    """The `data` of `stagegraph stages --json`."""

    def rows(**more: Schema) -> Schema:
        row = {"type": "object", "properties": {"name": _TEXT, "type": _TEXT, **more}, "required": ["name", "type"]}
        return {"type": "array", "items": row}

    default = {**_TEXT, "description": 'Absent if it is required; "= " and the value as Python writes it.'}
    properties = {
        "id": _TEXT,
        "version": {"type": "integer"},
        "plugin": {**_TEXT, "description": "The plugin with its distribution and version."},
        "summary": _TEXT,
        "inputs": rows(default=default),
        "outputs": rows(),
        "lent": rows(),
        "params": rows(default=default, help={**_TEXT, "description": "What it does, and its limits."}),
    }
    stage = {"type": "object", "properties": properties, "required": list(properties)}
    made = {
        "title": "stagegraph stage catalogue",
        "type": "object",
        "properties": {"stages": {"type": "array", "items": stage}},
        "required": ["stages"],
    }
    return document(made, Definitions())


def continuation() -> Schema:
    """What one segment of a video hands to the next; the codec of its kind knows what the payload says."""
    kind = {**_TEXT, "pattern": f"^{KIND.pattern}$", "description": 'Says who can read the payload: "ltx2.v1".'}
    made = {
        "title": "stagegraph continuation state",
        "type": "object",
        "properties": {"kind": kind, "payload": {"type": "object"}},
        "required": ["kind", "payload"],
        "additionalProperties": False,
    }
    return document(made, Definitions())


def _fault() -> Schema:
    """A fault has only the fields that are set."""
    definitions = Definitions()
    made = definitions.object(Fault)
    place = {
        "type": "object",
        "properties": {"file": _TEXT, "line": {"type": ["integer", "null"]}, "column": {"type": ["integer", "null"]}},
        "required": ["file"],
    }
    made["properties"]["location"] = place
    return {name: value for name, value in made.items() if name != "additionalProperties"}


#: What `stagegraph schema` prints: name -> the file that it is published as, and what makes it.
SCHEMAS: Final[Mapping[str, tuple[str, Callable[[], Schema]]]] = MappingProxyType(
    {
        "manifest": ("manifest.v1.schema.json", manifest),
        "run": ("run.v1.schema.json", run),
        "events": ("events.schema.json", event_stream),
        "envelope": ("envelope.v1.schema.json", envelope),
        "catalogue": ("catalogue.schema.json", catalogue),
        "continuation": ("continuation.schema.json", continuation),
    }
)


def write(directory: Path) -> list[Path]:
    """Write every schema that the engine publishes into a folder; returns the files."""
    directory.mkdir(parents=True, exist_ok=True)
    paths = []
    for file, make in SCHEMAS.values():
        paths.append(directory / file)
        paths[-1].write_text(render(make()), encoding="utf-8")
    return paths


def render(content: Mapping[str, Any]) -> str:
    """A schema as the text of its file."""
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"
