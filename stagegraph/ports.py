"""Ports: the named, typed slots of a stage, and when one may feed another."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, Final

import attrs


class _Required:
    """The default of what has none: None is a value."""

    def __repr__(self) -> str:
        return "REQUIRED"


REQUIRED: Final = _Required()


@attrs.frozen
class Port:
    """A slot that a value flows into or out of.

    `type` is a resolved type hint. An input with a `default` need not be fed.
    """

    name: str
    type: Any
    default: Any = REQUIRED

    @property
    def required(self) -> bool:
        """Whether something must feed this input."""
        return self.default is REQUIRED

    def __str__(self) -> str:
        return f"{self.name} {type_name(self.type)}{'' if self.required else '?'}"


def accepts(wanted: Any, given: Any) -> bool:
    """Whether every value of the type `given` may flow into a port of type `wanted`.

    Subclasses, Optional, Union and generics are followed as a type checker would; `int` feeds `float`; `Any` on
    either side accepts.
    """
    return wanted is given or wanted is Any or given is Any or _is_subhint(wanted, given)


@lru_cache(maxsize=4096)
def _is_subhint(wanted: Any, given: Any) -> bool:
    from beartype.door import is_subhint  # 60 ms to import; equal types, the usual case, never come here

    return is_subhint(given, wanted) or (given is int and is_subhint(float, wanted))


def holds(type_: Any, value: Any) -> bool:
    """Whether a value is of a type."""
    if isinstance(type_, type) and not hasattr(type_, "__class_getitem__"):
        return isinstance(value, type_) or (type_ is float and type(value) is int)
    if type_ is Any:
        return True
    from beartype.door import is_bearable

    return is_bearable(value, type_)


def type_name(hint: Any) -> str:
    """A type hint as a person writes it: `int`, `list[Frames]`, `Waveform | None`."""
    if hint is None or hint is type(None):
        return "None"
    if isinstance(hint, type) and not hasattr(hint, "__args__"):
        return hint.__qualname__.rpartition(".<locals>.")[2]
    text = re.sub(r"Optional\[([^\[\]]+)\]", r"\1 | None", str(hint))
    return re.sub(r"(?:[A-Za-z_]\w*\.|<locals>\.)+", "", text).replace("NoneType", "None")
