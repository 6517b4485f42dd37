"""`LTX2ContinuationState`: what one segment of an LTX-2 video hands to the next."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import attrs

from stagegraph.continuation import BlobStore, ContinuationState, refused
from stagegraph.serde import Path, Problem, StructureError
from stagegraph_ltx2.continuation import payload, tensors
from stagegraph_ltx2.continuation.limits import DEFAULT_INLINE_THRESHOLD_BYTES

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor


def _float(value: Any) -> Any:
    return float(value) if type(value) is int and -(2**53) < value < 2**53 else value


def _frames(value: Any) -> Any:
    """Read-only views of the frames; None of no frames."""
    if not isinstance(value, Sequence) or isinstance(value, str):
        return value
    return [_read_only(frame) for frame in value] or None


def _read_only(frame: Any) -> Any:
    import numpy as np

    if not isinstance(frame, np.ndarray) or not frame.size:
        return frame
    view = np.ascontiguousarray(frame).view()
    view.setflags(write=False)
    return view


def _same_frames(one: Any, other: Any) -> bool:
    import numpy as np

    if one is None or other is None:
        return one is other
    return len(one) == len(other) and all(map(np.array_equal, one, other))


def _frames_repr(frames: Any) -> str:
    return "None" if frames is None else f"<{len(frames)} frames of {frames[0].shape[1]}x{frames[0].shape[0]}>"


def _tensor_repr(tensor: Any) -> str:
    return "None" if tensor is None else f"<{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}>"


@attrs.frozen
class LTX2ContinuationState:
    """What one segment hands to the next. A state that exists is valid.

    Attributes:
        segment_index: of the segment that was completed, from 0; the next is one more.
        video_frames: its last frames, each uint8 [h, w, 3], RGB, all of one size; read-only.
        video_frames_blob_id: where they are, if not here.
        video_conditioning_frame_idx: the pixel frame of the next segment at which they go; negative from its end.
        video_conditioning_strength: 1 keeps them as they are, 0 not at all.
        audio_latents: denoised latents of the sound, [b, c, t, mel], of any number format but bool and complex.
        audio_latents_blob_id: where they are, if not here.
        audio_sample_rate: of the sound, in Hz.
        audio_conditioning_num_frames: how much of the sound's end carries over, in pixel frames.
        audio_conditioning_strength: 1 keeps it as it is, 0 makes it anew. (There is documentation that says the
            opposite; this is what producers and consumers of these payloads do.)
        video_position_offset_sec: seconds by which the video begins after the sound, where more sound than video
            carries over.
        metadata: anything else, as plain JSON.
        video_latents: in place of frames, normalised latents of them, [b, c, f, h, w]. Exact and a thirtieth of the
            size, but read by schema version 2 only.
        video_latents_blob_id: where they are, if not here.

    Raises:
        ContinuationError: which is a ValueError, with everything that is wrong.
    """

    segment_index: int = 0
    video_frames: list[NDArray[np.uint8]] | None = attrs.field(
        default=None, converter=_frames, eq=attrs.cmp_using(eq=_same_frames), repr=_frames_repr
    )
    video_frames_blob_id: str | None = None
    video_conditioning_frame_idx: int = 0
    video_conditioning_strength: float = attrs.field(default=1.0, converter=_float)
    audio_latents: Tensor | None = attrs.field(default=None, eq=attrs.cmp_using(eq=tensors.same), repr=_tensor_repr)
    audio_latents_blob_id: str | None = None
    audio_sample_rate: int | None = None
    audio_conditioning_num_frames: int = 0
    audio_conditioning_strength: float = attrs.field(default=1.0, converter=_float)
    video_position_offset_sec: float = attrs.field(default=0.0, converter=_float)
    metadata: dict[str, Any] = attrs.field(factory=dict)
    video_latents: Tensor | None = attrs.field(
        default=None, eq=attrs.cmp_using(eq=tensors.same), repr=_tensor_repr, kw_only=True
    )
    video_latents_blob_id: str | None = attrs.field(default=None, kw_only=True)

    def __attrs_post_init__(self) -> None:
        problems = [*_settings(self), *_sources(self), *_arrays(self)]
        if problems:
            raise refused(StructureError(problems))

    def to_continuation_state(
        self,
        *,
        blob_store: BlobStore | None = None,
        inline_threshold_bytes: int = DEFAULT_INLINE_THRESHOLD_BYTES,
    ) -> ContinuationState:
        """The state as an envelope of plain JSON.

        Args:
            blob_store: takes what is larger than the threshold; without one everything is in the payload.
            inline_threshold_bytes: of all frames as PNG files, or of a safetensors file.

        Raises:
            ContinuationError: what was made would not be accepted under the default limits, or the store refuses it.
        """
        from stagegraph_ltx2.continuation import codec

        return codec.to_envelope(self, blob_store, inline_threshold_bytes)

    @classmethod
    def from_continuation_state(
        cls, state: ContinuationState, *, blob_store: BlobStore | None = None
    ) -> LTX2ContinuationState:
        """The state in an envelope.

        Args:
            state: of the kind "ltx2.v1".
            blob_store: has the blobs that the payload refers to; without one their ids stay ids.

        Raises:
            ContinuationError: which is a ValueError: another kind, no version or one that is not read, or anything
                else than `to_continuation_state` writes.
        """
        from stagegraph_ltx2.continuation import codec

        return codec.from_envelope(state, blob_store)


def _settings(state: LTX2ContinuationState) -> list[Problem]:
    values = {name: getattr(state, name) for name in payload.SETTINGS}
    if values["audio_sample_rate"] is None:
        del values["audio_sample_rate"]
    return _problems(payload.structured, {"schema_version": payload.LTX2_CONTINUATION_SCHEMA_VERSION, **values})


def _sources(state: LTX2ContinuationState) -> list[Problem]:
    problems: list[Problem] = []
    for name in ("video_frames", "audio_latents", "video_latents"):
        blob_id = getattr(state, f"{name}_blob_id")
        if blob_id is not None:
            problems += _problems(
                lambda value: payload.converter().structure(value, payload.BlobId), blob_id, f"{name}_blob_id"
            )
            if getattr(state, name) is not None:
                why = "the one says where the other is"
                problems.append(Problem((name,), "invalid_value", f"it is set, and so is {name}_blob_id", why))
    frames = state.video_frames is not None or state.video_frames_blob_id is not None
    if frames and (state.video_latents is not None or state.video_latents_blob_id is not None):
        why = "the next segment goes on from one of them"
        problems.append(Problem(("video_latents",), "invalid_value", "there are frames, and latents of the video", why))
    return problems


def _arrays(state: LTX2ContinuationState) -> list[Problem]:
    problems: list[Problem] = []
    if state.video_frames is not None:
        problems += _problems(_check_frames, state.video_frames, "video_frames")
    for name, rank in (("audio_latents", 4), ("video_latents", 5)):
        if getattr(state, name) is not None:
            problems += _problems(lambda value, rank=rank: tensors.check(value, rank), getattr(state, name), name)
    return problems


def _check_frames(frames: Any) -> None:
    import numpy as np

    wanted = "must be a list of arrays, uint8 HxWx3, all of one size"
    if not isinstance(frames, list):
        raise StructureError([Problem((), "invalid_type", f"it is a {type(frames).__name__}", wanted)])
    for index, frame in enumerate(frames):
        if not isinstance(frame, np.ndarray):
            raise StructureError([Problem((index,), "invalid_type", f"it is a {type(frame).__name__}", wanted)])
        if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3 or not frame.size:
            what = f"it is {frame.dtype} {list(frame.shape)}"
            raise StructureError([Problem((index,), "invalid_value", what, wanted)])
        if frame.shape != frames[0].shape:
            what = f"it has the shape {list(frame.shape)}, the first {list(frames[0].shape)}"
            raise StructureError([Problem((index,), "invalid_value", what, wanted)])


def _problems(check: Any, value: Any, *path: str) -> list[Problem]:
    try:
        check(value)
    except StructureError as error:
        root: Path = path
        return [attrs.evolve(problem, path=(*root, *problem.path)) for problem in error.problems]
    return []
