"""JSON from others: bounded before it is believed, and read in one way only.

Everything that would cost more than its length (depth, numbers of many digits, hundreds of thousands of tokens) is
found by one linear look before any of it is parsed. A key twice, NaN, infinity, half a surrogate pair, UTF-16 and a
byte order mark are refused. Long strings, which are base64 as a rule, need not be copied to be handed on: see `Long`.
"""

from __future__ import annotations

import json
import math
import re
import secrets
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import attrs

from stagegraph.serde import Path, Problem, StructureError, describe


@attrs.frozen
class JsonLimits:
    """How much JSON is read.

    Attributes:
        max_bytes: of the whole document.
        max_depth: how deep lists and objects may be nested.
        max_tokens: brackets, colons, commas, strings, numbers and names; memory follows from them.
    """

    max_bytes: int = 64 * 2**20
    max_depth: int = 64
    max_tokens: int = 40_000

    def within(self, depth: int, tokens: int) -> JsonLimits:
        """What is left for a value that stands inside a document, so deep and beside so many tokens."""
        return attrs.evolve(self, max_depth=self.max_depth - depth, max_tokens=self.max_tokens - tokens)


@attrs.frozen(eq=False)
class Long:
    """A string of at least 64 KiB without escapes, as the bytes between its quotes; not copied, not yet looked at."""

    data: memoryview = attrs.field(repr=False)

    def text(self) -> str:
        """The string.

        Raises:
            ValueError: it is not UTF-8, or has control characters.
        """
        text = str(self.data, "utf-8")
        if _CONTROL.search(text):
            raise ValueError("a string has control characters")
        return text


#: Characters that the text of an integer may have, and of any other number.
_INTEGER: Final = 20
_NUMBER: Final = 64
#: Bytes from which on a string is not copied, and bytes of everything else, which is copied three times.
_LONG: Final = 2**16
_REST: Final = 24 * 2**20

_TOKEN: Final = re.compile(rb'[][{},:]|[^][{},:"\s]++')
_STRING: Final = re.compile(rb'(?:[^"\\]++|\\.)*+"', re.S)
_CONTROL: Final = re.compile(r"[\0-\x1f]")
_SURROGATE: Final = re.compile(r"\\u[dD][89a-fA-F]")


def read(data: bytes | bytearray | memoryview, limits: JsonLimits | None = None) -> Any:
    """The JSON value that some bytes are.

    Raises:
        StructureError: they are not JSON, or not of what is read here; with the path or the byte.
    """
    return joined(read_uncopied(data, limits))


def read_uncopied(data: bytes | bytearray | memoryview, limits: JsonLimits | None = None) -> Any:
    """The same, but long strings are `Long`, views of the data."""
    limits = limits or JsonLimits()
    view = memoryview(data).cast("B")
    if len(view) > limits.max_bytes:
        what = f"the document has {len(view)} bytes"
        raise StructureError([Problem((), "too_large", what, f"must have at most {limits.max_bytes}")])
    cuts = _Scan(bytes(view) if isinstance(data, memoryview) else data, limits).cuts()
    rest = len(view) - sum(end - begin for begin, end in cuts)
    if rest > _REST:
        what = f"the document has {rest} bytes beside long strings without escapes"
        raise StructureError([Problem((), "too_large", what, f"must have at most {_REST}")])
    skeleton, marks = _skeleton(view, cuts)
    reader = _Reader(marks)
    try:
        text = skeleton.decode()
        value = json.loads(
            text,
            object_pairs_hook=reader.object,
            parse_constant=reader.constant,
            parse_int=reader.integer,
            parse_float=reader.number,
        )
    except UnicodeDecodeError as error:
        raise _broken(f"it is not UTF-8 at byte {_original(error.start, cuts, marks)}") from None
    except json.JSONDecodeError as error:
        place = _original(len(text[: error.pos].encode()), cuts, marks)
        raise _broken(f"{error.msg} at byte {place}") from None
    if reader.wrong:
        raise StructureError([attrs.evolve(p.problem, path=path) for path, p in _walk(value) if isinstance(p, _Wrong)])
    value = _put_back(value, reader)
    if _SURROGATE.search(text):
        _refuse_surrogates(value)
    return value


def joined(value: Any, path: Path = ()) -> Any:
    """Plain JSON in place of a value with `Long` strings.

    Raises:
        StructureError: a string is not UTF-8, or has control characters; or there is no end to the value.
    """
    try:
        return _joined(value, path)
    except RecursionError:
        raise StructureError([Problem(path, "too_large", "it is nested too deep, or within itself")]) from None


def _joined(value: Any, path: Path) -> Any:
    if isinstance(value, Long):
        try:
            return value.text()
        except ValueError as error:
            raise StructureError([Problem(path, "invalid_json", f"a string cannot be read: {error}")]) from None
    if isinstance(value, dict):
        return {key: _joined(item, (*path, key)) for key, item in value.items()}
    if isinstance(value, list):
        return [_joined(item, (*path, index)) for index, item in enumerate(value)]
    return value


def write(value: Any) -> bytes:
    """Plain JSON as text; the data of `Long` strings is copied once, and trusted to need no escapes.

    Raises:
        TypeError, ValueError, RecursionError: it is not plain JSON.
    """
    prefix = f"~{secrets.token_hex(16)}."
    longs: list[memoryview] = []

    def mark(item: Any) -> str:
        if not isinstance(item, Long):
            raise TypeError(f"{type(item).__name__} is no JSON value")
        longs.append(item.data)
        return prefix

    skeleton = json.dumps(value, allow_nan=False, separators=(",", ":"), default=mark).encode()
    first, *rest = skeleton.split(prefix.encode())
    return b"".join([first, *(piece for pair in zip(longs, rest, strict=True) for piece in pair)])


