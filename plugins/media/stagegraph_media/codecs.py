"""How frames, sound and pictures are stored: their numbers as they are, in the safetensors layout. Lossless."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final, TypeVar

from stagegraph.artifacts import Codec
from stagegraph.errors import ArtifactError
from stagegraph.tensorfile import Array, Chunk, Slot, pack, unpack
from stagegraph_media.values import Frames, Image, Waveform

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

T = TypeVar("T")

MEDIA_TYPE: Final = "application/vnd.safetensors"

_FRAMES: Final = "media.frames/1"
_WAVEFORM: Final = "media.waveform/1"
_IMAGE: Final = "media.image/1"


def _encode_frames(frames: Frames) -> Iterable[Chunk]:
    return pack(_FRAMES, {"pixels": _array("U8", frames.pixels)}, {"frame_rate": str(frames.frame_rate)})


def _decode_frames(data: bytearray) -> Frames:
    arrays, texts = unpack(_FRAMES, data, {"pixels": Slot.of("U8", 4)}, ["frame_rate"])
    return _made(_FRAMES, Frames, _numbers(arrays["pixels"]), texts["frame_rate"])


def _encode_waveform(waveform: Waveform) -> Iterable[Chunk]:
    return pack(_WAVEFORM, {"samples": _array("F32", waveform.samples)}, {"sample_rate": str(waveform.sample_rate)})


def _decode_waveform(data: bytearray) -> Waveform:
    arrays, texts = unpack(_WAVEFORM, data, {"samples": Slot.of("F32", 2)}, ["sample_rate"])
    rate = texts["sample_rate"]
    return _made(_WAVEFORM, Waveform, _numbers(arrays["samples"]), int(rate) if rate.isdecimal() else rate)


def _encode_image(image: Image) -> Iterable[Chunk]:
    return pack(_IMAGE, {"pixels": _array("U8", image.pixels)})


def _decode_image(data: bytearray) -> Image:
    arrays, _ = unpack(_IMAGE, data, {"pixels": Slot.of("U8", 3)})
    return _made(_IMAGE, Image, _numbers(arrays["pixels"]))


CODECS: Final = (
    Codec("media.frames", Frames, 1, MEDIA_TYPE, _encode_frames, _decode_frames),
    Codec("media.waveform", Waveform, 1, MEDIA_TYPE, _encode_waveform, _decode_waveform),
    Codec("media.image", Image, 1, MEDIA_TYPE, _encode_image, _decode_image),
)


def _array(dtype: str, values: NDArray[Any]) -> Array:
    return Array(dtype, values.shape, values.reshape(-1).view("u1").data)


def _numbers(array: Array) -> NDArray[np.generic]:
    import numpy as np

    dtype = {"U8": "u1", "F32": "<f4"}[array.dtype]
    return np.frombuffer(array.data, dtype, math.prod(array.shape)).reshape(array.shape)


def _made(form: str, kind: Callable[..., T], *fields: Any) -> T:
    try:
        return kind(*fields)
    except ValueError as error:  # what the value itself refuses: no length, sound that is not finite
        raise ArtifactError.of("bad_artifact", f"an artifact cannot be read as {form}: {error}") from None
