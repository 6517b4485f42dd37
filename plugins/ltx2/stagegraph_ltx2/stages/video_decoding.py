"""`ltx2.video_decoding`: latents to pixels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

import attrs

from stagegraph import StageContext, param, stage
from stagegraph.errors import InputError
from stagegraph.facts import FactError, Facts
from stagegraph_ltx2 import memory
from stagegraph_ltx2.errors import fault
from stagegraph_ltx2.model.config import VideoVAEConfig
from stagegraph_ltx2.parts import VideoVAE
from stagegraph_ltx2.shapes import SPATIAL, LatentShape, pixel_frames
from stagegraph_ltx2.tiles import Cuts, chunk_frames, cut
from stagegraph_ltx2.values import VideoLatent, latent_shape
from stagegraph_media.values import Frames


@stage("ltx2.video_decoding", version=1)
class LTX2VideoDecodingStage:
    """Decode video latents into frames.

    By default in chunks of a few frames, every layer keeping what it needs of the chunk before: the result is that of
    decoding all at once, and memory does not grow with the length of the video. What must take even less is decoded in
    tiles that overlap and are blended, which changes the result: the decoder looks far beyond the overlap.
    """

    tiling: Literal["auto", "off", "spatial", "temporal", "both", "spatial-if-needed"] = param(
        default="auto",
        help="Whether the result may change to save memory. auto: it may not, chunks are exact; off: all at once; "
        "spatial, temporal, both: blended tiles; spatial-if-needed: spatial if memory does not suffice for auto.",
    )
    chunk_frames: int | None = param(
        default=None,
        ge=1,
        help="Pixel frames that a layer works on at a time; fewer take less memory and more time. By default as many "
        "as have 8 million pixels, 16 of 512 x 768. The result is the same.",
    )
    tile_size: int = param(default=768, ge=128, multiple_of=32, help="Pixels: the most of a tile's height and width.")
    tile_overlap: int = param(default=64, ge=32, multiple_of=32, help="Pixels that neighbouring tiles both have.")
    tile_frames: int = param(default=80, ge=24, multiple_of=8, help="Pixel frames: the most of a tile in time.")
    tile_frame_overlap: int = param(default=24, ge=8, multiple_of=8, help="Pixel frames that tiles both have in time.")

    def __attrs_post_init__(self) -> None:
        for size, overlap in (("tile_size", "tile_overlap"), ("tile_frames", "tile_frame_overlap")):
            if 5 * getattr(self, overlap) > 2 * getattr(self, size):
                what = f"{overlap} is {getattr(self, overlap)}, which is more than 2/5 of {size}, {getattr(self, size)}"
                raise ValueError(f"{what}: more than two tiles would overlap")

    def facts(self, inputs: Mapping[str, Facts]) -> Mapping[str, Facts]:
        """The size in pixels of what the latents become."""
        asked = self._asked_for()
        if asked and not _may_cut(inputs.get("video_vae", {})):
            raise FactError(_CONTRADICTION.format(asked), port="video_vae", why=_AT_ONCE, fix=_FIX)
        known = inputs.get("latents", {})
        shape = latent_shape(known)
        if shape is None:
            return {}
        size = shape.pixel(float(known["frame_rate"]))
        frames = {"num_frames": size.frames, "height": size.height, "width": size.width}
        return {"output": {**frames, "frame_rate": known["frame_rate"]}}

    def memory(self, inputs: Mapping[str, Facts]) -> int | tuple[int, int] | None:
        """Of the decoder, and of all frames where the device is the CPU."""
        shape, network = latent_shape(inputs.get("latents", {})), memory.network(inputs["video_vae"], VideoVAEConfig)
        if shape is None or network is None:
            return None
        config, itemsize = network
        frames = 3 * pixel_frames(shape.frames) * shape.tokens_per_frame * SPATIAL**2
        beside = frames if inputs["video_vae"].get("device") == "cpu" else 0
        may = _may_cut(inputs["video_vae"])
        cuts = self._cuts(shape, may), self._cuts(shape, may, "spatial")
        need, tiled = (memory.video_decoding(config, each, itemsize) + beside for each in cuts)
        return (min(need, tiled), need) if self.tiling == "spatial-if-needed" else need

    def lighter(self) -> Iterable[tuple[Mapping[str, Any], str]]:
        """Smaller chunks, then tiles."""
        yield {"tiling": "auto"}, "the same result"
        for frames in (8, 4, 2):
            yield {"tiling": "auto", "chunk_frames": frames}, "the same result, later"
        for size in (768, 512, 256):
            tiles = {"tiling": "spatial", "tile_size": size, "chunk_frames": 4}
            yield tiles, "blended tiles: the result changes"

    def run(self, latents: VideoLatent, *, video_vae: VideoVAE, context: StageContext) -> Frames:
        """Decode; the first of a batch.

        Args:
            latents: of the video.
            video_vae: lent.
            context: told the frames that are decoded; can cancel between chunks.

        Raises:
            InputError: pieces are asked for, and the VAE is lent to decode all at once.
            FitError: the device has not enough memory; says which setting takes less.
        """
        import numpy as np

        from stagegraph_ltx2.decode import decode_video, on_host
        from stagegraph_ltx2.room import fits, room_for

        asked = self._asked_for()
        if asked and not video_vae.tiling:
            raise InputError(fault("contradiction", _CONTRADICTION.format(asked), why=_AT_ONCE, fix=_FIX))
        vae, shape = video_vae.module, LatentShape(*latents.latent.shape[2:])
        cuts = self._cuts(shape, video_vae.tiling)
        need = memory.video_decoding(vae.config, cuts, vae.latents_mean.element_size())
        if self.tiling == "spatial-if-needed" and not fits(vae, need):
            cuts = self._cuts(shape, video_vae.tiling, "spatial")
        size = shape.pixel(float(latents.frame_rate))
        pixels = np.empty((size.frames, size.height, size.width, 3), np.uint8)
        done = 0
        with room_for("decoding", need, "set chunk_frames to 2; or tiling to spatial, which changes the result"):
            for piece in on_host(decode_video(vae, latents.latent[:1], cuts)):
                pixels[piece.place] = piece.pixels.numpy()
                done += piece.work
                context.progress(done, cuts.work)
        return Frames(pixels, latents.frame_rate)

    def _asked_for(self) -> str:
        """The setting that wants the video in pieces; empty if none does."""
        if self.tiling not in ("auto", "off"):
            return f"tiling is {self.tiling}"
        return f"chunk_frames is {self.chunk_frames}" if self.chunk_frames is not None else ""

    def _cuts(self, shape: LatentShape, may: bool, tiling: str = "") -> Cuts:
        """How a video is cut, if it may be, by the settings or by another tiling."""
        tiling = (tiling or self.tiling) if may else "off"
        cuts = cut(
            shape,
            size=self.tile_size if tiling in ("spatial", "both") else None,
            overlap=self.tile_overlap,
            frames=self.tile_frames if tiling in ("temporal", "both") else None,
            frame_overlap=self.tile_frame_overlap,
        )
        tile = cuts.largest
        chunk = self.chunk_frames or chunk_frames(tile.height * SPATIAL, tile.width * SPATIAL)
        at_once = tiling == "off" or chunk >= pixel_frames(tile.frames)
        return cuts if at_once else attrs.evolve(cuts, chunk=chunk)


_CONTRADICTION = "{}, but vae_tiling of the component is false"
_AT_ONCE = "it decodes videos all at once"
_FIX = "leave the setting out, or set vae_tiling to true"


def _may_cut(video_vae: Facts) -> bool:
    return bool(video_vae.get("tiling", True))
