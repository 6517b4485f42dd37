"""How much of a continuation state is believed before it has been looked at."""

from __future__ import annotations

import attrs

from stagegraph.strictjson import JsonLimits

#: Bytes. Frames or latents of more go to the blob store, if there is one.
DEFAULT_INLINE_THRESHOLD_BYTES = 2 * 1024 * 1024


@attrs.frozen(kw_only=True)
class Limits:
    """What a decoder accepts, and an encoder writes; a server sets them to what it can afford.

    Attributes:
        json: of the whole message.
        max_frames: how many.
        max_side: pixels, of the longer side of a frame.
        max_frame_pixels: of one frame.
        max_pixels: of all frames; six times as many bytes are in use while they are read.
        max_png_chunks: of one frame.
        max_frames_bytes: of all frames as PNG files.
        max_tensor_bytes: of the numbers of one tensor.
        max_header_bytes: of a safetensors file of one tensor.
        max_metadata_bytes: as JSON text without spaces.
    """

    json: JsonLimits = attrs.field(factory=JsonLimits)
    max_frames: int = 64
    max_side: int = 8192
    max_frame_pixels: int = 3840 * 2176
    max_pixels: int = 64 * 2**20
    max_png_chunks: int = 16_384
    max_frames_bytes: int = 256 * 2**20
    max_tensor_bytes: int = 64 * 2**20
    max_header_bytes: int = 4096
    max_metadata_bytes: int = 64 * 2**10
