"""Types to JSON Schema: what `stagegraph.serde` reads for a type, as far as a schema can say it."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Mapping
from typing import Any, Final

import attrs

from stagegraph.components import spec_in
from stagegraph.ports import REQUIRED
from stagegraph.rules import Rule, help_of, rule_of
from stagegraph.serde import unstructure

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"

Schema = dict[str, Any]

_SCALARS: Final = {str: "string", int: "integer", float: "number", bool: "boolean", type(None): "null"}


def schema(type_: type) -> Schema:
    """The schema of an attrs class, with the classes that it uses under `$defs`."""
    definitions = Definitions()
    return document(definitions.object(type_), definitions)


def document(root: Schema, definitions: Definitions) -> Schema:
    """A schema as a document of its own."""
    return {"$schema": DIALECT, **root, **({"$defs": definitions.schemas} if definitions.schemas else {})}


class Definitions:
    """Collects the schemas of classes under the names that references use.

    Args:
        written: the documents are what this release writes, not what people write: every field is there, and readers
            let pass what a later release adds.
    """

    def __init__(self, *, written: bool = False) -> None:
        self._written = written
        self._names: dict[type, str] = {}
        self.schemas: dict[str, Schema] = {}

    def define(self, type_: type, content: Schema) -> None:
        """Give a class a schema of its own, in place of the one that follows from its fields."""
        self._names[type_] = type_.__name__
        self.schemas[type_.__name__] = content

    def object(self, type_: Any) -> Schema:
        """An attrs class, written out."""
        attrs.resolve_types(type_)
        fields = [field for field in attrs.fields(type_) if field.init]
        required = [field.name for field in fields if self._written or field.default is attrs.NOTHING]
        made = {
            "type": "object",
            "description": (inspect.getdoc(type_) or "").partition("\n\n")[0],
            "properties": {field.name: self._property(field) for field in fields},
            "required": required,
        }
        return made if self._written else {**made, "additionalProperties": False}

    def type(self, type_: Any) -> Schema:
        """Any type hint; classes become references."""
        if type_ in _SCALARS:
            return {"type": _SCALARS[type_]}
        origin, args = typing.get_origin(type_), typing.get_args(type_)
        if origin is typing.Literal:
            return {"enum": list(args)}
        if origin in (typing.Union, types.UnionType):
            return {"anyOf": [self.type(arg) for arg in args]}
        if origin in (list, tuple) or type_ in (list, tuple):
            return self._array(origin or type_, args)
        if origin in (dict, Mapping) or type_ is dict:
            return {"type": "object", **({"additionalProperties": self.type(args[1])} if args else {})}
        held = spec_in(type_)
        if held is not None:
            return {"type": "string", "description": f"A component of kind {held.kind}."}
        if attrs.has(type_):
            return {"$ref": f"#/$defs/{self._name(type_)}"}
        return {}  # any value

    def _array(self, origin: Any, args: tuple[Any, ...]) -> Schema:
        if origin is tuple and args and Ellipsis not in args:
            items = [self.type(arg) for arg in args]
            return {"type": "array", "prefixItems": items, "items": False, "minItems": len(items)}
        return {"type": "array", **({"items": self.type(args[0])} if args else {})}

    def _name(self, type_: Any) -> str:
        if type_ not in self._names:
            short, full = type_.__name__, f"{type_.__module__}.{type_.__qualname__}"
            self._names[type_] = name = full if short in self.schemas else short
            self.schemas[name] = {}  # taken before it is filled, for classes that hold themselves
            self.schemas[name] = self.object(type_)
        return self._names[type_]

    def _property(self, field: attrs.Attribute[Any]) -> Schema:
        content = self.type(field.type)
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
        has_default = default is not attrs.NOTHING and default is not REQUIRED and not hasattr(default, "factory")
        if has_default and not self._written:
            content["default"] = unstructure(default)
        text = " ".join(filter(None, [help_of(field), f"Must be {rule.text}." if rule.remainder else ""]))
        return {**content, **({"description": text} if text else {})}


def _choices(rule: Rule, type_: Any) -> list[Any] | None:
    """The allowed values; null is one where the type has it, as rules leave None alone."""
    if rule.choices is None:
        return None
    return [*rule.choices, *([None] if type(None) in typing.get_args(type_) else [])]
