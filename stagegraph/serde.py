"""Plain data to attrs values and back, strictly: no coercion, no unknown keys, all problems at once with their path.

`structure(data, SomeClass)` is the one way in, `unstructure(value)` the one way out. What people write and what
crosses a process boundary both pass here, so a `"3"` never becomes a 3 and a `true` never becomes a 1.
"""

from __future__ import annotations

import json
import math
import pathlib
import types
import typing
from collections.abc import Callable, Mapping
from functools import cache
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, cast

import attrs

from stagegraph.errors import suggest
from stagegraph.rules import rule_of

if TYPE_CHECKING:
    import cattrs

Path = tuple[str | int, ...]

#: How many unknown keys of one mapping are told; others may have hundreds of thousands.
_LISTED: Final = 20


@attrs.frozen
class Problem:
    """One thing that is wrong with plain data.

    `path` leads to the value inside the data; `at_key` says that its last key is meant, not the value behind it.
    """

    path: Path
    code: str
    what: str
    why: str = ""
    fix: str = ""
    at_key: bool = False


class StructureError(ValueError):
    """Plain data does not have the structure of the type asked for; carries every `Problem`."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("; ".join(f"{dotted(p.path)}: {p.what}" if p.path else p.what for p in problems))
        self.problems = problems


class Text(str):
    """A value typed on a command line: the text itself where a str is wanted, `value` elsewhere.

    `stagegraph.yaml.typed` makes one, with the value that YAML reads from the text.
    """

    value: Any

    def __new__(cls, text: str, value: Any) -> Text:
        """Pair a text with what it reads as."""
        typed = super().__new__(cls, text)
        typed.value = value
        return typed


def structure(data: Any, type_: Any, path: Path = ()) -> Any:
    """Make a value of `type_` (a class or any type hint) from plain data.

    Args:
        data: what a YAML or JSON reader gives, or `Text`.
        type_: an attrs class, a scalar, a list, tuple, dict, Literal, Optional or Union of them.
        path: where the data stands in its document; prefixed to the path of every problem.

    Raises:
        StructureError: with all problems.
    """
    try:
        return _converter().structure(data, type_)
    except StructureError as error:
        raise StructureError([attrs.evolve(p, path=path + p.path) for p in error.problems]) from None


def unstructure(value: Any) -> Any:
    """Plain data (dict, list, str, int, float, bool, None) of an attrs value; fields at their default are left out."""
    return _converter().unstructure(value)


def dotted(path: Path) -> str:
    """`("nodes", "text", "params", 0)` -> `nodes.text.params[0]`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def describe(value: Any) -> str:
    """A value of plain data in a few words, for messages: `3`, `"three"`, `a list`."""
    if isinstance(value, (Mapping, list, tuple)):
        return "a mapping" if isinstance(value, Mapping) else "a list"
    if isinstance(value, int) and value.bit_length() > 256:
        return "an integer of more than 75 digits"
    if isinstance(value, str):
        return json.dumps(value[:57] + "..." if len(value) > 60 else value, ensure_ascii=False)
    return json.dumps(value, default=repr)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def strict_converter() -> cattrs.Converter:
    """A converter that does what `structure` and `unstructure` do, to register hooks for more types with.

    Hooks raise `StructureError`, with paths inside of what they are given.
    """
    import cattrs  # graphs made in Python, without constants, do without

    converter = cattrs.Converter(omit_if_default=True)
    # What comes first is asked last: no type is left to the lax hooks that cattrs brings along.
    converter.register_structure_hook_func(lambda t: not _is_transparent(t), _refuse)
    for foreign in (bytes, pathlib.PurePath, pathlib.Path):
        converter.register_structure_hook(foreign, _refuse)
    for type_, name in ((bool, "true or false"), (int, "an integer"), (str, "a string"), (type(None), "null")):
        converter.register_structure_hook(type_, _exactly(type_, name))
    converter.register_structure_hook(float, _finite_float)
    converter.register_structure_hook_func(lambda t: t is Any or t is object, lambda data, _: _plain(data))
    converter.register_structure_hook_factory(_is_literal, _literal_hook)
    converter.register_structure_hook_factory(_is_list, lambda t: _list_hook(t, converter))
    converter.register_structure_hook_factory(_is_dict, lambda t: _dict_hook(t, converter))
    converter.register_structure_hook_factory(_is_union, lambda t: _union_hook(t, converter))
    converter.register_structure_hook_factory(attrs.has, lambda t: _attrs_hook(t, converter))
    converter.register_unstructure_hook_factory(_is_union_of_classes, lambda t: _told_apart(t, converter))
    return converter


