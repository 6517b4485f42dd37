"""How the `config.json` of a diffusers folder becomes a frozen, checked value. Needs no torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from types import UnionType
from typing import Any, ClassVar, Self, get_args, get_origin, get_type_hints

import attrs

NOT_RELEASED = "is in no released LTX-2 model"


class ConfigError(ValueError):
    """A configuration that these models cannot be built from.

    Attributes:
        config: Name of the configuration class.
        faults: Every fault, one sentence each.
    """

    def __init__(self, config: str, faults: tuple[str, ...]) -> None:
        self.config = config
        self.faults = faults
        super().__init__("\n  ".join((f"{config} cannot be used:", *faults)))


def only(default: object, *others: object) -> Any:
    """A field of which the given values are implemented and no others."""
    return attrs.field(default=default, metadata={"supported": (default, *others)})


#: Entries that no list of a configuration exceeds: one for each block, or each resampling.
LONGEST = 64

#: What no size of a network exceeds, and no depth: a configuration of a few bytes must not build for hours.
WIDEST, DEEPEST = 1_000_000, 1_000


def size(default: int | tuple[int, ...] | None, least: int = 1, most: int = WIDEST) -> Any:
    """A count, with the smallest and the largest value that make sense."""
    return attrs.field(default=default, metadata={"least": least, "most": most})


def depth(default: int | tuple[int, ...], least: int = 0) -> Any:
    """How many layers follow each other, or how many in each block."""
    return size(default, least, DEEPEST)


def positive(default: float) -> Any:
    """A finite number above zero."""
    return attrs.field(default=default, metadata={"positive": True})


@attrs.frozen
class Config:
    """Keys and defaults are those of a class of diffusers 0.42.1."""

    diffusers_class: ClassVar[str]

    def __attrs_post_init__(self) -> None:
        faults = tuple(self._faults())
        if faults:
            raise ConfigError(type(self).__name__, faults)

    @classmethod
    def from_dict(cls, data: Mapping[str, object]) -> Self:
        """Read the content of a `config.json`; lists become tuples, keys that start with `_` are metadata.

        Raises:
            ConfigError: Unknown keys, values of the wrong type and values that are not supported, all at once.
        """
        kinds = get_type_hints(cls)
        known = [field.name for field in attrs.fields(cls)]
        faults: list[str] = []
        values: dict[str, Any] = {}
        for key, value in data.items():
            if key.startswith("_"):
                continue
            if key not in known:
                close = get_close_matches(key, known, n=1)
                faults.append(f"{key} is not a key of {cls.__name__}" + (f"; is it {close[0]}?" if close else ""))
                continue
            try:
                values[key] = _fit(value, kinds[key])
            except TypeError:
                faults.append(f"{key}={value!r} must be {_spell(kinds[key])}")
        try:
            config = cls(**values)
        except ConfigError as error:
            faults += error.faults
        if faults:
            raise ConfigError(cls.__name__, tuple(faults))
        return config

    def to_dict(self) -> dict[str, object]:
        """The keys and values that `from_dict` reads, ready for JSON: tuples become lists."""
        return {field.name: _plain(getattr(self, field.name)) for field in attrs.fields(type(self))}

    def _faults(self) -> Iterator[str]:
        alone = [fault for field in attrs.fields(type(self)) if (fault := _fault(field, getattr(self, field.name)))]
        yield from alone
        # Rules between fields would only repeat, less clearly, what is wrong with one of them.
        if not alone:
            yield from self._contradictions()

    def _contradictions(self) -> Iterator[str]:
        """Values that are fine alone and impossible together."""
        yield from ()


def _fault(field: attrs.Attribute[Any], value: Any) -> str | None:
    rules = field.metadata
    if "supported" in rules and value not in rules["supported"]:
        return f"{field.name}={value!r} {NOT_RELEASED}; supported: {', '.join(map(repr, rules['supported']))}"
    if "least" in rules and value is not None:
        counts = value if isinstance(value, tuple) else (value,)
        if min(counts, default=rules["least"]) < rules["least"]:
            return f"{field.name}={value!r} must be at least {rules['least']}"
        if max(counts, default=0) > rules["most"]:
            return f"{field.name}={value!r} must be at most {rules['most']}"
    if "positive" in rules and not 0 < value < float("inf"):
        return f"{field.name}={value!r} must be a finite number above 0"
    return None


def _fit(value: object, kind: Any) -> object:
    """`value` as a `kind`: JSON knows neither tuples nor the difference between 8 and 8.0."""
    if isinstance(kind, UnionType):
        return _fit_any(value, get_args(kind))
    if get_origin(kind) is tuple and isinstance(value, list | tuple):
        kinds = get_args(kind)
        if kinds[-1] is Ellipsis:
            kinds = kinds[:1] * min(len(value), LONGEST)
        if len(kinds) == len(value):
            return tuple(_fit(item, inner) for item, inner in zip(value, kinds, strict=True))
    elif kind is float and type(value) is int:
        return float(value)
    elif kind is int and type(value) is float and value.is_integer():
        return int(value)
    elif type(value) is kind:
        return value
    raise TypeError


def _fit_any(value: object, kinds: tuple[Any, ...]) -> object:
    for kind in kinds:
        try:
            return _fit(value, kind)
        except TypeError:
            continue
    raise TypeError


def _spell(kind: Any) -> str:
    if isinstance(kind, UnionType):
        return " or ".join(map(_spell, get_args(kind)))
    if get_origin(kind) is tuple:
        kinds = get_args(kind)
        length = "" if kinds[-1] is Ellipsis else f" of {len(kinds)}"
        return f"a list{length or f' of at most {LONGEST}'}, each {_spell(kinds[0])}"
    return _SPELLING[kind]


_SPELLING = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "a string",
    type(None): "null",
}


def _plain(value: object) -> object:
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


def odd_heads(config: Config, *head_dims: str) -> Iterator[str]:
    """Heads that RoPE cannot rotate."""
    for name in head_dims:
        if getattr(config, name) % 2:
            yield f"{name}={getattr(config, name)} must be even: RoPE rotates pairs of channels"
