"""What a safetensors file says about itself, checked against its size. Needs no torch and reads no weights.

The format: 8 bytes with the length n of the header (little-endian), n bytes of JSON, then the tensors' bytes. The JSON
maps each name to its dtype, shape and `data_offsets`, counted from the end of the header; `__metadata__` maps strings
to strings.
"""

from __future__ import annotations

import hashlib
import math
import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, BinaryIO

import attrs

from stagegraph.errors import ComponentError
from stagegraph_ltx2.checkpoint.hints import download
from stagegraph_ltx2.checkpoint.strict_json import parse_object
from stagegraph_ltx2.errors import failure, listed, plain, unreadable

#: Bytes. The safetensors library has the same limit; the header of the released transformer is 0.5 MB long.
HEADER_LIMIT = 100_000_000

#: torch's own limit. Without one, the product of a million dimensions takes hours.
RANK_LIMIT = 64

LENGTH_BYTES = 8

BITS: Mapping[str, int] = MappingProxyType(
    {"F4": 4, "F6_E2M3": 6, "F6_E3M2": 6}
    | dict.fromkeys(
        (
            "BOOL",
            "U8",
            "I8",
            "F8_E4M3",
            "F8_E4M3FNUZ",
            "F8_E5M2",
            "F8_E5M2FNUZ",
            "F8_E8M0",
        ),
        8,
    )
    | dict.fromkeys(("U16", "I16", "F16", "BF16"), 16)
    | dict.fromkeys(("U32", "I32", "F32"), 32)
    | dict.fromkeys(("U64", "I64", "F64", "C64"), 64)
)

LFS = "a Git LFS pointer: the clone left the weights on the server"


@attrs.frozen
class TensorInfo:
    """One tensor in a file."""

    dtype: str
    shape: tuple[int, ...]
    nbytes: int
    offset: int
    """Its first byte, counted from the start of the file."""


@attrs.frozen
class Header:
    """A checked header: the tensors lie inside the file, one after the other, without holes."""

    path: Path
    tensors: Mapping[str, TensorInfo]
    metadata: Mapping[str, str]
    file_bytes: int
    digest: str
    """SHA-256 of the header's bytes, in hex."""


def read_header(path: Path) -> Header:
    """Read and check the header of a safetensors file.

    Raises:
        ComponentError: absent; not safetensors (a Git LFS pointer, a pickle, a zip archive, a web page); shorter or
            longer than the header says; a header that is too long or contradicts itself.
    """
    try:
        # Opening a FIFO would wait for a writer for ever.
        if not stat.S_ISREG(path.stat().st_mode):
            raise _not_safetensors(path, "is not a regular file")
        with path.open("rb") as file:
            file_bytes = os.fstat(file.fileno()).st_size
            text = _header_text(path, file, file_bytes)
    except FileNotFoundError:
        raise failure("missing_file", f"{path.name} is absent", where=path, fix=_fetch_again(path)) from None
    except OSError as error:
        raise unreadable(path, error) from None
    tensors, metadata = _parse(path, text, file_bytes - LENGTH_BYTES - len(text))
    digest = hashlib.sha256(text).hexdigest()
    return Header(path, MappingProxyType(tensors), MappingProxyType(metadata), file_bytes, digest)


def _header_text(path: Path, file: BinaryIO, file_bytes: int) -> bytes:
    start = file.read(512)
    length = int.from_bytes(start[:LENGTH_BYTES], "little")
    # The other formats are looked for only in what cannot be safetensors: their first bytes are possible lengths too.
    if (
        file_bytes < LENGTH_BYTES
        or LENGTH_BYTES + length > file_bytes
        or start[LENGTH_BYTES : LENGTH_BYTES + 1] != b"{"
    ):
        content = _foreign(start)
        if content:
            raise _not_safetensors(path, f"is {content} ({file_bytes} bytes)")
    if file_bytes < LENGTH_BYTES:
        raise _truncated(path, LENGTH_BYTES, file_bytes)
    if length > HEADER_LIMIT:
        raise failure(
            "too_large",
            f"{path.name} announces a header of {length} bytes",
            where=path,
            why=f"headers have at most {HEADER_LIMIT} bytes; this is no safetensors file, or a damaged one",
            fix=_fetch_again(path),
        )
    if LENGTH_BYTES + length > file_bytes:
        raise _truncated(path, LENGTH_BYTES + length, file_bytes)
    file.seek(LENGTH_BYTES)
    text = file.read(length)
    if len(text) < length:
        raise _truncated(path, LENGTH_BYTES + length, LENGTH_BYTES + len(text))
    return text


