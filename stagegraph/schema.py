"""attrs classes to JSON Schema (2020-12), for editors and other languages.

`python -m stagegraph.schema DIR` writes the schemas that the engine publishes.

The schema of the manifest says what `stagegraph.manifest` reads; what only a registry knows (stage ids, params, ports)
is checked by `stagegraph validate`.
"""

from __future__ import annotations

import inspect
import json
import sys
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import attrs

from stagegraph.manifest import Manifest
from stagegraph.ports import REQUIRED
from stagegraph.rules import Rule, help_of, rule_of
from stagegraph.serde import unstructure

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"

_SCALARS: Final = {str: "string", int: "integer", float: "number", bool: "boolean", type(None): "null"}


def schemas() -> dict[str, dict[str, Any]]:
    """Every schema that the engine publishes: file name -> schema."""
    return {"manifest.v1.schema.json": {**schema(Manifest), "title": "stagegraph manifest, format 1"}}


def schema(type_: type) -> dict[str, Any]:
    """The schema of an attrs class, with the classes that it uses under `$defs`."""
    definitions: dict[str, Any] = {}
    root = _object(type_, definitions)
    return {"$schema": DIALECT, **root, **({"$defs": definitions} if definitions else {})}


def write(directory: Path) -> list[Path]:
    """Write every schema into a folder; returns the files."""
    directory.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, content in schemas().items():
        paths.append(directory / name)
        paths[-1].write_text(render(content), encoding="utf-8")
    return paths


def render(content: Mapping[str, Any]) -> str:
    """A schema as the text of its file."""
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def _object(type_: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    attrs.resolve_types(type_)
    fields = [field for field in attrs.fields(type_) if field.init]
    return {
        "type": "object",
        "description": (inspect.getdoc(type_) or "").partition("\n\n")[0],
        "properties": {field.name: _property(field, definitions) for field in fields},
        "required": [field.name for field in fields if field.default is attrs.NOTHING],
        "additionalProperties": False,
    }


def _property(field: attrs.Attribute[Any], definitions: dict[str, Any]) -> dict[str, Any]:
    content = _type(field.type, definitions)
    rule = rule_of(field)
    limits = {
        "minimum": rule.ge,
        "exclusiveMinimum": rule.gt,
        "maximum": rule.le,
        "exclusiveMaximum": rule.lt,
        "multipleOf": rule.multiple_of if not rule.remainder else None,
        "enum": _choices(rule, field.type),
    }
    content |= {name: limit for name, limit in limits.items() if limit is not None}
    default: Any = field.default
    if default is not attrs.NOTHING and default is not REQUIRED and not hasattr(default, "factory"):
        content["default"] = unstructure(default)
    text = " ".join(filter(None, [help_of(field), f"Must be {rule.text}." if rule.remainder else ""]))
    return {**content, **({"description": text} if text else {})}


def _choices(rule: Rule, type_: Any) -> list[Any] | None:
    """The allowed values; null is one where the type has it, as rules leave None alone."""
    if rule.choices is None:
        return None
    return [*rule.choices, *([None] if type(None) in typing.get_args(type_) else [])]


def _type(type_: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    if type_ in _SCALARS:
        return {"type": _SCALARS[type_]}
    origin, args = typing.get_origin(type_), typing.get_args(type_)
    if origin is typing.Literal:
        return {"enum": list(args)}
    if origin in (typing.Union, types.UnionType):
        return {"anyOf": [_type(arg, definitions) for arg in args]}
    if origin in (list, tuple) or type_ in (list, tuple):
        return {"type": "array", **({"items": _type(args[0], definitions)} if args else {})}
    if origin is dict or type_ is dict:
        return {"type": "object", **({"additionalProperties": _type(args[1], definitions)} if args else {})}
    if attrs.has(type_):
        if type_.__name__ not in definitions:
            definitions[type_.__name__] = {}  # taken before it is filled, for classes that hold themselves
            definitions[type_.__name__] = _object(type_, definitions)
        return {"$ref": f"#/$defs/{type_.__name__}"}
    return {}  # any value


if __name__ == "__main__":
    write(Path(sys.argv[1]))
