"""States as artifacts: outputs of nodes that are kept, and come back."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from stagegraph.errors import ArtifactError
from stagegraph_ltx2.codecs import CODECS
from stagegraph_ltx2.continuation import LTX2ContinuationState

CODEC = next(codec for codec in CODECS if codec.name == "ltx2.continuation")
STATE = LTX2ContinuationState(
    segment_index=3,
    video_frames=[np.arange(60, dtype=np.uint8).reshape(4, 5, 3)],
    audio_latents=torch.randn(1, 8, 5, 16).to(torch.bfloat16),
    metadata={"timeline": {"frames": 9, "frame_rate": "24"}},
)


def test_a_state_comes_back() -> None:
    """The same, and the same bytes each time, which is what it is known by."""
    data = b"".join(CODEC.encode(STATE))
    assert CODEC.decode(bytearray(data)) == STATE
    assert b"".join(CODEC.encode(STATE)) == data


def test_damage_is_refused() -> None:
    """At every byte from the end on."""
    data = b"".join(CODEC.encode(STATE))
    for length in range(0, len(data), 7):
        with pytest.raises(ArtifactError):
            CODEC.decode(bytearray(data[:length]))
