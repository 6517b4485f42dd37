"""YAML 1.2 and JSON text to plain data, with the place of every key and value.

The text is read from the parser's events, one pass, with limits: nothing is built that the events did not carry, so
aliases (which blow up whoever walks them), merge keys, tags, duplicate keys and second documents are refused where
they stand. JSON is YAML 1.2 here: one reader for both.
"""

from __future__ import annotations

import io
import json
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import attrs
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, StreamMark, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    NodeEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)
from ruamel.yaml.representer import RoundTripRepresenter
from ruamel.yaml.resolver import VersionedResolver
from ruamel.yaml.scalarfloat import ScalarFloat

from stagegraph.document import Document
from stagegraph.errors import Fault, Location, ManifestError
from stagegraph.serde import Path, Text, describe, dotted


@attrs.frozen
class Limits:
    """How large a text may be; a limit is checked before what it bounds is built."""

    bytes: int = 4 * 2**20
    depth: int = 64
    values: int = 500_000
    digits: int = 64


def read(text: str, file: str, limits: Limits | None = None) -> Document:
    """Read one YAML 1.2 or JSON document.

    Args:
        text: the document.
        file: its name in messages.
        limits: bounds; the defaults of `Limits` if None.

    Raises:
        ManifestError: not YAML, not within the limits, or using what this reader excludes; every duplicate key at once.
    """
    limits = limits or Limits()
    if len(text.encode(errors="surrogatepass")) > limits.bytes:
        raise _error("too_large", f"the text has more than {limits.bytes} bytes", Location(file))
    odd = _UNPRINTABLE.search(text)
    if odd:
        line, column = text.count("\n", 0, odd.start()) + 1, odd.start() - text.rfind("\n", 0, odd.start())
        what = f"the text holds the unprintable character U+{ord(odd[0]):04X}"
        fix = f'write it as "\\u{ord(odd[0]):04x}", in double quotes'
        raise _error("syntax", what, Location(file, line, column), fix)
    reader = _Reader(file, limits)
    try:
        data = reader.document(iter(YAML(typ="safe", pure=True).parse(io.StringIO(text))))
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise _error("syntax", error.problem or error.context or str(error), _location(file, mark)) from None
    except (YAMLError, ValueError, OverflowError) as error:  # overflow: "\\UFFFFFFFF" is no character
        raise _error("syntax", str(error).splitlines()[0], Location(file)) from None
    if reader.faults:
        raise ManifestError(*reader.faults)
    return Document(data, file, text, reader.values, reader.keys)


def parse_value(text: str) -> Any:
    """One value typed on a command line: `8`, `true`, `[1, 2]`, `a text`.

    A text that is no YAML value, such as `a: b: c`, is itself.
    """
    try:
        return read(text, "value").data
    except ManifestError:
        return text


def typed(text: str) -> Text:
    """A text from a command line that knows what it reads as."""
    return Text(text, parse_value(text))


# What YAML takes only escaped; also U+0085, U+2028 and U+2029, which are line breaks to YAML 1.1 (and to the parser).
_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufffe\uffff]")

# The scalars of YAML 1.2's core schema, numbers as JSON writes them; what matches none of them is a string. So `no`,
# `16:9` and `012` (which the core schema takes for 12, and YAML 1.1 for 10) stay text.
_NULL = re.compile(r"(?:null|Null|NULL|~)?")
_TRUE = re.compile(r"true|True|TRUE")
_FALSE = re.compile(r"false|False|FALSE")
_INT = re.compile(r"[-+]?(?:0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|(?:0|[1-9][0-9]*)(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")