_converter = cache(strict_converter)


def _plain(data: Any) -> Any:
    return data.value if isinstance(data, Text) else data


def _wrong(data: Any, wanted: str) -> StructureError:
    return StructureError([Problem((), "invalid_type", f"{describe(data)} is not {wanted}", f"must be {wanted}")])


def _is_transparent(type_: Any) -> bool:
    """Whether a hint only names or decorates another, which cattrs looks through."""
    return isinstance(type_, typing.NewType) or typing.get_origin(type_) is typing.Annotated


def _refuse(data: Any, type_: Any) -> Any:
    name = getattr(type_, "__name__", None) or str(type_)
    what = f"{describe(data)} is not of type {name}"
    raise StructureError([Problem((), "invalid_type", what, "a value of this type cannot be written out")])


def _exactly(type_: type, wanted: str) -> Callable[[Any, Any], Any]:
    def hook(data: Any, asked: Any) -> Any:
        if isinstance(asked, type) and asked is not type_:  # an enum or another subclass of a scalar
            return _refuse(data, asked)
        if isinstance(data, Text):
            data = str(data) if type_ is str else data.value
        if type(data) is not type_:
            raise _wrong(data, wanted)
        return data

    return hook


def _finite_float(data: Any, _: Any) -> float:
    data = _plain(data)
    if not _is_number(data):
        raise _wrong(data, "a number")
    try:
        number = float(data)
    except OverflowError:  # an integer beyond 1.8e308
        number = math.inf
    if not math.isfinite(number):
        raise StructureError([Problem((), "invalid_value", f"{number} is not finite", "must be a finite number")])
    return number


def _is_literal(type_: Any) -> bool:
    return typing.get_origin(type_) is typing.Literal


def _literal_hook(type_: Any) -> Callable[[Any, Any], Any]:
    allowed = typing.get_args(type_)

    def hook(data: Any, _: Any) -> Any:
        data = _plain(data)
        for value in allowed:
            if type(value) is type(data) and value == data:
                return value
        known = [str(value) for value in allowed]
        why = f"must be one of {', '.join(known)}"
        raise StructureError([Problem((), "invalid_value", f"{describe(data)} is not allowed", why)])

    return hook


def _is_list(type_: Any) -> bool:
    return type_ in (list, tuple) or typing.get_origin(type_) in (list, tuple)


def _list_hook(type_: Any, converter: cattrs.Converter) -> Callable[[Any, Any], Any]:
    container = typing.get_origin(type_) or type_
    args = [arg for arg in typing.get_args(type_) if arg is not Ellipsis]
    fixed = container is tuple and bool(args) and Ellipsis not in typing.get_args(type_)

    def hook(data: Any, _: Any) -> Any:
        data = _plain(data)
        if not isinstance(data, (list, tuple)):
            raise _wrong(data, "a list")
        if fixed and len(data) != len(args):
            raise StructureError(
                [Problem((), "invalid_value", f"the list has {len(data)} items", f"must have {len(args)} items")]
            )
        item_types = args if fixed else [args[0] if args else Any] * len(data)
        pairs = ((index, item, t) for index, (item, t) in enumerate(zip(data, item_types, strict=True)))
        return container(value for _, value in _collect(pairs, converter))

    return hook


def _is_dict(type_: Any) -> bool:
    return type_ is dict or typing.get_origin(type_) in (dict, Mapping)


def _dict_hook(type_: Any, converter: cattrs.Converter) -> Callable[[Any, Any], Any]:
    value_type = (typing.get_args(type_) or (str, Any))[1]

    def hook(data: Any, _: Any) -> Any:
        data = _plain(data)
        _require_mapping(data)
        return dict(_collect(((key, value, value_type) for key, value in data.items()), converter))

    return hook


def _is_union(type_: Any) -> bool:
    return typing.get_origin(type_) in (typing.Union, types.UnionType)


