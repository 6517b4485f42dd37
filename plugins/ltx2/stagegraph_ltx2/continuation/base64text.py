"""Base64 in its one canonical form, by pybase64 if it is installed: forty times as fast."""

from __future__ import annotations

import binascii
from typing import Final

from stagegraph_ltx2.errors import problem

Chunk = bytes | bytearray | memoryview

try:
    import pybase64 as fast
except ImportError:
    fast = None  # type: ignore[assignment]

#: What the last characters may be, by how many bytes the last group has: bits that mean nothing are zero.
_LAST: Final = {1: b"AQgw", 2: b"AEIMQUYcgkosw048"}


def encode(data: Chunk) -> bytes:
    """The text."""
    if fast is not None:
        return bytes(fast.b64encode(data))
    return binascii.b2a_base64(data, newline=False)


def decode(text: memoryview) -> bytes:
    """The bytes that a text stands for.

    Raises:
        StructureError: another alphabet, spaces, padding that is missing or elsewhere than at the end, bits that mean
            nothing and are not zero.
    """
    why = "must be standard base64 with padding, without spaces"
    if not len(text) or len(text) % 4:
        raise problem("bad_base64", f"it has {len(text)} characters", f"{why}, and not empty")
    tail = bytes(text[-4:])
    padding = len(tail) - len(tail.rstrip(b"="))
    if padding and tail[3 - padding : 4 - padding] not in {bytes([last]) for last in _LAST.get(3 - padding, b"")}:
        raise problem("bad_base64", "it ends in bits that mean nothing and are not zero", why)
    try:
        if fast is not None:
            return bytes(fast.b64decode(text, validate=True))
        return binascii.a2b_base64(text, strict_mode=True)
    except (binascii.Error, ValueError):
        raise problem("bad_base64", "it is not base64", why) from None
