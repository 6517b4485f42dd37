"""Arrays and a few texts in the safetensors layout, written plainly and read strictly. Knows no array library.

A file is the length of its header (8 bytes, little-endian), the header (JSON), and the arrays one after the other.
What `pack` writes any safetensors reader opens; `unpack` reads only what `pack` writes, for a form and version that
the caller names, so a value is refused that was truncated, extended or made by another release.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Never

import attrs

from stagegraph.errors import ArtifactError, Fault

#: Bytes of one number, by the names of the format.
WIDTHS: Final[Mapping[str, int]] = {"BOOL": 1, "U8": 1, "I64": 8, "F16": 2, "BF16": 2, "F32": 4, "F64": 8}
#: Bytes. A header holds a name, a shape and two offsets for each array; a kilobyte is a lot.
HEADER_LIMIT: Final = 4096

_LENGTH: Final = 8
_FORM: Final = "stagegraph"
_METADATA: Final = "__metadata__"

Chunk = bytes | bytearray | memoryview


@attrs.frozen(eq=False)
class Array:
    """Numbers in row-major order, little-endian; `dtype` is one of `WIDTHS`."""

    dtype: str
    shape: tuple[int, ...]
    data: Chunk = attrs.field(repr=False)


@attrs.frozen
class Slot:
    """What is expected of one array: the number formats and the number of dimensions that it may have."""

    dtypes: frozenset[str]
    rank: int

    @classmethod
    def of(cls, dtypes: str, rank: int) -> Slot:
        """From words: `Slot.of("F32 BF16", 3)`."""
        return cls(frozenset(dtypes.split()), rank)


def pack(form: str, arrays: Mapping[str, Array], texts: Mapping[str, str] | None = None) -> list[Chunk]:
    """The chunks of a file; the arrays are not copied.

    Args:
        form: what the file holds and in which version: "media.frames/1".
        arrays: by name; all of widths that divide 8 keep their alignment if the wider come first.
        texts: what else there is to know, as short texts.
    """
    header: dict[str, Any] = {_METADATA: {_FORM: form, **(texts or {})}}
    end = 0
    for name, array in arrays.items():
        begin, end = end, end + _bytes_of(array.dtype, array.shape)
        header[name] = {"dtype": array.dtype, "shape": list(array.shape), "data_offsets": [begin, end]}
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % _LENGTH)
    if len(text) > HEADER_LIMIT:
        raise _bad(form, f"its header would have {len(text)} bytes", f"headers have at most {HEADER_LIMIT}")
    return [len(text).to_bytes(_LENGTH, "little") + text, *(array.data for array in arrays.values())]


def unpack(
    form: str, data: Chunk, slots: Mapping[str, Slot], texts: Iterable[str] = ()
) -> tuple[dict[str, Array], dict[str, str]]:
    """The arrays and texts of a file, as views of `data`.

    Args:
        form: the only form that is accepted.
        data: the whole file.
        slots: exactly the arrays that it must have, in their order.
        texts: exactly the texts that it must have.

    Raises:
        ArtifactError: anything is missing, additional, or of another form, size or order.
    """
    view = memoryview(data)
    length = int.from_bytes(view[:_LENGTH], "little")
    if len(view) < _LENGTH or length > HEADER_LIMIT or _LENGTH + length > len(view):
        raise _bad(form, f"it has {len(view)} bytes and announces a header of {length}", "it is cut short or no file")
    header = strict_json(form, bytes(view[_LENGTH : _LENGTH + length]))
    metadata = header.pop(_METADATA, None) if isinstance(header, dict) else None
    found = _texts(form, metadata, {_FORM, *texts})
    actual = found.pop(_FORM)
    if actual != form:
        raise _bad(form, f'it is of the form "{actual[:60]}"', "values are read by the codec that wrote them")
    if list(header) != list(slots):
        raise _bad(form, f"it holds {', '.join(header) or 'nothing'}", f"must hold {', '.join(slots)}")
    arrays, end = {}, 0
    for name, slot in slots.items():
        array = _array(form, name, header[name], slot, end, view[_LENGTH + length :])
        arrays[name], end = array, end + len(array.data)
    if _LENGTH + length + end != len(view):
        raise _bad(form, f"it has {len(view)} bytes", f"must have {_LENGTH + length + end}")
    return arrays, found


def strict_json(form: str, text: bytes) -> Any:
    """The JSON value that a text is.

    Raises:
        ArtifactError: damaged JSON, a key twice, NaN or infinity, too deep a nesting.
    """
    try:
        return parse_json(text)
    except ValueError as error:
        raise _bad(form, f"its JSON cannot be read: {error}", "it is damaged") from None


def parse_json(text: bytes) -> Any:
    """The JSON value that a text is.

    Raises:
        ValueError: as `strict_json` refuses.
    """
    try:
        return _STRICT.decode(text.decode())
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key appears twice")
    return found


def _refuse(name: str) -> Never:
    raise ValueError(f"{name} is no JSON number")


_STRICT: Final = json.JSONDecoder(object_pairs_hook=_once, parse_constant=_refuse)


def _texts(form: str, metadata: Any, expected: set[str]) -> dict[str, str]:
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise _bad(form, "it has no table of texts", "it is damaged, or no artifact")
    if metadata.keys() != expected:
        odd = sorted(metadata.keys() ^ expected)
        raise _bad(form, f"its texts are {', '.join(sorted(metadata))}", f"missing or unknown: {', '.join(odd)}")
    return dict(metadata)


def _array(form: str, name: str, entry: Any, slot: Slot, begin: int, body: memoryview) -> Array:
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        raise _bad(form, f"{name} does not have exactly dtype, shape and data_offsets", "it is damaged")
    dtype, shape = entry["dtype"], entry["shape"]
    if dtype not in slot.dtypes:
        raise _bad(form, f"{name} is of dtype {str(dtype)[:20]!r}", f"must be one of {', '.join(sorted(slot.dtypes))}")
    if not isinstance(shape, list) or len(shape) != slot.rank or not all(type(n) is int and n >= 0 for n in shape):
        raise _bad(form, f"{name} has the shape {str(shape)[:60]}", f"must be {slot.rank} counts")
    end = begin + _bytes_of(dtype, shape)
    if entry["data_offsets"] != [begin, end] or end > len(body):
        raise _bad(form, f"{name} is said to be at {str(entry['data_offsets'])[:60]}", f"must be at [{begin}, {end}]")
    return Array(dtype, tuple(shape), body[begin:end])


def _bytes_of(dtype: str, shape: Iterable[int]) -> int:
    return math.prod(shape) * WIDTHS[dtype]


def _bad(form: str, what: str, why: str) -> ArtifactError:
    return ArtifactError(Fault("bad_artifact", f"an artifact cannot be read as {form}: {what}", why=why))