def _told_apart(type_: Any, converter: cattrs.Converter) -> Callable[[Any], Any]:
    """One of several classes is told by its keys: where those that are written fit an earlier one, all are."""
    classes = [member for member in typing.get_args(type_) if attrs.has(member)]
    fields = {cls: {a.name: a for a in attrs.fields(cls) if a.init} for cls in classes}

    def hook(value: Any) -> Any:
        plain = converter.unstructure(value)
        if type(value) not in fields or not isinstance(plain, dict):
            return plain
        earlier = classes[: classes.index(type(value))]
        if not any(_could_be(plain, fields[cls]) for cls in earlier):
            return plain
        own = fields[type(value)]
        return {name: plain[name] if name in plain else converter.unstructure(getattr(value, name)) for name in own}

    return hook


def _could_be(plain: Mapping[str, Any], fields: Mapping[str, attrs.Attribute[Any]]) -> bool:
    needed = {name for name, field in fields.items() if field.default is attrs.NOTHING}
    return needed <= plain.keys() <= fields.keys()


def _is_union_of_classes(type_: Any) -> bool:
    return _is_union(type_) and sum(map(attrs.has, typing.get_args(type_))) > 1


def _union_hook(type_: Any, converter: cattrs.Converter) -> Callable[[Any, Any], Any]:
    members = typing.get_args(type_)

    def hook(data: Any, _: Any) -> Any:
        if isinstance(data, Text):
            data = str(data) if str in members else data.value
        if data is None and type(None) in members:
            return None
        errors = []
        for member in members:
            if member is type(None):
                continue
            try:
                return converter.structure(data, member)
            except StructureError as error:
                errors.append(error)
        problems = [error.problems[0] for error in errors]
        if all(problem.code == "invalid_type" and not problem.path for problem in problems) and len(errors) > 1:
            raise _wrong(data, " or ".join(problem.why.removeprefix("must be ") for problem in problems))
        # The member that the data comes nearest to: the one that objects to a part of it, not to the whole.
        raise next((error for error in errors if error.problems[0].path), errors[0])

    return hook


def _attrs_hook(type_: Any, converter: cattrs.Converter) -> Callable[[Any, Any], Any]:
    attrs.resolve_types(type_)
    fields = {a.name: a for a in attrs.fields(type_) if a.init}

    def hook(data: Any, _: Any) -> Any:
        data = _plain(data)
        if type(data) is type_:  # made already, as the components that others hold
            return data
        _require_mapping(data)
        unknown = islice((key for key in data if key not in fields), _LISTED)
        problems = [_unknown(key, fields) for key in unknown]
        problems += [
            Problem((), "missing_key", f'"{name}" is not set', "it is required", f"add {name}: ...")
            for name, field in fields.items()
            if field.default is attrs.NOTHING and name not in data
        ]
        values = {}
        for name, field in fields.items():
            if name in data:
                try:
                    values[name] = _field_value(data[name], field, converter)
                except StructureError as error:
                    problems += [attrs.evolve(p, path=(name, *p.path)) for p in error.problems]
        if problems:
            raise StructureError(problems)
        try:
            return type_(**values)
        except (ValueError, TypeError) as error:  # a check of the class over several fields
            raise StructureError([Problem((), "invalid_value", str(error))]) from error

    return hook


def _field_value(data: Any, field: attrs.Attribute[Any], converter: cattrs.Converter) -> Any:
    value = converter.structure(data, cast(Any, field.type))
    violation = rule_of(field).violation(value)
    if violation is not None:
        what = f"{field.name} is {describe(value)}"
        raise StructureError([Problem((), "invalid_value", what, violation.why, violation.fix)])
    return value


def _unknown(key: Any, fields: Mapping[str, Any]) -> Problem:
    what = f"there is no key {describe(key)} here"
    return Problem((key,), "unknown_key", what, f"known keys: {', '.join(fields)}", suggest(str(key), fields), True)


def _require_mapping(data: Any) -> None:
    if not isinstance(data, Mapping):
        raise _wrong(data, "a mapping")
    wrong = [Problem((), "invalid_type", f"the key {describe(k)} is not a string") for k in data if type(k) is not str]
    if wrong:
        raise StructureError(wrong)


def _collect(items: Any, converter: cattrs.Converter) -> list[tuple[Any, Any]]:
    """Structure every (key, data, type), or raise the problems of all of them."""
    done, problems = [], []
    for key, data, type_ in items:
        try:
            done.append((key, converter.structure(data, type_)))
        except StructureError as error:
            problems += [attrs.evolve(p, path=(key, *p.path)) for p in error.problems]
    if problems:
        raise StructureError(problems)
    return done
