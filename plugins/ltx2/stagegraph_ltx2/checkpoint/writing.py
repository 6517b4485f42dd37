"""Write safetensors files out of tensors in other files, a piece at a time. Needs no torch.

Memory holds one block of bytes, whatever the size of the files. Bytes are copied as they are.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

import attrs

from stagegraph_ltx2.checkpoint.header import BITS, LENGTH_BYTES
from stagegraph_ltx2.checkpoint.stored import Stored
from stagegraph_ltx2.errors import failure, unreadable

BLOCK_BYTES = 1 << 24

Source = Stored | bytes


@attrs.frozen
class TensorFile:
    """A safetensors file that is to be written.

    Args:
        tensors: name -> where its bytes are, or the bytes of a file, which are stored as U8.
        metadata: of the header.
    """

    tensors: Mapping[str, Source]
    metadata: Mapping[str, str]

    @property
    def nbytes(self) -> int:
        """Bytes of its tensors."""
        return sum(map(_nbytes, self.tensors.values()))


def _nbytes(source: Source) -> int:
    return len(source) if isinstance(source, bytes) else source.info.nbytes


def write_safetensors(path: Path, file: TensorFile, on_bytes: Callable[[int], None] = lambda count: None) -> None:
    """Write a file.

    Args:
        path: where.
        file: what.
        on_bytes: told how many bytes were written, from time to time.

    Raises:
        ComponentError: a source that cannot be read, or has become shorter.
        OSError: the file cannot be written.
    """
    # The widest formats first keeps every tensor aligned, as the safetensors library does.
    names = sorted(file.tensors, key=lambda name: (-_bits(file.tensors[name]), name))
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as target:
        target.write(_header(names, file))
        for name in names:
            for block in _blocks(file.tensors[name]):
                target.write(block)
                on_bytes(len(block))


def _bits(source: Source) -> int:
    return 8 if isinstance(source, bytes) else BITS[source.info.dtype]


def _header(names: list[str], file: TensorFile) -> bytes:
    entries: dict[str, object] = {"__metadata__": dict(file.metadata)} if file.metadata else {}
    begin = 0
    for name in names:
        source = file.tensors[name]
        end = begin + _nbytes(source)
        entries[name] = {
            "dtype": "U8" if isinstance(source, bytes) else source.info.dtype,
            "shape": [len(source)] if isinstance(source, bytes) else list(source.info.shape),
            "data_offsets": [begin, end],
        }
        begin = end
    text = json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % LENGTH_BYTES)
    return len(text).to_bytes(LENGTH_BYTES, "little") + text


def _blocks(source: Source) -> Iterator[bytes]:
    if isinstance(source, bytes):
        yield source
        return
    path, left = source.header.path, source.info.nbytes
    try:
        with path.open("rb", buffering=0) as file:
            file.seek(source.info.offset)
            while left:
                block = _read(file, min(left, BLOCK_BYTES), path)
                left -= len(block)
                yield block
    except OSError as error:
        raise unreadable(path, error) from None


def _read(file: BinaryIO, count: int, path: Path) -> bytes:
    block = file.read(count)
    if not block:
        raise failure(
            "truncated",
            f"{path.name} became shorter",
            where=path,
            why="the file was replaced or cut while it was read",
            fix="run again once nothing writes there",
        )
    return block
