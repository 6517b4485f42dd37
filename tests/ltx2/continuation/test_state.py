"""`LTX2ContinuationState` as a value, and what encoding it may and may not do."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from typing import Any

import attrs
import numpy as np
import pytest
import torch

from stagegraph.blobs import open_blobs
from stagegraph.continuation import ContinuationState
from stagegraph.errors import ContinuationError
from stagegraph.strictjson import JsonLimits
from stagegraph_ltx2.continuation import Limits, LTX2ContinuationState, decode, encode

from . import reference

FRAME = np.zeros((4, 6, 3), np.uint8)
BF16 = torch.zeros(1, 8, 3, 16, dtype=torch.bfloat16)


def refusal(**fields: Any) -> str:
    with pytest.raises(ContinuationError) as caught:
        LTX2ContinuationState(**fields)
    return str(caught.value)


def not_written(state: LTX2ContinuationState, **options: Any) -> str:
    with pytest.raises(ContinuationError) as caught:
        encode(state, **options)
    return str(caught.value)


def test_fields_have_the_names_order_and_defaults_that_others_know() -> None:
    """Positional arguments, too."""
    fields = attrs.fields(LTX2ContinuationState)
    assert [(f.name, getattr(LTX2ContinuationState(), f.name)) for f in fields if not f.kw_only] == [
        ("segment_index", 0),
        ("video_frames", None),
        ("video_frames_blob_id", None),
        ("video_conditioning_frame_idx", 0),
        ("video_conditioning_strength", 1.0),
        ("audio_latents", None),
        ("audio_latents_blob_id", None),
        ("audio_sample_rate", None),
        ("audio_conditioning_num_frames", 0),
        ("audio_conditioning_strength", 1.0),
        ("video_position_offset_sec", 0.0),
        ("metadata", {}),
    ]


def test_everything_that_is_wrong_with_a_state_is_told_at_once() -> None:
    """When it is made, with the field."""
    fields = {"segment_index": True, "video_conditioning_strength": 3, "audio_latents": BF16[0], "metadata": []}
    assert refusal(**fields) == (
        "segment_index: error[invalid_type]: true is not an integer\n"
        "  why: must be an integer\n"
        "video_conditioning_strength: error[invalid_value]: video_conditioning_strength is 3.0\n"
        "  why: must be >= 0, <= 1\n"
        "  fix: use 1\n"
        "metadata: error[invalid_type]: a list is not a mapping\n"
        "  why: must be a mapping\n"
        "audio_latents: error[invalid_value]: it is a tensor of torch.bfloat16 with the shape [8, 3, 16]\n"
        "  why: must be a torch.Tensor of 4 dimensions, of float64, float32, float16, bfloat16, int64, int32, int16, "
        "int8, uint8"
    )


@pytest.mark.parametrize(
    "frames",
    [
        [FRAME.astype(np.float32)],
        [FRAME[..., :2]],
        [FRAME[0]],
        [FRAME[:0]],
        [FRAME, FRAME[1:]],
        [FRAME.tolist()],
        FRAME[None],
        "abc",
        7,
    ],
)
def test_frames_are_arrays_of_one_size(frames: Any) -> None:
    """Anything else is refused, with its place."""
    text = refusal(video_frames=frames)
    assert text.startswith("video_frames")
    assert "uint8 HxWx3" in text


def test_a_source_is_one_of_two() -> None:
    """Content or the id of a blob; frames or latents."""
    latents = torch.zeros(1, 128, 2, 1, 1)
    assert "it is set, and so is video_frames_blob_id" in refusal(video_frames=[FRAME], video_frames_blob_id="0" * 32)
    assert "it is set, and so is audio_latents_blob_id" in refusal(audio_latents=BF16, audio_latents_blob_id="0" * 32)
    assert "frames, and latents of the video" in refusal(video_frames=[FRAME], video_latents=latents)
    assert "is no blob id" in refusal(video_latents_blob_id="../x")


def test_frames_cannot_be_written_to_and_no_frames_are_none() -> None:
    """A state does not change; the caller's own array stays as it was."""
    frame = FRAME.copy()
    state = LTX2ContinuationState(video_frames=[frame])
    assert state.video_frames is not None
    with pytest.raises(ValueError, match="read-only"):
        state.video_frames[0][0, 0, 0] = 1
    frame[0, 0, 0] = 0
    assert LTX2ContinuationState(video_frames=[]).video_frames is None


