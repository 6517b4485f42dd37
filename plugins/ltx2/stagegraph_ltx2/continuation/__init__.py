"""The state that one segment of an LTX-2 video hands to the next, and how it crosses a JSON boundary.

::

    state = LTX2ContinuationState(video_frames=frames, audio_latents=latents)
    data = encode(state)                    # JSON; or state.to_continuation_state()
    assert decode(data) == state            # or LTX2ContinuationState.from_continuation_state(envelope)

Importing it needs neither torch nor numpy.
"""

from stagegraph_ltx2.continuation.codec import (
    CODEC,
    FRAMES_MIME,
    LTX2_CONTINUATION_KIND,
    TENSOR_MIME,
    blob_ids,
    decode,
    encode,
)
from stagegraph_ltx2.continuation.limits import DEFAULT_INLINE_THRESHOLD_BYTES, Limits
from stagegraph_ltx2.continuation.payload import LATENTS_SCHEMA_VERSION, LTX2_CONTINUATION_SCHEMA_VERSION
from stagegraph_ltx2.continuation.state import LTX2ContinuationState

__all__ = [
    "CODEC",
    "DEFAULT_INLINE_THRESHOLD_BYTES",
    "FRAMES_MIME",
    "LATENTS_SCHEMA_VERSION",
    "LTX2_CONTINUATION_KIND",
    "LTX2_CONTINUATION_SCHEMA_VERSION",
    "TENSOR_MIME",
    "LTX2ContinuationState",
    "Limits",
    "blob_ids",
    "decode",
    "encode",
]
