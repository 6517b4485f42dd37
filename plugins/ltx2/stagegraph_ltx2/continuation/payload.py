"""What a payload says, as attrs classes: its keys, their order, types and ranges; and the converter that reads it.

Large things stand in it as base64 (`Long`: text that is not copied) or as the id of a blob.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import Any, Final, NewType

import attrs
import cattrs
from cattrs.gen import make_dict_unstructure_fn, override

from stagegraph import param
from stagegraph.continuation import BLOB_ID
from stagegraph.serde import Problem, StructureError, describe, strict_converter
from stagegraph.strictjson import Long

LTX2_CONTINUATION_SCHEMA_VERSION: Final = 1
#: The version whose payloads hand over latents of the video in place of frames; who reads only 1 refuses it.
LATENTS_SCHEMA_VERSION: Final = 2

BlobId = NewType("BlobId", str)

#: Integers beyond this are not the same in every JSON reader.
_INTEGER: Final = 2**53 - 1
_FRAMES: Final = 1_000_000


@attrs.frozen(kw_only=True)
class InlineFrames:
    """PNG files in base64."""

    frames_b64: list[Long]


@attrs.frozen(kw_only=True)
class StoredFrames:
    """PNG files in a blob; how many, if the writer has looked into it."""

    blob_id: BlobId
    frame_count: int | None = None


@attrs.frozen(kw_only=True)
class InlineTensor:
    """A safetensors file in base64."""

    safetensors_b64: Long


@attrs.frozen(kw_only=True)
class StoredTensor:
    """A safetensors file in a blob."""

    blob_id: BlobId


FramesPart = InlineFrames | StoredFrames
TensorPart = InlineTensor | StoredTensor


@attrs.frozen(kw_only=True)
class Payload:
    """Version 1. The fields stand in the order in which they are written.

    Attributes:
        schema_version: of the payload.
        segment_index: of the segment that was completed, from 0.
        video_conditioning_frame_idx: the pixel frame of the next segment at which the frames go.
        video_conditioning_strength: 1 keeps the frames as they are.
        audio_conditioning_num_frames: how much sound carries over, in pixel frames.
        audio_conditioning_strength: 1 keeps the sound as it is.
        video_position_offset_sec: seconds by which the video begins later than the sound.
        metadata: anything.
        audio_sample_rate: Hz.
        video: the last frames.
        audio: latents of the sound, [b, c, t, mel].
    """

    schema_version: int
    segment_index: int = param(default=0, ge=0, le=_INTEGER)
    video_conditioning_frame_idx: int = param(default=0, ge=-_FRAMES, le=_FRAMES)
    video_conditioning_strength: float = param(default=1.0, ge=0, le=1)
    audio_conditioning_num_frames: int = param(default=0, ge=0, le=_FRAMES)
    audio_conditioning_strength: float = param(default=1.0, ge=0, le=1)
    video_position_offset_sec: float = param(default=0.0, ge=0, le=86400)
    metadata: dict[str, Any] = attrs.field(factory=dict)
    audio_sample_rate: int | None = param(default=None, ge=1, le=_FRAMES)
    video: FramesPart | None = None
    audio: TensorPart | None = None


@attrs.frozen(kw_only=True)
class LatentsPayload(Payload):
    """Version 2: version 1 with latents of the last frames, [b, c, f, h, w], in the place of `video`."""

    video_latents: TensorPart


PAYLOADS: Final[Mapping[int, type[Payload]]] = {
    LTX2_CONTINUATION_SCHEMA_VERSION: Payload,
    LATENTS_SCHEMA_VERSION: LatentsPayload,
}
#: The settings: every field that is neither a version nor something large.
SETTINGS: Final = tuple(
    field.name for field in attrs.fields(Payload) if field.name not in ("schema_version", "video", "audio")
)


def structured(data: Any) -> Payload:
    """A payload from plain JSON, whose long strings may be `Long`.

    Raises:
        StructureError: everything that is wrong with it.
    """
    if not isinstance(data, Mapping):
        raise StructureError([Problem((), "invalid_type", f"{described(data)} is not a mapping", "must be a mapping")])
    if "schema_version" not in data:
        what = '"schema_version" is not set'
        why = "a payload that does not say its version could mean anything"
        fix = f"set it to {LTX2_CONTINUATION_SCHEMA_VERSION}"
        raise StructureError([Problem(("schema_version",), "missing_key", what, why, fix)])
    version = data["schema_version"]
    if type(version) is not int or version not in PAYLOADS:
        why = f"this release reads {' and '.join(map(str, PAYLOADS))}"
        what = f"Unsupported LTX-2 continuation schema version {described(version)}"
        raise StructureError([Problem(("schema_version",), "unsupported_version", what, why)])
    _refuse_null(data)
    payload: Payload = converter().structure(data, PAYLOADS[version])
    return payload


def unstructured(payload: Payload) -> dict[str, Any]:
    """Plain JSON, but for `Long` strings."""
    plain: dict[str, Any] = converter().unstructure(payload)
    return plain


@cache
def converter() -> cattrs.Converter:
    """Reads and writes payloads."""
    made = strict_converter()
    made.register_structure_hook(Long, lambda data, _: _long(data))
    made.register_unstructure_hook(Long, lambda data: data)
    made.register_structure_hook_func(lambda type_: type_ is BlobId, lambda data, _: _blob_id(data))
    # asked before the hook that tries each member of a union: which is meant follows from a key
    made.register_structure_hook_func(
        lambda t: t in (FramesPart, FramesPart | None), _part(made, InlineFrames, StoredFrames)
    )
    made.register_structure_hook_func(
        lambda t: t in (TensorPart, TensorPart | None), _part(made, InlineTensor, StoredTensor)
    )
    optional = {name: override(omit_if_default=True) for name in ("audio_sample_rate", "video", "audio")}
    for kind in PAYLOADS.values():
        write = make_dict_unstructure_fn(kind, made, _cattrs_omit_if_default=False, **optional)  # type: ignore[arg-type]
        made.register_unstructure_hook_func(partial(operator.is_, kind), write)
    return made


def _refuse_null(data: Mapping[Any, Any]) -> None:
    """Absent and null are two things, and only one of them is ever written."""
    for key, value in data.items():
        if value is None:
            raise StructureError([Problem((key,), "invalid_type", "it is null", "what is not there is left out")])


def _part(made: cattrs.Converter, inline: type, stored: type) -> Callable[[Any, Any], Any]:
    (key,) = (field.name for field in attrs.fields(inline))

    def hook(data: Any, _: Any) -> Any:
        if not isinstance(data, Mapping):
            raise StructureError(
                [Problem((), "invalid_type", f"{described(data)} is not a mapping", "must be a mapping")]
            )
        _refuse_null(data)
        if "blob_id" in data and key in data:
            what = f"it has both {key} and blob_id"
            raise StructureError([Problem((), "invalid_value", what, "one of them says where the content is")])
        return made.structure(data, stored if "blob_id" in data else inline)

    return hook


def _long(data: Any) -> Long:
    if isinstance(data, Long):
        return data
    if type(data) is not str:
        raise StructureError([Problem((), "invalid_type", f"{describe(data)} is not a string", "must be a string")])
    try:
        return Long(memoryview(data.encode("ascii")))
    except UnicodeEncodeError:
        raise StructureError([Problem((), "ltx2.bad_base64", "it is not base64", "must be ASCII")]) from None


def described(data: Any) -> str:
    """A value in a few words, for messages."""
    return "a long string" if isinstance(data, Long) else describe(data)


def _blob_id(data: Any) -> BlobId:
    if type(data) is not str or not BLOB_ID.fullmatch(data):
        what, why = f"{described(data)} is no blob id", "must be 32 lower-case hex digits"
        raise StructureError([Problem((), "invalid_value" if type(data) is str else "invalid_type", what, why)])
    return BlobId(data)