def test_states_are_equal_by_content_and_show_no_arrays() -> None:
    """Bit for bit, and of the same number format."""
    make = LTX2ContinuationState
    assert make(video_frames=[FRAME]) == make(video_frames=[FRAME.copy()]) != make(video_frames=[FRAME, FRAME])
    assert make(video_frames=[FRAME]) != make(video_frames=[FRAME + 1])
    assert make(audio_latents=BF16) == make(audio_latents=BF16.clone()) != make(audio_latents=BF16.half())
    assert make(audio_latents=BF16) != make(audio_latents=-BF16)
    assert make(audio_latents=BF16) != make()
    with pytest.raises(TypeError, match="unhashable"):
        hash(make())
    text = repr(make(video_frames=[FRAME], audio_latents=BF16))
    assert "video_frames=<1 frames of 6x4>" in text
    assert "audio_latents=<bfloat16 [1, 8, 3, 16]>" in text


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
def test_numbers_that_are_not_finite_are_not_written(value: float, dtype: torch.dtype) -> None:
    """The next segment would be made of them."""
    latents = torch.zeros(1, 8, 3, 16, dtype=dtype)
    latents[0, 7, 2, 15] = value
    text = not_written(LTX2ContinuationState(audio_latents=latents))
    assert text.startswith("audio_latents: error[ltx2.bad_tensor]: it has NaN or infinity")


@pytest.mark.parametrize(
    "value", [(1, 2), {1: 2}, {"a": float("nan")}, object(), b"x", {"a": {1, 2}}, "\ud800", 10**30, [[[]]] * 20_000]
)
def test_metadata_that_would_not_come_back_are_not_written(value: Any) -> None:
    """A tuple becomes a list, a key a string, and so on."""
    assert not_written(LTX2ContinuationState(metadata={"x": value})).startswith("metadata")


def test_metadata_within_themselves_are_refused() -> None:
    """They have no end."""
    metadata: dict[str, Any] = {}
    metadata["again"] = metadata
    assert "it is not plain JSON" in not_written(LTX2ContinuationState(metadata=metadata))
    deep: dict[str, Any] = {}
    for _ in range(100_000):
        deep = {"a": deep}
    assert "it is not plain JSON" in not_written(LTX2ContinuationState(metadata=deep))


def test_whatever_is_written_is_read_under_the_same_limits() -> None:
    """At each limit; one more is refused where it is written, before the work."""
    limits = Limits(max_frames=2, max_side=8, max_frame_pixels=48, max_pixels=96, max_tensor_bytes=768)
    fits = LTX2ContinuationState(
        video_frames=[np.zeros((8, 6, 3), np.uint8)] * 2, audio_latents=torch.zeros(1, 8, 24, 2, dtype=torch.bfloat16)
    )
    assert decode(encode(fits, limits=limits), limits=limits) == fits
    too_much = {
        "there are 3 frames": LTX2ContinuationState(video_frames=[FRAME] * 3),
        "a frame has 9x1 pixels": LTX2ContinuationState(video_frames=[np.zeros((1, 9, 3), np.uint8)]),
        "a frame has 7x7 pixels": LTX2ContinuationState(video_frames=[np.zeros((7, 7, 3), np.uint8)]),
        "a tensor has 816 bytes": LTX2ContinuationState(audio_latents=torch.zeros(1, 8, 51, 1, dtype=torch.int16)),
    }
    for what, state in too_much.items():
        assert what in not_written(state, limits=limits)
    small = attrs.evolve(limits, max_pixels=95)
    assert "the frames have 96 pixels" in not_written(fits, limits=small)


