"""One digest for any value: equal for equal content, so that a change or a difference of whole videos can be told."""

from __future__ import annotations

import dataclasses
import hashlib
import pickle
import sys
from collections.abc import Iterator, Mapping, Set
from typing import Any

import attrs


def digest(value: Any) -> str:
    """The SHA-256 of a value's content, in hex.

    Scalars, containers, attrs classes, dataclasses, numpy arrays and torch tensors are followed, bit for bit: NaN
    equals itself, 1 and 1.0 differ. Other objects count by what pickle writes; one that it refuses, by its identity.
    """
    hashed = hashlib.sha256()
    for piece in _pieces(value):
        hashed.update(len(piece).to_bytes(8))
        hashed.update(piece)
    return hashed.hexdigest()


def _pieces(value: Any) -> Iterator[bytes | memoryview]:
    yield f"{type(value).__module__}.{type(value).__qualname__}".encode()
    if value is None or isinstance(value, (bool, int, float, complex, str)):
        yield repr(value).encode("utf-8", "surrogatepass")
    elif isinstance(value, (bytes, bytearray, memoryview)):
        yield bytes(value)
    elif _is_tensor(value):
        yield repr((value.dtype, tuple(value.shape), str(value.device))).encode()
        flat = value.detach().cpu().contiguous().reshape(-1)
        yield memoryview(flat.view(sys.modules["torch"].uint8).numpy())
    elif _is_array(value):
        yield repr((value.dtype, value.shape)).encode()
        yield pickle.dumps(value.tolist()) if value.dtype.hasobject else value.tobytes()
    elif isinstance(value, Mapping):
        yield from sorted(f"{digest(key)}{digest(item)}".encode() for key, item in value.items())
    elif isinstance(value, Set):
        yield from sorted(digest(item).encode() for item in value)
    elif isinstance(value, (list, tuple)):
        yield str(len(value)).encode()
        for item in value:
            yield from _pieces(item)
    elif (names := _fields(value)) is not None:
        for name in names:
            yield name.encode()
            yield from _pieces(getattr(value, name))
    else:
        yield _opaque(value)


def _is_tensor(value: Any) -> bool:
    return all(hasattr(value, name) for name in ("detach", "cpu", "contiguous", "device")) and "torch" in sys.modules


def _is_array(value: Any) -> bool:
    return all(hasattr(value, name) for name in ("dtype", "shape", "tobytes", "tolist"))


def _fields(value: Any) -> list[str] | None:
    if attrs.has(type(value)):
        return [field.name for field in attrs.fields(type(value))]
    return [field.name for field in dataclasses.fields(value)] if dataclasses.is_dataclass(value) else None


def _opaque(value: Any) -> bytes:
    try:
        return pickle.dumps(value)
    except Exception:  # pickle lets through whatever the object's own methods raise
        return str(id(value)).encode()
