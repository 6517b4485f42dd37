"""One tensor as a safetensors file: its name is `t`, its numbers are as they were, bfloat16 too."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from stagegraph.serde import Problem, StructureError
from stagegraph.strictjson import JsonLimits, read
from stagegraph_ltx2.continuation.limits import Limits
from stagegraph_ltx2.errors import problem

if TYPE_CHECKING:
    from torch import Tensor

Chunk = bytes | bytearray | memoryview

NAME: Final = "t"
#: The number formats of tensors, by the names of the format: bytes of a number, and the name in torch.
DTYPES: Final[Mapping[str, tuple[int, str]]] = {
    "F64": (8, "float64"),
    "F32": (4, "float32"),
    "F16": (2, "float16"),
    "BF16": (2, "bfloat16"),
    "I64": (8, "int64"),
    "I32": (4, "int32"),
    "I16": (2, "int16"),
    "I8": (1, "int8"),
    "U8": (1, "uint8"),
}

_LENGTH: Final = 8
_MAX_DIM: Final = 2**31
_JSON: Final = JsonLimits(max_depth=3, max_tokens=64)


def encode(tensor: Tensor, limits: Limits) -> bytes:
    """A tensor as a file.

    Raises:
        StructureError: it is too large, or has NaN or infinity.
    """
    import torch

    if tensor.nbytes > limits.max_tensor_bytes:
        raise _too_large(tensor.nbytes, limits)
    flat = tensor.detach().cpu().contiguous().flatten()
    _require_finite(flat)
    name = next(short for short, (_, long) in DTYPES.items() if f"torch.{long}" == str(tensor.dtype))
    header = {NAME: {"dtype": name, "shape": list(tensor.shape), "data_offsets": [0, tensor.nbytes]}}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _LENGTH)
    return b"".join([len(text).to_bytes(_LENGTH, "little"), text, flat.view(torch.uint8).numpy().data])


def decode(file: Chunk, rank: int, limits: Limits) -> Tensor:
    """The tensor of a file.

    Args:
        file: all of it.
        rank: how many dimensions it must have.
        limits: of its size.

    Raises:
        StructureError: it is not a file of exactly one tensor `t`, too large, or has NaN or infinity.
    """
    import torch

    view = memoryview(file)
    length = int.from_bytes(view[:_LENGTH], "little")
    if len(view) < _LENGTH or _LENGTH + length > len(view) or length > limits.max_header_bytes:
        what = f"a file of {len(view)} bytes announces a header of {length}"
        raise problem("bad_tensor", what, f"must be in the file, and of at most {limits.max_header_bytes}")
    dtype, shape = _layout(bytes(view[_LENGTH : _LENGTH + length]), rank)
    width, name = DTYPES[dtype]
    count = math.prod(shape)
    if count * width > limits.max_tensor_bytes:
        raise _too_large(count * width, limits)
    numbers = view[_LENGTH + length :]
    if len(numbers) != count * width:
        raise problem("bad_tensor", f"its numbers have {len(numbers)} bytes", f"its shape asks for {count * width}")
    if not count:
        return torch.empty(shape, dtype=getattr(torch, name))
    flat = torch.frombuffer(bytearray(numbers), dtype=getattr(torch, name))
    _require_finite(flat)
    return flat.reshape(shape)


def check(value: Any, rank: int) -> None:
    """That a value is a tensor that `encode` writes.

    Raises:
        StructureError: it is not.
    """
    import torch

    wanted = f"must be a torch.Tensor of {rank} dimensions, of {', '.join(name for _, name in DTYPES.values())}"
    if not isinstance(value, torch.Tensor):
        raise StructureError([Problem((), "invalid_type", f"it is a {type(value).__name__}", wanted)])
    known = {f"torch.{name}" for _, name in DTYPES.values()}
    if value.ndim != rank or str(value.dtype) not in known or value.layout != torch.strided or value.is_meta:
        what = f"it is a tensor of {value.dtype} with the shape {list(value.shape)}"
        raise StructureError([Problem((), "invalid_value", what, wanted)])


def same(one: Tensor | None, other: Tensor | None) -> bool:
    """Whether tensors have the same bits, or neither is there."""
    import torch

    if one is None or other is None:
        return one is other
    if one.dtype != other.dtype or one.shape != other.shape:
        return False
    first, second = (tensor.detach().cpu().contiguous().flatten().view(torch.uint8) for tensor in (one, other))
    return torch.equal(first, second)


def _layout(header: bytes, rank: int) -> tuple[str, Sequence[int]]:
    """The number format and the shape; the offsets must follow from them."""
    tensors = read(header, _JSON)
    if not isinstance(tensors, dict) or tensors.keys() != {NAME}:
        names = ", ".join(ascii(name[:20]) for name in list(tensors)[:5]) if isinstance(tensors, dict) else "no tensors"
        raise problem("bad_tensor", f"its header has {names}", f'must have exactly one tensor, "{NAME}"')
    entry = tensors[NAME]
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        raise problem("bad_tensor", "its header does not have exactly dtype, shape and data_offsets")
    dtype, shape = entry["dtype"], entry["shape"]
    if type(dtype) is not str or dtype not in DTYPES:
        raise problem("bad_tensor", f"its dtype is {ascii(dtype)[:20]}", f"must be one of {', '.join(DTYPES)}")
    if (
        not isinstance(shape, list)
        or len(shape) != rank
        or not all(type(n) is int and 0 <= n < _MAX_DIM for n in shape)
    ):
        raise problem("bad_tensor", f"its shape is {ascii(shape)[:60]}", f"must be {rank} counts")
    end = math.prod(shape) * DTYPES[dtype][0]
    offsets = entry["data_offsets"]
    if not isinstance(offsets, list) or list(map(type, offsets)) != [int, int] or offsets != [0, end]:
        raise problem("bad_tensor", f"its data_offsets are {ascii(offsets)[:60]}", f"must be [0, {end}]")
    return dtype, shape


def _require_finite(numbers: Tensor) -> None:
    import torch

    if numbers.is_floating_point() and not bool(torch.isfinite(numbers).all()):
        raise problem("bad_tensor", "it has NaN or infinity", "what is handed on is finite")


def _too_large(size: int, limits: Limits) -> StructureError:
    return StructureError(
        [Problem((), "too_large", f"a tensor has {size} bytes", f"must have at most {limits.max_tensor_bytes}")]
    )
