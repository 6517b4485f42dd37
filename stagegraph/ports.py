"""Ports: the named, typed slots of a stage, and when one may feed another."""

from __future__ import annotations

import functools
import operator
import types
import typing
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final

import attrs


class _Required:
    """The default of what has none: None is a value."""

    def __repr__(self) -> str:
        return "REQUIRED"


REQUIRED: Final = _Required()

_UNIONS = (typing.Union, types.UnionType)


@attrs.frozen
class Port:
    """A slot that a value flows into or out of.

    `type` is a resolved type hint, of each value if the port is `variadic`, which may be fed any number of values. An
    input with a `default` need not be fed.
    """

    name: str
    type: Any
    default: Any = REQUIRED
    variadic: bool = False

    @property
    def required(self) -> bool:
        """Whether something must feed this input."""
        return self.default is REQUIRED and not self.variadic

    def __str__(self) -> str:
        mark = "*" if self.variadic else "" if self.required else "?"
        return f"{self.name} {type_name(self.type)}{mark}"


def accepts(wanted: Any, given: Any) -> bool:
    """Whether every value of the type `given` may flow into a port of type `wanted`.

    Subclasses, Optional, Union and generics are followed as a type checker would; `int` feeds `float`; `Any` on
    either side accepts.
    """
    if wanted is given or wanted is Any or given is Any:
        return True
    if typing.get_origin(given) in _UNIONS:
        return all(accepts(wanted, member) for member in typing.get_args(given))
    if typing.get_origin(wanted) in _UNIONS:
        return any(accepts(member, given) for member in typing.get_args(wanted))
    if _is_plain(wanted) and _is_plain(given):
        return issubclass(given, wanted) or (wanted is float and given is int)
    return _is_subhint(wanted, given)


def if_there(type_: Any) -> Any:
    """What a type that allows None is without it; None if it does not allow it."""
    members = typing.get_args(type_) if typing.get_origin(type_) in _UNIONS else ()
    if type(None) not in members:
        return None
    return functools.reduce(operator.or_, [member for member in members if member is not type(None)])


def _is_plain(type_: Any) -> bool:
    return isinstance(type_, type) and not hasattr(type_, "__class_getitem__")


@lru_cache(maxsize=4096)
def _is_subhint(wanted: Any, given: Any) -> bool:
    from beartype.door import is_subhint  # 0.3 s to import; plain classes, the usual case, do without

    return is_subhint(given, wanted)


def holds(type_: Any, value: Any) -> bool:
    """Whether a value is of a type; every item of a list is looked at."""
    return type(value) is type_ or _check_of(type_)(value)


@lru_cache(maxsize=4096)
def _check_of(type_: Any) -> Callable[[Any], bool]:
    """What tells whether a value is of a type."""
    if type_ is Any:
        return lambda value: True
    if type_ is float:
        return lambda value: isinstance(value, float) or type(value) is int
    if type(type_) is type or _is_plain(type_):
        return lambda value: isinstance(value, type_)
    origin, args = typing.get_origin(type_), typing.get_args(type_)
    if origin in _UNIONS:
        members = [_check_of(member) for member in args]
        return lambda value: any(check(value) for check in members)
    if origin is list:
        of_item = _check_of(args[0])
        return lambda value: isinstance(value, list) and all(map(of_item, value))
    from beartype.door import is_bearable  # takes one item of a container for all, at random

    return lambda value: is_bearable(value, type_)


def list_of(type_: Any) -> Any:
    """The type hint of a list of values of a type."""
    return types.GenericAlias(list, (type_,))


def type_name(hint: Any) -> str:
    """A type hint as a person writes it: `int`, `list[Frames]`, `Waveform | None`."""
    if hint is None or hint is type(None):
        return "None"
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in _UNIONS:
        return " | ".join(type_name(member) for member in args)
    if origin is typing.Literal:
        return f"Literal[{', '.join(map(repr, args))}]"
    if isinstance(hint, list):  # the arguments of a Callable
        return f"[{', '.join(map(type_name, hint))}]"
    if origin is not None and args:
        return f"{type_name(origin)}[{', '.join('...' if arg is ... else type_name(arg) for arg in args)}]"
    name = getattr(hint, "__qualname__", None) or getattr(hint, "__name__", None) or str(hint)
    return str(name).rpartition("<locals>.")[2]
