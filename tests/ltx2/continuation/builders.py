"""Envelopes, PNG files, safetensors files and packs of frames, by hand: what is right, with anything changed."""

from __future__ import annotations

import base64
import json
import struct
import zlib
from typing import Any

SIGNATURE = b"\x89PNG\r\n\x1a\n"


def chunk(kind: bytes, data: bytes = b"", *, crc: int | None = None, length: int | None = None) -> bytes:
    """A chunk of a PNG file."""
    checksum = zlib.crc32(kind + data) if crc is None else crc
    return struct.pack(">I", len(data) if length is None else length) + kind + data + struct.pack(">I", checksum)


def ihdr(width: int, height: int, depth: int = 8, colour: int = 2, *methods: int) -> bytes:
    """The first chunk."""
    return chunk(b"IHDR", struct.pack(">II5B", width, height, depth, colour, *(methods or (0, 0, 0))))


def rows(width: int, height: int, filter: int = 0) -> bytes:
    """Black rows."""
    return bytes([filter, *bytes(3 * width)]) * height


def png(*chunks: bytes) -> bytes:
    """A file of these chunks."""
    return SIGNATURE + b"".join(chunks)


def picture(width: int = 4, height: int = 4, idat: bytes | None = None) -> bytes:
    """A black frame; or one of this size whose image data are these."""
    stream = zlib.compress(rows(width, height)) if idat is None else idat
    return png(ihdr(width, height), chunk(b"IDAT", stream), chunk(b"IEND"))


def tensor(header: Any = None, data: bytes = b"\0" * 16, *, length: int | None = None) -> bytes:
    """A safetensors file; by default zeros [1, 1, 2, 2] in F32."""
    if header is None:
        header = {"t": entry()}
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def entry(dtype: Any = "F32", shape: Any = (1, 1, 2, 2), offsets: Any = (0, 16)) -> dict[str, Any]:
    """What a header says of a tensor."""
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


def b64(data: bytes) -> str:
    """Base64."""
    return base64.b64encode(data).decode()


def payload(**fields: Any) -> dict[str, Any]:
    """A payload of version 1."""
    return {"schema_version": 1, **fields}


def frames(*files: bytes) -> dict[str, Any]:
    """A payload with these files as frames."""
    return payload(video={"frames_b64": [b64(file) for file in files]})


def audio(file: bytes) -> dict[str, Any]:
    """A payload with this file as latents of sound."""
    return payload(audio={"safetensors_b64": b64(file)})


def message(payload: Any, kind: Any = "ltx2.v1") -> bytes:
    """An envelope as JSON text, as the standard library writes it, with NaN and all."""
    return json.dumps({"kind": kind, "payload": payload}).encode()


def pack(*files: bytes, count: int | None = None) -> bytes:
    """Frames as a blob."""
    lengths = (struct.pack(">I", len(file)) + file for file in files)
    return struct.pack(">I", len(files) if count is None else count) + b"".join(lengths)