class _Reader:
    """Builds data from events; what it meets that has a place of its own to be reported is kept in `faults`."""

    def __init__(self, file: str, limits: Limits) -> None:
        self.file = file
        self.limits = limits
        self.values: dict[Path, tuple[int, int]] = {}
        self.keys: dict[Path, tuple[int, int]] = {}
        self.faults: list[Fault] = []

    def document(self, events: Iterator[Event]) -> Any:
        data, documents = None, 0
        for event in events:
            if isinstance(event, DocumentStartEvent):
                documents += 1
                if event.version not in (None, (1, 2)):
                    raise _error("syntax", "the document says that it is not YAML 1.2", self._at(event))
                if documents > 1:
                    raise _error("syntax", "the file holds more than one document", self._at(event))
            elif isinstance(event, NodeEvent):
                data = self._node(event, events, ())
        return data

    def _node(self, event: Event, events: Iterator[Event], path: Path) -> Any:
        self._check(event, path)
        self.values[path] = _place(event)
        if isinstance(event, MappingStartEvent):
            return self._mapping(events, path)
        if isinstance(event, SequenceStartEvent):
            items: list[Any] = []
            while not isinstance(event := next(events), SequenceEndEvent):
                items.append(self._node(event, events, (*path, len(items))))
            return items
        return self._scalar(event)

    def _mapping(self, events: Iterator[Event], path: Path) -> dict[str, Any]:
        data: dict[str, Any] = {}
        while not isinstance(event := next(events), MappingEndEvent):
            if not isinstance(event, ScalarEvent):
                raise _error("syntax", "a key must be a plain word or a quoted string", self._at(event))
            self._check(event, path)
            key = self._text(event)
            if key == "<<" and not event.style:
                raise _error("syntax", "merge keys are not used here", self._at(event), "write the values out")
            if key in data:
                self.faults.append(self._duplicate(event, (*path, key)))
            self.keys[(*path, key)] = _place(event)
            data[key] = self._node(next(events), events, (*path, key))
        return data

    def _check(self, event: Event, path: Path) -> None:
        if isinstance(event, AliasEvent) or getattr(event, "anchor", None):
            raise _error("syntax", "anchors and aliases are not used here", self._at(event), "write the value out")
        tag = getattr(event, "tag", None)
        if tag:
            raise _error("syntax", f"tags such as {tag} are not used here", self._at(event), "remove the tag")
        if len(path) > self.limits.depth:
            raise _error("too_large", f"values are nested more than {self.limits.depth} deep", self._at(event))
        if len(self.values) >= self.limits.values:
            raise _error("too_large", f"there are more than {self.limits.values} values", self._at(event))

    def _duplicate(self, event: Event, path: Path) -> Fault:
        code, what = "syntax", f"the key {describe(path[-1])} of {dotted(path[:-1]) or 'the document'} appears twice"
        if len(path) == 4 and path[0] == "nodes" and path[2] == "inputs":  # a wire: say what it means
            code, what = "duplicate_producer", f"the input {path[3]} of node {path[1]} is fed from two places"
        why = f"first in line {self.keys[path][0]}"
        return Fault(code, what, dotted(path), why, "keep one of them", self._at(event))

    def _text(self, event: Any) -> str:
        """The text of a scalar; what JSON escapes as a pair of surrogates is one character."""
        if event.value.isascii():
            return str(event.value)
        try:
            return str(event.value.encode("utf-16", "surrogatepass").decode("utf-16"))
        except UnicodeDecodeError:
            raise _error("syntax", "a text holds half of a surrogate pair", self._at(event)) from None

    def _scalar(self, event: Any) -> Any:
        text = self._text(event)
        if event.style:  # quoted or block style: always text
            return text
        if _NULL.fullmatch(text):
            return None
        if _TRUE.fullmatch(text) or _FALSE.fullmatch(text):
            return text in ("true", "True", "TRUE")
        number = int if _INT.fullmatch(text) else float if _FLOAT.fullmatch(text) else None
        if number is None:
            if _NOT_FINITE.fullmatch(text):
                raise _error("invalid_value", f"{text} is not a finite number", self._at(event))
            return text
        if len(text) > self.limits.digits:
            raise _error("too_large", f"a number has more than {self.limits.digits} digits", self._at(event))
        value = number(text)
        if not math.isfinite(value):
            raise _error("invalid_value", f"{text} is not a finite number", self._at(event))
        return value

    def _at(self, event: Event) -> Location:
        return Location(self.file, *_place(event))


def _place(event: Event) -> tuple[int, int]:
    mark: StreamMark = event.start_mark
    return mark.line + 1, mark.column + 1


def _location(file: str, mark: StreamMark | None) -> Location:
    return Location(file, mark.line + 1, mark.column + 1) if mark is not None else Location(file)


def _error(code: str, what: str, location: Location, fix: str = "") -> ManifestError:
    return ManifestError(Fault(code, what, fix=fix, location=location))


class _Resolver(VersionedResolver):
    """Takes and quotes scalars as `_Reader` does, so that what is written is read as the same."""

    _KINDS = (
        ("null", _NULL),
        ("bool", _TRUE),
        ("bool", _FALSE),
        ("int", _INT),
        ("float", _FLOAT),
        ("float", _NOT_FINITE),
    )
    versioned_resolver: ClassVar[Any] = {
        None: [(f"tag:yaml.org,2002:{kind}", re.compile(rf"(?:{text.pattern})\Z")) for kind, text in _KINDS]
    }


class _Representer(RoundTripRepresenter):
    """Writes what would be read as something else in another way: merge keys, line breaks, long numbers."""

    def represent_str(self, data: Any) -> Any:
        quoted = data == "<<" or _UNPRINTABLE.search(data)
        return self.represent_scalar("tag:yaml.org,2002:str", data, '"' if quoted else None)

    def represent_scalar_float(self, data: Any) -> Any:
        kept = super().represent_scalar_float(data)  # as it was written, but some digits get lost on the way
        return kept if float(kept.value) == data else self.represent_float(float(data))


_Representer.add_representer(str, _Representer.represent_str)
_Representer.add_representer(ScalarFloat, _Representer.represent_scalar_float)


def rewrite(text: str | None, data: Mapping[str, Any]) -> str:
    """Plain data as YAML text; given the text that it came from, comments, order and layout of that are kept."""
    writer = YAML(typ="rt", pure=True)
    writer.Resolver = _Resolver
    writer.Representer = _Representer
    writer.width = 2**20  # a long text stays in its line: the emitter loses a tab where it folds
    writer.indent(mapping=2, sequence=4, offset=2)
    written: Any = data
    if text is not None:
        written = writer.load(text)
        _merge(written, data)
    stream = io.StringIO()
    writer.dump(written, stream)
    return stream.getvalue()


def _merge(written: Any, data: Mapping[str, Any]) -> None:
    """Make a commented mapping equal to plain data, touching only what differs."""
    for key in [key for key in written if key not in data]:
        del written[key]
    for key, value in data.items():
        old = written.get(key)
        if isinstance(value, Mapping) and isinstance(old, Mapping):
            _merge(old, value)
        elif key not in written or _text(old) != _text(value):
            written[key] = value


def _text(value: Any) -> str:
    """A text that is equal for equal values of one type: 1, 1.0 and true differ."""
    return json.dumps(value, default=repr, sort_keys=True)
