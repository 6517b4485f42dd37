"""What is encoded comes back, bit for bit, whichever way it goes."""

from __future__ import annotations

import json
from typing import Any

import attrs
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from stagegraph.blobs import open_blobs
from stagegraph.continuation import ContinuationState
from stagegraph_ltx2.continuation import LTX2ContinuationState, base64text, decode, deflate, encode

from .conftest import PROFILE
from .states import states

from_state = LTX2ContinuationState.from_continuation_state


def is_plain(value: Any) -> bool:
    """Whether a value is what `json` itself makes, nothing that only looks like it."""
    if type(value) is dict:
        return all(type(key) is str and is_plain(item) for key, item in value.items())
    if type(value) is list:
        return all(map(is_plain, value))
    return value is None or type(value) in (bool, int, float, str)


@PROFILE
@given(states() | states(version=2))
def test_states_come_back_from_payloads(state: LTX2ContinuationState) -> None:
    """As envelopes of plain JSON, also through other JSON libraries; and encoded again they are the same."""
    envelope = state.to_continuation_state()
    assert is_plain(envelope.payload)
    assert from_state(envelope) == state
    crossed = ContinuationState(**json.loads(json.dumps(attrs.asdict(envelope))))
    again = from_state(crossed)
    assert again == state
    assert again.to_continuation_state() == envelope


@PROFILE
@given(states() | states(version=2))
def test_states_come_back_from_text(state: LTX2ContinuationState) -> None:
    """Straight to JSON text and back; the text says what the payload says."""
    text = encode(state)
    assert decode(text) == state
    envelope = state.to_continuation_state()
    assert json.loads(text) == {"kind": envelope.kind, "payload": envelope.payload}
    assert ContinuationState.from_json(text) == envelope
    assert encode(decode(text)) == text


@PROFILE
@given(states() | states(version=2), st.sampled_from([0, 300, 2**20]))
def test_states_come_back_from_blobs(state: LTX2ContinuationState, threshold: int) -> None:
    """With a store, whatever is inline and whatever is not."""
    if state.video_frames_blob_id or state.audio_latents_blob_id or state.video_latents_blob_id:
        return
    store = open_blobs("memory:").for_owner("a")
    text = encode(state, blob_store=store, inline_threshold_bytes=threshold)
    count = len(store)
    assert decode(text, blob_store=store) == state
    envelope = state.to_continuation_state(blob_store=store, inline_threshold_bytes=threshold)
    assert from_state(envelope, blob_store=store) == state
    assert len(store) == count
    unresolved = from_state(envelope)
    kept = unresolved.to_continuation_state(blob_store=store, inline_threshold_bytes=threshold)
    assert from_state(kept, blob_store=store) == state


def _frame() -> np.ndarray[Any, Any]:
    return np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)


def test_what_is_as_large_as_the_threshold_is_inline() -> None:
    """One byte more goes to the store; frames count as their PNG files together."""
    store = open_blobs("memory:").for_owner("a")
    state = LTX2ContinuationState(video_frames=[_frame(), _frame()], audio_latents=torch.zeros(1, 8, 4, 16))
    payload = state.to_continuation_state().payload
    sizes = {
        "video": sum(len(base64text.decode(memoryview(text.encode()))) for text in payload["video"]["frames_b64"]),
        "audio": len(base64text.decode(memoryview(payload["audio"]["safetensors_b64"].encode()))),
    }
    for part, size in sizes.items():
        at = state.to_continuation_state(blob_store=store, inline_threshold_bytes=size).payload[part]
        assert "blob_id" not in at
        below = state.to_continuation_state(blob_store=store, inline_threshold_bytes=size - 1).payload[part]
        assert "blob_id" in below


def test_the_default_threshold_is_2_mib() -> None:
    """Of a safetensors file, whose header has 80 bytes here."""
    store = open_blobs("memory:").for_owner("a")
    below = LTX2ContinuationState(audio_latents=torch.zeros(1, 1, 2**21 - 128, 1, dtype=torch.uint8))
    above = LTX2ContinuationState(audio_latents=torch.zeros(1, 1, 2**21, 1, dtype=torch.uint8))
    assert "safetensors_b64" in below.to_continuation_state(blob_store=store).payload["audio"]
    assert "blob_id" in above.to_continuation_state(blob_store=store).payload["audio"]


def test_every_library_gives_the_same_content(monkeypatch: pytest.MonkeyPatch) -> None:
    """With ISA-L and pybase64, and without, each reads what the other wrote."""
    assert deflate.isal() is not None
    assert base64text.fast is not None
    state = LTX2ContinuationState(video_frames=[_frame()] * 3, audio_latents=torch.randn(1, 8, 4, 16).bfloat16())
    fast = encode(state)
    monkeypatch.setattr(deflate, "isal", lambda: None)
    monkeypatch.setattr(base64text, "fast", None)
    assert deflate.fastest() is deflate.ZLIB
    plain = encode(state)
    assert decode(fast) == state
    monkeypatch.undo()
    assert decode(plain) == state
