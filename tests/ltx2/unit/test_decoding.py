"""The decoding stage: which pixels it gives by which settings, what it tells on the way, and what it refuses."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import stagegraph as sg
from stagegraph.context import Cancellation
from stagegraph.errors import Cancelled, FitError
from stagegraph_ltx2 import encode, room
from stagegraph_ltx2.component import LTX2Checkpoint
from stagegraph_ltx2.parts import VideoVAE
from stagegraph_ltx2.stages import LTX2VideoDecodingStage, LTX2VideoEncodingStage
from stagegraph_ltx2.values import VideoLatent
from stagegraph_media.values import Frames

LATENT = VideoLatent(torch.randn(1, 128, 6, 4, 6, generator=torch.Generator().manual_seed(0)), Fraction(24))
TILED = {"tile_size": 128, "tile_overlap": 32, "tile_frames": 24, "tile_frame_overlap": 8}


@pytest.fixture(scope="module")
def vae(tiny: Path) -> VideoVAE:
    """Of the embedded checkpoint, on the CPU."""
    return LTX2Checkpoint(path=str(tiny), device="cpu").video_vae()


def decode(vae: VideoVAE, context: sg.StageContext | None = None, **settings: Any) -> Frames:
    return LTX2VideoDecodingStage(**settings).run(LATENT, video_vae=vae, context=context or sg.StageContext())


def difference(one: Frames, other: Frames) -> int:
    return int(np.abs(one.pixels.astype(int) - other.pixels).max())


def test_only_tiles_change_the_frames(vae: VideoVAE) -> None:
    """Chunks of any size change no byte by more than one, every kind of tiling does."""
    whole = decode(vae, tiling="off")
    assert whole.pixels.shape == (41, 128, 192, 3)
    assert all(difference(decode(vae, chunk_frames=frames), whole) <= 1 for frames in (1, 5, 16))
    tiled = {kind: decode(vae, tiling=kind, **TILED) for kind in ("spatial", "temporal", "both")}
    assert all(difference(frames, whole) > 1 for frames in tiled.values())
    assert difference(tiled["spatial"], tiled["both"]) > 1


def test_tiles_are_used_only_if_they_are_needed_and_may_be(vae: VideoVAE, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without memory the default stays exact, and what may change the result does."""
    whole, tiled = decode(vae), decode(vae, tiling="spatial", **TILED)
    for free, allowed in ((None, whole), (10**12, whole), (10**5, tiled)):
        monkeypatch.setattr(room, "free_memory", lambda device, free=free: free)
        assert decode(vae) == whole
        assert decode(vae, tiling="spatial-if-needed", **TILED) == allowed


def test_progress_is_told_chunk_by_chunk_and_cancels(vae: VideoVAE) -> None:
    """In frames that are decoded, up to all of them, those of each tile counted; nothing is decoded after."""
    for settings, total in (({}, 41), ({"tiling": "spatial", **TILED}, 2 * 41), ({"tiling": "both", **TILED}, 2 * 57)):
        told: list[tuple[int, int]] = []
        context = sg.StageContext(on_progress=lambda done, all, message, told=told: told.append((done, all)))
        decode(vae, context, chunk_frames=8, **settings)
        assert len(told) > 4
        assert told == sorted(set(told))
        assert told[-1] == (total, total)
    cancellation = Cancellation()
    told = []

    def on_progress(done: int, total: int, message: str) -> None:
        told.append((done, total))
        cancellation.cancel()

    with pytest.raises(Cancelled):
        decode(vae, sg.StageContext(on_progress=on_progress, cancellation=cancellation), chunk_frames=8)
    assert told == [(7, 41)]


def test_encoding_tells_chunk_by_chunk_and_gives_the_latents_of_the_whole(
    vae: VideoVAE, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a clip that takes several chunks."""
    monkeypatch.setattr(encode, "encoded_frames", lambda height, width: 8)
    clip = Frames(np.random.default_rng(0).integers(0, 256, (20, 64, 96, 3), dtype=np.uint8), 24)
    told: list[tuple[int, int]] = []
    context = sg.StageContext(on_progress=lambda done, all, message: told.append((done, all)))
    made = LTX2VideoEncodingStage().run(clip, video_vae=vae, context=context).latent
    assert told == [(0, 17), (9, 17), (17, 17)]
    x = torch.from_numpy(clip.pixels[:17].copy()).permute(3, 0, 1, 2)[None].float() / 127.5 - 1
    with torch.inference_mode():
        whole = vae.module.normalize(vae.module.encode(x))
    assert (made - whole).abs().max() < 1e-4


def test_running_out_of_memory_tells_the_setting(vae: VideoVAE, monkeypatch: pytest.MonkeyPatch) -> None:
    """That takes less, and whether it changes the result; and there are no frames."""

    def run_out(*arguments: object, **settings: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    monkeypatch.setattr(type(vae.module), "decode", run_out)
    with pytest.raises(FitError) as caught:
        decode(vae)
    assert str(caught.value) == (
        "error[ltx2.out_of_memory]: decoding ran out of memory\n"
        "  why: it takes about 27.9 MiB beside the weights; CUDA out of memory\n"
        "  fix: set chunk_frames to 2; or tiling to spatial, which changes the result"
    )


def test_tiles_that_overlap_too_much_are_refused() -> None:
    """Three would meet in a place."""
    with pytest.raises(ValueError, match="more than two tiles would overlap") as caught:
        LTX2VideoDecodingStage(tile_size=128, tile_overlap=64)
    assert str(caught.value) == (
        "tile_overlap is 64, which is more than 2/5 of tile_size, 128: more than two tiles would overlap"
    )


def test_lighter_settings_take_less(tiny: Path) -> None:
    """Of a large video; each can be set, and the last is the least."""
    known = {
        "latents": {"latent_frames": 16, "latent_height": 68, "latent_width": 120, "frame_rate": Fraction(24)},
        "video_vae": LTX2Checkpoint(path=str(tiny), device="cuda").part_facts("video_vae"),
    }
    whole = LTX2VideoDecodingStage(tiling="off")
    sizes = [whole.memory(known)] + [LTX2VideoDecodingStage(**each).memory(known) for each, _ in whole.lighter()]
    assert sizes[-1] == min(sizes) < sizes[1] / 4 < sizes[0] / 30
