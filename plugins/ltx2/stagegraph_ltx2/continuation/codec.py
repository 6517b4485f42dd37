"""States to envelopes and JSON, and back. What is written here is always read here, under the same limits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final, TypeVar

import attrs

from stagegraph.continuation import BLOB_ID, BlobStore, ContinuationCodec, ContinuationState, envelope, refused
from stagegraph.errors import ContinuationError
from stagegraph.serde import Path, Problem, StructureError, describe
from stagegraph.strictjson import Long, joined, read, write
from stagegraph_ltx2.continuation import base64text, frames, tensors
from stagegraph_ltx2.continuation.limits import DEFAULT_INLINE_THRESHOLD_BYTES, Limits
from stagegraph_ltx2.continuation.payload import (
    LATENTS_SCHEMA_VERSION,
    LTX2_CONTINUATION_SCHEMA_VERSION,
    SETTINGS,
    BlobId,
    FramesPart,
    InlineFrames,
    InlineTensor,
    LatentsPayload,
    Payload,
    StoredFrames,
    StoredTensor,
    TensorPart,
    described,
    structured,
    unstructured,
)
from stagegraph_ltx2.continuation.png import HEAD_BYTES
from stagegraph_ltx2.continuation.state import LTX2ContinuationState
from stagegraph_ltx2.errors import problem

if TYPE_CHECKING:
    from torch import Tensor

    from stagegraph_ltx2.continuation.png import Pixels

T = TypeVar("T")

LTX2_CONTINUATION_KIND: Final = "ltx2.v1"
FRAMES_MIME: Final = "application/x-fastvideo-frames+png"
TENSOR_MIME: Final = "application/x-fastvideo-tensor+safetensors"

#: Dimensions of latents of sound, [b, c, t, mel], and of video, [b, c, f, h, w].
_AUDIO, _VIDEO = 4, 5
#: Bytes of a message that are neither metadata nor something large, and tokens and depth beside metadata.
_REST: Final = 4096
_TOKENS: Final = 512
_DEPTH: Final = 3
#: Characters of base64 that hold the head of a PNG file.
_HEAD_CHARACTERS: Final = -(-HEAD_BYTES // 3) * 4


def encode(
    state: LTX2ContinuationState,
    *,
    blob_store: BlobStore | None = None,
    inline_threshold_bytes: int = DEFAULT_INLINE_THRESHOLD_BYTES,
    limits: Limits | None = None,
) -> bytes:
    """A state as JSON text: an envelope.

    Args:
        state: what to write.
        blob_store: takes what is larger than the threshold; without one everything is in the text.
        inline_threshold_bytes: of all frames as PNG files, or of a safetensors file.
        limits: of whoever reads it.

    Raises:
        ContinuationError: what was made would not be accepted, or the store refuses it.
    """
    with_longs = unstructured(_payload(state, blob_store, inline_threshold_bytes, limits or Limits()))
    return write({"kind": LTX2_CONTINUATION_KIND, "payload": with_longs})


def decode(data: bytes, *, blob_store: BlobStore | None = None, limits: Limits | None = None) -> LTX2ContinuationState:
    """The state in JSON text that anybody may have written.

    Args:
        data: an envelope of the kind "ltx2.v1".
        blob_store: has the blobs that the payload refers to; without one their ids stay ids.
        limits: what is accepted; nothing larger is ever allocated for it.

    Raises:
        ContinuationError: it is anything else than `encode` writes.
    """
    limits = limits or Limits()
    try:
        document = envelope(data, limits.json)
        return _state(document["kind"], document["payload"], blob_store, limits)
    except StructureError as error:
        raise refused(error) from None


def to_envelope(state: LTX2ContinuationState, store: BlobStore | None, threshold: int) -> ContinuationState:
    """See `LTX2ContinuationState.to_continuation_state`."""
    return ContinuationState(LTX2_CONTINUATION_KIND, joined(unstructured(_payload(state, store, threshold, Limits()))))


def from_envelope(
    state: ContinuationState, store: BlobStore | None, limits: Limits | None = None
) -> LTX2ContinuationState:
    """See `LTX2ContinuationState.from_continuation_state`."""
    try:
        return _state(state.kind, state.payload, store, limits or Limits())
    except StructureError as error:
        raise refused(error) from None


def blob_ids(state: ContinuationState) -> Iterator[str]:
    """The blobs that an envelope refers to."""
    for part in ("video", "audio", "video_latents"):
        found = state.payload.get(part)
        if isinstance(found, dict) and isinstance(found.get("blob_id"), str):
            yield found["blob_id"]


CODEC: Final = ContinuationCodec(
    LTX2_CONTINUATION_KIND,
    LTX2ContinuationState,
    lambda state, store: to_envelope(state, store, DEFAULT_INLINE_THRESHOLD_BYTES),
    from_envelope,
    blob_ids,
)


def _payload(state: LTX2ContinuationState, store: BlobStore | None, threshold: int, limits: Limits) -> Payload:
    try:
        _at(("metadata",), _check_metadata, state.metadata, limits)
        settings = {name: getattr(state, name) for name in SETTINGS}
        video = _at(("video_frames",), _frames_part, state, store, threshold, limits)
        audio = _at(
            ("audio_latents",), _tensor_part, state.audio_latents, state.audio_latents_blob_id, store, threshold, limits
        )
        latents = _at(
            ("video_latents",), _tensor_part, state.video_latents, state.video_latents_blob_id, store, threshold, limits
        )
        if latents is not None:
            version = LATENTS_SCHEMA_VERSION
            made: Payload = LatentsPayload(schema_version=version, audio=audio, video_latents=latents, **settings)
        else:
            made = Payload(schema_version=LTX2_CONTINUATION_SCHEMA_VERSION, video=video, audio=audio, **settings)
        _check_message(made, limits)
    except StructureError as error:
        raise refused(error) from None
    return made


def _frames_part(
    state: LTX2ContinuationState, store: BlobStore | None, threshold: int, limits: Limits
) -> FramesPart | None:
    if state.video_frames is None:
        return None if state.video_frames_blob_id is None else StoredFrames(blob_id=BlobId(state.video_frames_blob_id))
    _check_frames(state.video_frames, limits)
    if store is None:
        return InlineFrames(frames_b64=frames.encode(state.video_frames, _base64))
    files = frames.encode(state.video_frames, lambda file: file)
    total = sum(map(len, files))
    if total <= threshold:
        return InlineFrames(frames_b64=list(map(_base64, files)))
    if total > limits.max_frames_bytes:
        why = f"must have at most {limits.max_frames_bytes}"
        raise StructureError([Problem((), "too_large", f"as PNG files they have {total} bytes", why)])
    return StoredFrames(blob_id=_put(store, frames.pack(files), FRAMES_MIME), frame_count=len(files))


def _tensor_part(
    tensor: Tensor | None, blob_id: str | None, store: BlobStore | None, threshold: int, limits: Limits
) -> TensorPart | None:
    if tensor is None:
        return None if blob_id is None else StoredTensor(blob_id=BlobId(blob_id))
    file = tensors.encode(tensor, limits)
    if store is None or len(file) <= threshold:
        return InlineTensor(safetensors_b64=_base64(file))
    return StoredTensor(blob_id=_put(store, file, TENSOR_MIME))


def _state(kind: Any, payload: Any, store: BlobStore | None, limits: Limits) -> LTX2ContinuationState:
    if kind != LTX2_CONTINUATION_KIND:
        what = f'Expected ContinuationState.kind "{LTX2_CONTINUATION_KIND}", it is {described(kind)}'
        raise StructureError([Problem(("kind",), "unknown_kind", what, "states are read by the codec of their kind")])
    return _at(("payload",), _read, payload, store, limits)


def _read(payload: Any, store: BlobStore | None, limits: Limits) -> LTX2ContinuationState:
    said = structured(payload)
    settings = {name: getattr(said, name) for name in SETTINGS}
    settings["metadata"] = _at(("metadata",), _metadata, said.metadata, limits)
    if isinstance(said, LatentsPayload) and said.video is not None:
        why = "the next segment goes on from one of them"
        raise StructureError([Problem(("video",), "invalid_value", "there are frames, and latents of the video", why)])
    latents = said.video_latents if isinstance(said, LatentsPayload) else None
    for name, part, read_part in (
        ("video", said.video, _frames),
        ("audio", said.audio, lambda *of: _tensor(_AUDIO, *of)),
        ("video_latents", latents, lambda *of: _tensor(_VIDEO, *of)),
    ):
        field = {"video": "video_frames", "audio": "audio_latents"}.get(name, name)
        if isinstance(part, (StoredFrames, StoredTensor)) and store is None:
            settings[f"{field}_blob_id"] = part.blob_id
        elif part is not None:
            settings[field] = _at((name,), read_part, part, store, limits)
    return LTX2ContinuationState(**settings)


def _frames(part: FramesPart, store: BlobStore | None, limits: Limits) -> list[Pixels]:
    if isinstance(part, InlineFrames):
        if sum(len(text.data) for text in part.frames_b64) > limits.max_frames_bytes // 3 * 4:
            raise _too_large("the frames", limits.max_frames_bytes)
        return _at(
            ("frames_b64",),
            frames.decode,
            part.frames_b64,
            lambda text: base64text.decode(text.data[:_HEAD_CHARACTERS]),
            lambda text: base64text.decode(text.data),
            limits,
        )
    return _at(("blob_id",), _stored_frames, part, store, limits)


def _stored_frames(part: StoredFrames, store: BlobStore | None, limits: Limits) -> list[Pixels]:
    files = frames.unpack(_fetched(store, part.blob_id, limits.max_frames_bytes), limits)
    if part.frame_count is not None and part.frame_count != len(files):
        raise problem("bad_frames", f"the blob has {len(files)} frames, not {part.frame_count} as frame_count says")
    return frames.decode(files, lambda file: file[:HEAD_BYTES], lambda file: file, limits)


def _tensor(rank: int, part: TensorPart, store: BlobStore | None, limits: Limits) -> Tensor:
    most = limits.max_tensor_bytes + limits.max_header_bytes + 8
    if isinstance(part, StoredTensor):
        return _at(("blob_id",), lambda: tensors.decode(_fetched(store, part.blob_id, most), rank, limits))
    text = part.safetensors_b64.data
    if len(text) > -(-most // 3) * 4:
        raise StructureError([attrs.evolve(_too_large("a tensor", most).problems[0], path=("safetensors_b64",))])
    return _at(("safetensors_b64",), lambda: tensors.decode(base64text.decode(text), rank, limits))


def _fetched(store: BlobStore | None, blob_id: str, most: int) -> bytes:
    assert store is not None
    try:
        data = store.get(blob_id)
    except KeyError:
        why = "it was dropped, has expired, or never was"
        raise StructureError([Problem((), "unknown_blob", f"there is no blob {blob_id}", why)]) from None
    except ContinuationError as error:
        raise StructureError([Problem((), f.code, f.what, f.why, f.fix) for f in error.faults]) from None
    if not isinstance(data, (bytes, bytearray, memoryview)):
        raise StructureError([Problem((), "bad_blob", f"the store gives a {type(data).__name__}, not bytes")])
    if len(data) > most:
        raise _too_large("the blob", most)
    return bytes(data)


def _put(store: BlobStore, data: bytes, mime: str) -> BlobId:
    blob_id = store.put(data, mime=mime)
    if not isinstance(blob_id, str) or not BLOB_ID.fullmatch(blob_id):
        why = "must be 32 lower-case hex digits"
        raise StructureError([Problem((), "bad_blob", f"the store gives the id {describe(blob_id)}", why)])
    return BlobId(blob_id)


def _metadata(metadata: Any, limits: Limits) -> dict[str, Any]:
    plain: dict[str, Any] = joined(metadata)
    _check_metadata(plain, limits)
    return plain


def _check_metadata(metadata: dict[str, Any], limits: Limits) -> None:
    """That metadata come back as they are, and are not too many."""
    try:
        text = write(metadata)
    except (TypeError, ValueError, RecursionError) as error:
        raise StructureError([Problem((), "invalid_value", f"it is not plain JSON: {error}")]) from None
    if len(text) > limits.max_metadata_bytes:
        raise _too_large("as JSON text it", limits.max_metadata_bytes)
    if read(text, limits.json.within(_DEPTH, _TOKENS)) != metadata:
        what = "it would not come back as it is"
        raise StructureError(
            [Problem((), "invalid_value", what, "must be dicts with str keys, lists, and plain values")]
        )


def _check_frames(pictures: list[Pixels], limits: Limits) -> None:
    height, width, _ = pictures[0].shape
    if len(pictures) > limits.max_frames:
        why = f"must be at most {limits.max_frames}"
        raise StructureError([Problem((), "too_large", f"there are {len(pictures)} frames", why)])
    if max(height, width) > limits.max_side or height * width > limits.max_frame_pixels:
        why = f"must have at most {limits.max_side} a side and {limits.max_frame_pixels} in all"
        raise StructureError([Problem((), "too_large", f"a frame has {width}x{height} pixels", why)])
    frames.check_sizes([(height, width)] * len(pictures), limits)


def _check_message(payload: Payload, limits: Limits) -> None:
    texts = list(payload.video.frames_b64) if isinstance(payload.video, InlineFrames) else []
    latents = payload.video_latents if isinstance(payload, LatentsPayload) else None
    texts += [part.safetensors_b64 for part in (payload.audio, latents) if isinstance(part, InlineTensor)]
    total = sum(len(text.data) for text in texts) + limits.max_metadata_bytes + _REST
    if total > limits.json.max_bytes:
        why = f"must have at most {limits.json.max_bytes}"
        fix = "give a blob store, or a smaller inline_threshold_bytes"
        raise StructureError([Problem((), "too_large", f"the message would have {total} bytes", why, fix)])


def _base64(file: bytes) -> Long:
    return Long(memoryview(base64text.encode(file)))


def _too_large(what: str, most: int) -> StructureError:
    return StructureError([Problem((), "too_large", f"{what} has too many bytes", f"must have at most {most}")])


def _at(path: Path, function: Callable[..., T], *arguments: Any) -> T:
    """What a function gives; of what it refuses, the paths begin with this one."""
    try:
        return function(*arguments)
    except StructureError as error:
        raise StructureError([attrs.evolve(p, path=(*path, *p.path)) for p in error.problems]) from None