def _foreign(start: bytes) -> str:
    """What the first bytes of a file that is not safetensors say it is; empty when they do not tell."""
    if start.startswith(b"version https://git-lfs.github.com/spec/"):
        return LFS
    if start.startswith(b"PK\x03\x04"):
        return "a zip archive, the container of torch.save"
    if start[:1] == b"\x80" and start[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return "a Python pickle"
    if start.startswith(b"GGUF"):
        return "a GGUF file: its weights are quantised"
    if start.lstrip()[:9].lower() == b"<!doctype" or start.lstrip()[:5].lower() == b"<html":
        return "a web page: the download ended at a log-in or error page"
    return ""


def _not_safetensors(path: Path, what: str) -> ComponentError:
    return failure(
        "not_safetensors",
        f"{path.name} {what}",
        where=path,
        why="weights are read from safetensors files only; pickles can run code and are never opened",
        fix=f"git -C {path.parent} lfs pull" if LFS in what else _fetch_again(path),
    )


def _truncated(path: Path, expected: int, actual: int) -> ComponentError:
    return failure(
        "truncated",
        f"{path.name} has {actual} bytes and needs at least {expected}",
        where=path,
        why="the download or the copy was cut short",
        fix=_fetch_again(path),
    )


def _fetch_again(path: Path) -> str:
    return download(path.parent.parent, f"{path.parent.name}/{path.name}")


def _parse(path: Path, text: bytes, data_bytes: int) -> tuple[dict[str, TensorInfo], dict[str, str]]:
    try:
        if not text.startswith(b"{"):
            raise ValueError("it does not start with {")
        entries = parse_object(text)
    except ValueError as error:
        raise _bad_header(path, [str(error)]) from None
    metadata = entries.pop("__metadata__", {})
    problems = list(_metadata_problems(metadata))
    problems += [f'"{plain(name)}" {problem}' for name, entry in entries.items() if (problem := _entry_problem(entry))]
    if problems:
        raise _bad_header(path, problems)
    start = LENGTH_BYTES + len(text)
    tensors = {name: _tensor_info(entry, start) for name, entry in entries.items()}
    _check_layout(path, tensors, start, start + data_bytes)
    return tensors, metadata


def _tensor_info(entry: Mapping[str, Any], start: int) -> TensorInfo:
    begin, end = entry["data_offsets"]
    return TensorInfo(entry["dtype"], tuple(entry["shape"]), end - begin, start + begin)


def _bad_header(path: Path, problems: list[str]) -> ComponentError:
    return failure(
        "bad_header",
        f"the header of {path.name}: {listed(problems)}",
        where=path,
        why="a header that contradicts itself or its file is not trusted with any tensor",
        fix=_fetch_again(path),
    )


def _metadata_problems(metadata: Any) -> Iterator[str]:
    if not isinstance(metadata, dict):
        yield "__metadata__ is not an object"
    elif not all(isinstance(value, str) for value in metadata.values()):
        yield "__metadata__ has values that are not strings"


def _entry_problem(entry: Any) -> str:
    """What is wrong with one tensor's entry; empty when nothing is."""
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        return "does not have exactly dtype, shape and data_offsets"
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in BITS:
        return f"has the unknown dtype {str(dtype)[:40]!r}"
    if not _counts(shape) or len(shape) > RANK_LIMIT:
        return f"has a shape that is not a list of at most {RANK_LIMIT} counts"
    if not _counts(offsets) or len(offsets) != 2:
        return "has data_offsets that are not two counts"
    bits = math.prod(shape) * BITS[dtype]
    if bits != 8 * (offsets[1] - offsets[0]):
        return f"occupies {offsets[1] - offsets[0]} bytes, and {dtype} of shape {shape} needs {-(-bits // 8)}"
    return ""


def _counts(values: Any) -> bool:
    # type(): to isinstance, True is an int. No file has 2**63 bytes.
    return isinstance(values, list) and all(type(value) is int and 0 <= value < 2**63 for value in values)


def _check_layout(path: Path, tensors: Mapping[str, TensorInfo], start: int, end: int) -> None:
    """Raise unless the tensors follow each other from byte `start` to byte `end`, the end of the file."""
    reached = start
    for name, info in sorted(tensors.items(), key=lambda item: (item[1].offset, item[1].nbytes)):
        if info.offset != reached:
            raise _bad_header(
                path,
                [f'"{plain(name)}" starts at byte {info.offset} and the tensor before it ends at {reached}'],
            )
        reached += info.nbytes
    if reached > end:
        raise _truncated(path, reached, end)
    if reached < end:
        raise _bad_header(path, [f"{end - reached} bytes follow the last tensor"])