def test_a_message_that_would_be_too_large_goes_to_blobs_or_fails() -> None:
    """The refusal says what to give; with a store the same state fits."""
    random = np.random.default_rng(0)
    state = LTX2ContinuationState(video_frames=[random.integers(0, 256, (200, 300, 3), np.uint8)])
    limits = Limits(json=JsonLimits(max_bytes=200_000))
    text = not_written(state, limits=limits)
    assert "too_large" in text
    assert "fix: give a blob store, or a smaller inline_threshold_bytes" in text
    store = open_blobs("memory:").for_owner("a")
    data = encode(state, limits=limits, blob_store=store, inline_threshold_bytes=100_000)
    assert len(data) < 1000
    assert decode(data, limits=limits, blob_store=store) == state


@pytest.mark.parametrize("name", ["x", "0" * 31, None, 7])
def test_a_store_with_other_ids_is_refused(name: Any) -> None:
    """What it gives could not be read again."""

    class Odd(reference.DictStore):
        def put(self, data: bytes, *, mime: str = "") -> Any:
            return name

    text = not_written(LTX2ContinuationState(audio_latents=BF16), blob_store=Odd(), inline_threshold_bytes=0)
    assert text.startswith("audio_latents: error[bad_blob]: the store gives the id")


@pytest.mark.parametrize("content", [None, "text", 7])
def test_a_store_that_gives_no_bytes_is_told(content: Any) -> None:
    """As a fault of the blob, with its place."""

    class Odd(reference.DictStore):
        def get(self, blob_id: str) -> Any:
            return content

    state = ContinuationState("ltx2.v1", {"schema_version": 1, "audio": {"blob_id": "0" * 32}})
    with pytest.raises(ContinuationError) as caught:
        LTX2ContinuationState.from_continuation_state(state, blob_store=Odd())
    assert (caught.value.code, caught.value.faults[0].where) == ("bad_blob", "payload.audio.blob_id")


def test_another_kind_is_not_read() -> None:
    """Whatever it holds."""
    with pytest.raises(ValueError, match=r'Expected ContinuationState.kind "ltx2.v1", it is "other.v1"'):
        LTX2ContinuationState.from_continuation_state(ContinuationState("other.v1", {"schema_version": 1}))


def test_payloads_that_no_json_has_are_refused() -> None:
    """A Python caller can give anything."""
    cyclic: dict[str, Any] = {}
    cyclic["x"] = cyclic
    for payload in ({1: 2}, {"metadata": cyclic}, {"metadata": {"x": object()}}, {"video": {"frames_b64": [b"x"]}}):
        state = ContinuationState("ltx2.v1", {"schema_version": 1, **payload})
        with pytest.raises(ContinuationError):
            LTX2ContinuationState.from_continuation_state(state)


def test_importing_it_imports_neither_torch_nor_numpy() -> None:
    """A server can read envelopes before it loads a model."""
    program = "import stagegraph_ltx2.continuation, sys; print({'torch', 'numpy', 'PIL', 'isal'} & {*sys.modules})"
    assert (
        subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout == "set()\n"
    )


MEASURE = """
import json, sys
import numpy as np
from pathlib import Path
from stagegraph_ltx2.continuation import LTX2ContinuationState, decode, encode
def status(key):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(key))
y, x = np.mgrid[0:1088, 0:1920].astype(np.uint16)
frames = [np.stack([(x + 3 * i) // 8 + y // 9 + (x * y) % 3, y // 5, x // 8], -1).astype(np.uint8) for i in range(9)]
decode(encode(LTX2ContinuationState(video_frames=[frames[0][:8, :8]])))
state = LTX2ContinuationState(video_frames=frames)
Path("/proc/self/clear_refs").write_text("5")
before = status("VmRSS")
data = encode(state)
encoding = status("VmHWM") - before
pixels = sum(f.nbytes for f in frames)
del state, frames, x, y
Path("/proc/self/clear_refs").write_text("5")
before = status("VmRSS")
state = decode(data)
print(json.dumps([len(data), pixels, encoding, status("VmHWM") - before]))
"""


def test_memory_follows_from_what_is_there() -> None:
    """Nine frames of 1920x1088: what is taken for them is at most three times their pixels, and a constant."""
    done = subprocess.run([sys.executable, "-c", MEASURE], capture_output=True, text=True, check=True)
    _, pixels, encoding, decoding = json.loads(done.stdout)
    assert encoding < 3 * pixels + 64 * 2**20
    assert decoding < 3 * pixels + 64 * 2**20
