"""States for hypothesis: every field, every number format, odd shapes."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st

from stagegraph_ltx2.continuation import LTX2ContinuationState

DTYPES = [
    *(torch.float32, torch.float16, torch.bfloat16, torch.float64),
    *(torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8),
]

#: Valid Unicode; PNG and base64 know nothing of it, metadata do.
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
IDS = st.integers(0, 2**128 - 1).map("{:032x}".format)


@st.composite
def frames(draw: st.DrawFn) -> list[np.ndarray[Any, Any]]:
    """One to four frames: noise, steps or flat, also as views that are not contiguous."""
    count, height, width = draw(st.integers(1, 4)), draw(st.integers(1, 17)), draw(st.integers(1, 17))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    noise = random.integers(0, 256, (count, height, width, 3), np.uint8)
    kind = draw(st.sampled_from(["noise", "down", "right", "flat", "transposed", "every other"]))
    if kind == "down":
        noise = np.add.accumulate(noise // 32, axis=1, dtype=np.uint8)
    if kind == "right":
        noise = np.add.accumulate(noise // 32, axis=2, dtype=np.uint8)
    if kind == "flat":
        noise[:] = noise[0, 0, 0]
    if kind == "transposed":
        noise = noise.transpose(0, 2, 1, 3)
    if kind == "every other":
        noise = noise[:, ::-1, (width + 1) % 2 :: 2] if width > 1 else noise[:, ::-1]
    return list(noise)


@st.composite
def tensors(draw: st.DrawFn, rank: int) -> torch.Tensor:
    """Finite numbers of any format, zero-sized now and then, not always contiguous."""
    shape = draw(st.lists(st.integers(0, 5), min_size=rank, max_size=rank))
    dtype = draw(st.sampled_from(DTYPES))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**32)))
    wide = torch.randn(shape, generator=generator, dtype=torch.float64) * draw(st.sampled_from([1e-40, 1.0, 100.0]))
    tensor = wide.to(dtype)
    return tensor.transpose(-1, -2) if draw(st.booleans()) else tensor


@st.composite
def states(draw: st.DrawFn, *, version: int = 1) -> LTX2ContinuationState:
    """Any state."""
    strength = st.floats(0, 1)
    fields: dict[str, Any] = {
        "segment_index": draw(st.integers(0, 2**53 - 1)),
        "video_conditioning_frame_idx": draw(st.integers(-(10**6), 10**6)),
        "video_conditioning_strength": draw(strength),
        "audio_conditioning_num_frames": draw(st.integers(0, 10**6)),
        "audio_conditioning_strength": draw(strength),
        "video_position_offset_sec": draw(st.floats(0, 86400)),
        "metadata": draw(st.dictionaries(TEXT, PLAIN, max_size=3)),
        "audio_sample_rate": draw(st.none() | st.integers(1, 10**6)),
    }
    choices: dict[str, Any] = {"audio_latents": tensors(4), "audio_latents_blob_id": IDS}
    fields |= _one_of(draw, choices)
    if version == 1:
        fields |= _one_of(draw, {"video_frames": frames(), "video_frames_blob_id": IDS})
    else:
        fields |= _one_of(draw, {"video_latents": tensors(5), "video_latents_blob_id": IDS}, required=True)
    return LTX2ContinuationState(**fields)


def _one_of(draw: st.DrawFn, choices: dict[str, Any], *, required: bool = False) -> dict[str, Any]:
    name = draw(st.sampled_from([*([] if required else [None]), *choices]))
    return {} if name is None else {name: draw(choices[name])}
