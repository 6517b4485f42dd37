"""The schema of manifests, with what is installed: an editor completes stages, params, inputs and components."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping

from stagegraph.components import ComponentSpec
from stagegraph.graph import INPUTS
from stagegraph.graph.values import NAME
from stagegraph.ports import Port, type_name
from stagegraph.record import plain
from stagegraph.registry import Registry
from stagegraph.schema.types import Definitions, Schema
from stagegraph.stages import StageSpec


def with_installed(manifest: Schema, registry: Registry) -> Schema:
    """The schema of manifests that name what a registry has, and set what that takes."""
    definitions = Definitions()
    made = {**manifest, "properties": dict(manifest["properties"]), "$defs": dict(manifest["$defs"])}
    for section, reserved in (("inputs", []), ("components", []), ("nodes", [INPUTS])):
        names = {"pattern": f"^(?:{NAME.pattern})$", **({"not": {"enum": reserved}} if reserved else {})}
        made["properties"][section] = {**made["properties"][section], "propertyNames": names}
    made["$defs"] |= {
        "NodeDecl": _choice(
            manifest["$defs"]["NodeDecl"],
            "stage",
            {id: (spec.version, _summary(spec)) for id, spec in sorted(registry.stages.items())},
            {id: _node(spec, definitions) for id, spec in sorted(registry.stages.items())},
        ),
        "ComponentDecl": _choice(
            manifest["$defs"]["ComponentDecl"],
            "kind",
            {kind: (None, spec.summary) for kind, spec in sorted(registry.components.items())},
            {kind: _params(spec, definitions) for kind, spec in sorted(registry.components.items())},
        ),
        "InputDecl": _input(manifest["$defs"]["InputDecl"], registry),
    }
    made["$defs"] |= definitions.schemas
    return {**made, "title": f"{manifest['title']}, with the installed plugins"}


def _choice(
    declaration: Schema, key: str, names: Mapping[str, tuple[int | None, str]], branches: Mapping[str, Schema]
) -> Schema:
    """A declaration whose `key` names one of several things; what else it may hold depends on which."""
    listed = {"enum": list(names), "enumDescriptions": [summary for _, summary in names.values()]}
    versioned = [f"{name}@{version}" for name, (version, _) in names.items() if version is not None]
    pattern = f"^(?:{'|'.join(map(re.escape, versioned))})$"
    choice = {"anyOf": [listed, {"pattern": pattern}]} if versioned else listed
    conditions = []
    for name, branch in branches.items():
        version = names[name][0]
        same = {"const": name} if version is None else {"enum": [name, f"{name}@{version}"]}
        conditions.append({"if": {"properties": {key: same}, "required": [key]}, "then": branch})
    properties = {**declaration["properties"], key: {**declaration["properties"][key], **choice}}
    return {**declaration, "properties": properties, **({"allOf": conditions} if conditions else {})}


def _node(spec: StageSpec, definitions: Definitions) -> Schema:
    """What a node of a stage may hold beside its stage."""
    params = _params(spec, definitions)
    inputs = {name: _wire(port) for name, port in spec.inputs.items()}
    wired = [name for name, port in spec.inputs.items() if port.required]
    lent = {
        name: {"type": "string", "description": f"A component that lends {_named(spec, name)}."} for name in spec.lent
    }
    sections = {
        **params["properties"],
        "inputs": {"type": "object", "properties": inputs, "required": wired, "additionalProperties": False},
        "components": {"type": "object", "properties": lent, "additionalProperties": False},
    }
    return {"properties": sections, "required": [*params["required"], *(["inputs"] if wired else [])]}


def _params(spec: StageSpec | ComponentSpec, definitions: Definitions) -> Schema:
    params = definitions.object(spec.factory)
    del params["description"]
    return {"properties": {"params": params}, "required": ["params"] if params["required"] else []}


def _wire(port: Port) -> Schema:
    name = NAME.pattern
    default = "" if port.required else f", by default {plain(port.default)}"
    wired = f"{type_name(port.type)}{default}. A node, node.port or inputs.name."
    wire = {"anyOf": [{"type": "string", "pattern": rf"^(?:{name})(?:\.(?:{name}))?$"}, {"$ref": "#/$defs/Value"}]}
    return {
        **({"anyOf": [*wire["anyOf"], {"type": "array", "items": wire}]} if port.variadic else wire),
        "description": wired,
    }


def _input(declaration: Schema, registry: Registry) -> Schema:
    compound = {"pattern": r"[\[|]"}  # list[x] and x | None are left to `stagegraph validate`
    type_ = {**declaration["properties"]["type"], "anyOf": [{"enum": sorted(registry.types)}, compound]}
    return {**declaration, "properties": {**declaration["properties"], "type": type_}}


def _summary(spec: StageSpec) -> str:
    return (inspect.getdoc(spec.factory) or "").strip()


def _named(spec: StageSpec, argument: str) -> str:
    return type_name(spec.lent[argument].type)