@attrs.frozen(eq=False)
class _Wrong:
    """Stands where a value is that JSON does not have, until it is known where that is."""

    problem: Problem


class _Scan:
    """One look at every byte that is not inside a long string."""

    def __init__(self, data: bytes | bytearray, limits: JsonLimits) -> None:
        self._data = data
        self._limits = limits
        self._depth = 0
        self._tokens = 0

    def cuts(self) -> list[tuple[int, int]]:
        """Where the long strings are: begin and end, without their quotes."""
        found: list[tuple[int, int]] = []
        position, data = 0, self._data
        while True:
            quote = data.find(b'"', position)
            self._between(position, len(data) if quote < 0 else quote)
            if quote < 0:
                return found
            self._count(quote)
            end = data.find(b'"', quote + 1)
            escaped = end > 0 and data.find(b"\\", quote + 1, end) >= 0
            if escaped:
                match = _STRING.match(data, quote + 1)
                end = match.end() - 1 if match else -1
            if end < 0:
                raise _broken(f"the string at byte {quote} does not end")
            if end - quote > _LONG and not escaped:
                found.append((quote + 1, end))
            position = end + 1

    def _between(self, begin: int, end: int) -> None:
        for match in _TOKEN.finditer(self._data, begin, end):
            self._count(match.start())
            if match.end() - match.start() > 1:
                if match.end() - match.start() > _NUMBER:
                    what = f"the value at byte {match.start()} has {match.end() - match.start()} characters"
                    raise StructureError([Problem((), "too_large", what, f"numbers have at most {_NUMBER}")])
            elif match[0] in b"[{":
                self._depth += 1
                if self._depth > self._limits.max_depth:
                    why = f"must be nested at most {self._limits.max_depth} deep"
                    raise StructureError(
                        [Problem((), "too_large", f"it is nested too deep at byte {match.start()}", why)]
                    )
            elif match[0] in b"]}":
                self._depth -= 1

    def _count(self, at: int) -> None:
        self._tokens += 1
        if self._tokens > self._limits.max_tokens:
            why = f"must have at most {self._limits.max_tokens} tokens"
            raise StructureError([Problem((), "too_large", f"it has too many values at byte {at}", why)])


class _Reader:
    """The hooks of the parser: what is wrong is marked, so that its path can be told."""

    def __init__(self, marks: Mapping[str, Long]) -> None:
        self.marks = marks
        self.wrong = False

    def object(self, pairs: list[tuple[str, Any]]) -> Any:
        found = dict(pairs)
        if len(found) == len(pairs):
            return found
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        return self._mark("duplicate_key", f"the key {describe(twice)} appears twice", "keys appear once")

    def constant(self, name: str) -> Any:
        return self._mark("invalid_value", f"{name} is no JSON number", "must be a finite number")

    def integer(self, text: str) -> Any:
        if len(text) > _INTEGER:
            return self._mark("too_large", f"an integer has {len(text)} characters", f"must have at most {_INTEGER}")
        return int(text)

    def number(self, text: str) -> Any:
        number = float(text)
        return (
            number if math.isfinite(number) else self._mark("invalid_value", f"{text} is not finite", "must be finite")
        )

    def _mark(self, code: str, what: str, why: str) -> _Wrong:
        self.wrong = True
        return _Wrong(Problem((), code, what, why))


def _skeleton(view: memoryview, cuts: list[tuple[int, int]]) -> tuple[bytes, dict[str, Long]]:
    """The document with a short mark in place of each long string, and what each mark stands for.

    A mark is a number behind what nobody can have known when the document was written.
    """
    if not cuts:
        return bytes(view), {}
    pieces, end = [], 0
    for begin, stop in cuts:
        pieces.append(bytes(view[end:begin]))
        end = stop
    pieces.append(bytes(view[end:]))
    prefix = f"~{secrets.token_hex(16)}."
    marks = {f"{prefix}{number}": Long(view[begin:stop]) for number, (begin, stop) in enumerate(cuts)}
    skeleton = pieces[0] + b"".join(mark.encode() + piece for mark, piece in zip(marks, pieces[1:], strict=True))
    return skeleton, marks


def _put_back(value: Any, reader: _Reader) -> Any:
    if not reader.marks:
        return value
    if isinstance(value, str):
        return reader.marks.get(value, value)
    if isinstance(value, list):
        return [_put_back(item, reader) for item in value]
    if isinstance(value, dict):
        if any(key in reader.marks for key in value):
            raise StructureError([Problem((), "too_large", "a key has more than 64 KiB", "keys are short")])
        return {key: _put_back(item, reader) for key, item in value.items()}
    return value


def _refuse_surrogates(value: Any) -> None:
    problems = []
    for path, item in _walk(value):
        texts = item if isinstance(item, dict) else (item,) if isinstance(item, str) else ()
        if any("\ud800" <= character <= "\udfff" for text in texts for character in text):
            problems.append(Problem(path, "invalid_value", "a string has half a surrogate pair", "must be Unicode"))
    if problems:
        raise StructureError(problems[:1])


def _walk(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    yield path, value
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from _walk(item, (*path, key))


def _original(position: int, cuts: list[tuple[int, int]], marks: Iterable[str]) -> int:
    """Where in the document a byte of its skeleton is."""
    longer = 0
    for (begin, end), mark in zip(cuts, marks, strict=True):
        if begin + longer >= position:
            break
        longer += len(mark) - (end - begin)
    return position - longer


def _broken(what: str) -> StructureError:
    return StructureError([Problem((), "invalid_json", f"it is not JSON: {what}", "must be one JSON value in UTF-8")])
