"""Payloads of existing producers are read here, and ours by existing consumers."""

from __future__ import annotations

from typing import Any

import attrs
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save

from stagegraph.continuation import ContinuationState
from stagegraph_ltx2.continuation import (
    DEFAULT_INLINE_THRESHOLD_BYTES,
    FRAMES_MIME,
    LTX2_CONTINUATION_KIND,
    LTX2_CONTINUATION_SCHEMA_VERSION,
    TENSOR_MIME,
    Limits,
    LTX2ContinuationState,
    tensors,
)

from . import reference
from .conftest import PROFILE
from .states import states

from_state = LTX2ContinuationState.from_continuation_state


def fields_of(state: LTX2ContinuationState) -> dict[str, Any]:
    return {field.name: getattr(state, field.name) for field in attrs.fields(LTX2ContinuationState)}


@PROFILE
@given(states(), st.sampled_from([0, 2**21]))
def test_theirs_is_read(state: LTX2ContinuationState, threshold: int) -> None:
    """What Pillow, safetensors and base64 write of the same fields is the same state."""
    fields = fields_of(state)
    store = reference.DictStore()
    payload = reference.encode(fields, store, threshold)
    read = from_state(ContinuationState(LTX2_CONTINUATION_KIND, payload), blob_store=store)
    assert read == attrs.evolve(state, video_frames_blob_id=None, audio_latents_blob_id=None)


@PROFILE
@given(states(), st.sampled_from([0, 2**21]))
def test_ours_is_read(state: LTX2ContinuationState, threshold: int) -> None:
    """Key order, mime types, packing and all."""
    state = attrs.evolve(state, video_frames_blob_id=None, audio_latents_blob_id=None)
    fields = fields_of(state)
    store, theirs = reference.DictStore(), reference.DictStore()
    payload = state.to_continuation_state(blob_store=store, inline_threshold_bytes=threshold).payload
    expected = reference.encode(fields, theirs, threshold)
    assert [*payload] == [*expected]
    read = reference.decode(payload, store)
    for name, value in read.items():
        assert reference.same(fields[name], value), name
    if threshold == 0:
        assert [mime for _, mime in store.blobs.values()] == [mime for _, mime in theirs.blobs.values()]
        assert payload.get("video", {}).keys() == expected.get("video", {}).keys()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.int64])
def test_tensors_are_files_as_safetensors_writes_them(dtype: torch.dtype) -> None:
    """Byte for byte."""
    tensor = torch.randn(1, 8, 13, 16).to(dtype)
    assert tensors.encode(tensor, Limits()) == save({"t": tensor})


def test_names_that_others_know() -> None:
    """They are part of the format."""
    assert (LTX2_CONTINUATION_KIND, LTX2_CONTINUATION_SCHEMA_VERSION) == ("ltx2.v1", 1)
    assert DEFAULT_INLINE_THRESHOLD_BYTES == 2 * 1024 * 1024
    assert FRAMES_MIME == "application/x-fastvideo-frames+png"
    assert TENSOR_MIME == "application/x-fastvideo-tensor+safetensors"


def test_fields_that_are_missing_have_their_defaults_and_no_frames_are_none() -> None:
    """Nothing but the version is required; an empty list of frames is no frames."""
    for payload in ({"schema_version": 1}, {"schema_version": 1, "video": {"frames_b64": []}}):
        assert from_state(ContinuationState("ltx2.v1", payload)) == LTX2ContinuationState()


def test_an_unresolved_blob_is_written_again_by_its_id() -> None:
    """Without a store, ids stay ids; the count of frames is known only to who has looked."""
    blob_id = "0" * 32
    payload = {"schema_version": 1, "video": {"blob_id": blob_id, "frame_count": 3}, "audio": {"blob_id": blob_id}}
    state = from_state(ContinuationState("ltx2.v1", payload))
    assert (state.video_frames, state.video_frames_blob_id) == (None, blob_id)
    assert (state.audio_latents, state.audio_latents_blob_id) == (None, blob_id)
    again = state.to_continuation_state().payload
    assert (again["video"], again["audio"]) == ({"blob_id": blob_id}, {"blob_id": blob_id})


def test_latents_are_refused_by_who_reads_only_version_1() -> None:
    """The version says so; and nothing else in the payload looks like frames."""
    state = LTX2ContinuationState(video_latents=torch.zeros(1, 128, 2, 4, 4, dtype=torch.bfloat16))
    payload = state.to_continuation_state().payload
    assert payload["schema_version"] == 2
    assert "video" not in payload
    with pytest.raises(AssertionError):
        reference.decode(payload)
    assert np.shape(payload["video_latents"]["safetensors_b64"]) == ()
