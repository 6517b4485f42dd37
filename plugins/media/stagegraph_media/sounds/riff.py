"""WAV and its 64-bit form RF64: chunks, of which one tells the form of the samples and one holds them."""

from __future__ import annotations

import struct
from typing import BinaryIO

from stagegraph_media.sounds.recording import EARLY, BrokenSound, Recording, Span, UnreadSound, read_at

_FORM = {1: "PCM", 3: "floating point"}
_EXTENSIBLE = 0xFFFE
_LONGEST_FORM = 1024
# A size that is told elsewhere (RF64), or that a recorder could not know
_UNKNOWN = 0xFFFFFFFF
_MOST_CHUNKS = 100_000


def look(file: BinaryIO, size: int) -> Recording:
    """Find the samples; see `sounds.look`."""
    form, data_size = b"", None
    at = 12
    for _ in range(_MOST_CHUNKS):
        if at + 8 > size:
            break
        kind, length = struct.unpack("<4sI", read_at(file, at, 8))
        at += 8
        if kind == b"ds64" and length >= 16:
            (data_size,) = struct.unpack("<Q", read_at(file, at + 8, 8))
        elif kind == b"fmt ":
            if not 16 <= length <= _LONGEST_FORM:
                raise BrokenSound(f"the form of the samples has {length} bytes")
            form = read_at(file, at, length)
        elif kind == b"data":
            if length == _UNKNOWN:
                length = size - at if data_size is None else data_size
            if at + length > size:
                raise BrokenSound(EARLY)
            return _recording(form, Span(at, at + length))
        at += length + length % 2
    raise BrokenSound(EARLY if at > size else "no chunk holds samples")


def _recording(form: bytes, data: Span) -> Recording:
    if not form:
        raise BrokenSound("the samples come before their form")
    tag, channels, rate, _, block, bits = struct.unpack_from("<HHIIHH", form)
    if tag == _EXTENSIBLE and len(form) >= 26:
        (tag,) = struct.unpack_from("<H", form, 24)
    if tag not in _FORM:
        told = " and ".join(f"{code} ({name})" for code, name in _FORM.items())
        raise UnreadSound(f"the samples are stored in form {tag}, of which only {told} are read")
    if not rate or not channels or not bits or block != channels * ((bits + 7) // 8):
        raise BrokenSound(f"the header says {channels} channels of {bits} bits in {block} bytes, {rate} times a second")
    length = data.end - data.start
    if length % block:
        raise BrokenSound(f"{EARLY}: the last sample is not whole")
    # In the 64-bit form, whatever the length
    sizes = struct.pack("<4sIQQQI", b"ds64", 28, length + len(form) + 72, length, length // block, 0)
    head = b"RF64\xff\xff\xff\xffWAVE" + sizes + struct.pack("<4sI", b"fmt ", len(form)) + form + bytes(len(form) % 2)
    return Recording((head + b"data\xff\xff\xff\xff", data), rate, channels, length // block, exact=True)
