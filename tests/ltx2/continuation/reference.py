"""What other producers and consumers of "ltx2.v1" do, written from the format with Pillow and the standard library."""

from __future__ import annotations

import base64
import io
import struct
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load, save


class DictStore:
    """A blob store of the least that such a store has: random ids, `KeyError` for others."""

    def __init__(self) -> None:
        self.blobs: dict[str, tuple[bytes, str]] = {}

    def put(self, data: bytes, *, mime: str = "application/octet-stream") -> str:
        blob_id = f"{len(self.blobs):032x}"
        self.blobs[blob_id] = (data, mime)
        return blob_id

    def get(self, blob_id: str) -> bytes:
        return self.blobs[blob_id][0]

    def drop(self, blob_id: str) -> None:
        self.blobs.pop(blob_id, None)

    def __contains__(self, blob_id: object) -> bool:
        return blob_id in self.blobs


def encode(fields: dict[str, Any], store: DictStore | None = None, threshold: int = 2 * 1024 * 1024) -> dict[str, Any]:
    """The payload of a state given as a dict of its fields."""
    payload = {
        "schema_version": 1,
        "segment_index": fields.get("segment_index", 0),
        "video_conditioning_frame_idx": fields.get("video_conditioning_frame_idx", 0),
        "video_conditioning_strength": fields.get("video_conditioning_strength", 1.0),
        "audio_conditioning_num_frames": fields.get("audio_conditioning_num_frames", 0),
        "audio_conditioning_strength": fields.get("audio_conditioning_strength", 1.0),
        "video_position_offset_sec": fields.get("video_position_offset_sec", 0.0),
        "metadata": fields.get("metadata", {}),
    }
    if fields.get("audio_sample_rate") is not None:
        payload["audio_sample_rate"] = fields["audio_sample_rate"]
    if fields.get("video_frames"):
        files = []
        for pixels in fields["video_frames"]:
            file = io.BytesIO()
            Image.fromarray(pixels).save(file, format="PNG")
            files.append(file.getvalue())
        if store is not None and sum(map(len, files)) > threshold:
            blob = struct.pack(">I", len(files)) + b"".join(struct.pack(">I", len(f)) + f for f in files)
            blob_id = store.put(blob, mime="application/x-fastvideo-frames+png")
            payload["video"] = {"blob_id": blob_id, "frame_count": len(files)}
        else:
            payload["video"] = {"frames_b64": [base64.b64encode(f).decode("ascii") for f in files]}
    if fields.get("audio_latents") is not None:
        file_ = save({"t": fields["audio_latents"].contiguous()})
        if store is not None and len(file_) > threshold:
            payload["audio"] = {"blob_id": store.put(file_, mime="application/x-fastvideo-tensor+safetensors")}
        else:
            payload["audio"] = {"safetensors_b64": base64.b64encode(file_).decode("ascii")}
    return payload


def decode(payload: dict[str, Any], store: DictStore | None = None) -> dict[str, Any]:
    """The fields of the state in a payload; those that have their default are there, too."""
    assert payload["schema_version"] == 1
    scalars = [*encode({})][1:]
    fields = {name: payload[name] for name in scalars} | {"audio_sample_rate": payload.get("audio_sample_rate")}
    video, audio = payload.get("video"), payload.get("audio")
    if video is not None:
        files = [base64.b64decode(text) for text in video.get("frames_b64", [])]
        if "blob_id" in video:
            assert store is not None
            files = _unpack(store.get(video["blob_id"]))
        fields["video_frames"] = [np.asarray(Image.open(io.BytesIO(f)).convert("RGB")) for f in files] or None
    if audio is not None:
        file = (
            store.get(audio["blob_id"]) if store and "blob_id" in audio else base64.b64decode(audio["safetensors_b64"])
        )
        fields["audio_latents"] = load(file)["t"]
    return fields


def same(one: Any, other: Any) -> bool:
    """Whether fields have the same value and, of arrays, the same type."""
    if isinstance(one, torch.Tensor):
        return isinstance(other, torch.Tensor) and one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, list) and one and isinstance(one[0], np.ndarray):
        return len(one) == len(other) and all(map(np.array_equal, one, other))
    return bool(one == other)


def _unpack(blob: bytes) -> list[bytes]:
    (count,) = struct.unpack_from(">I", blob)
    files, position = [], 4
    for _ in range(count):
        (length,) = struct.unpack_from(">I", blob, position)
        files.append(blob[position + 4 : position + 4 + length])
        position += 4 + length
    assert position == len(blob)
    return files
