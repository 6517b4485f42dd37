"""Latents to frames: decoded piece by piece on the device, turned into bytes there, and copied behind its back."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Iterator

import attrs
import torch
from torch import Tensor

from stagegraph_ltx2.model.video_vae import VideoVAE
from stagegraph_ltx2.shapes import SPATIAL, TEMPORAL
from stagegraph_ltx2.tiles import Cuts, Tile, first_frame


@attrs.frozen(eq=False)
class Piece:
    """Part of a video.

    Attributes:
        pixels: [3, f, h, w] in [-1, 1] on the device, or uint8 [f, h, w, 3].
        place: the frames, rows and columns that it takes in the video.
        work: how many frames were decoded for it; what a later tile blends in is not part of it yet.
    """

    pixels: Tensor
    place: tuple[slice, slice, slice]
    work: int


@torch.inference_mode()
def decode_video(vae: VideoVAE, latent: Tensor, cuts: Cuts) -> Iterator[Piece]:
    """Decode latents [1, c, f, h, w], normalised, into pixels.

    Cut along no axis, that gives whole frames in order, as `decode` has them at once. Cut in time, too, they come in
    order, blended where tiles overlap. Cut in height or width, pieces of a tile come before those of the next.
    """
    seams = _Seams(cuts)
    for time in cuts.time:
        for rows in cuts.rows:
            for columns in cuts.columns:
                yield from _decode_tile(vae, latent, cuts.chunk, (time, rows, columns), seams)


def _decode_tile(
    vae: VideoVAE, latent: Tensor, chunk: int | None, tile: tuple[Tile, Tile, Tile], seams: _Seams
) -> Iterator[Piece]:
    time, rows, columns = tile
    # What is decoded alone begins with a latent frame of one pixel frame; within a video it has eight, so that a tile
    # there begins a latent frame earlier, and that pixel frame goes.
    head = int(time.start > 0)
    z = latent[:, :, time.start - head : time.stop, rows.start : rows.stop, columns.start : columns.stop]
    z = vae.denormalize(z.to(vae.latents_mean))
    begin = first_frame(time.start)
    for pixels in [vae.decode(z)] if chunk is None else vae.decode_chunks(z, frames=chunk):
        pixels, head = pixels[0, :, head:], 0
        yield seams.blend(pixels, tile, begin)
        begin += pixels.shape[1]


class _Seams:
    """Blends tiles where they overlap, smoothly along each axis, as they come: column by column, row by row, in time.

    What a tile has in common with the next one waits for that, in the memory of the CPU.
    """

    def __init__(self, cuts: Cuts) -> None:
        self._exact = cuts.exact
        self._left: dict[object, deque[Tensor]] = defaultdict(deque)  # frames [3, h, w], in order

    def blend(self, pixels: Tensor, tile: tuple[Tile, Tile, Tile], begin: int) -> Piece:
        """The part of a tile's frames that no later tile changes.

        Args:
            pixels: [3, f, h, w], the next frames of the tile.
            tile: along time, height and width.
            begin: the first of these frames.
        """
        time, rows, columns = tile
        work = pixels.shape[1]
        if not self._exact:
            pixels = self._across(pixels.float(), 3, columns, "columns")
            pixels = self._across(pixels, 2, rows, ("rows", columns))
            pixels = self._along(pixels, time, begin, ("time", rows, columns))
        starts = (begin, rows.start * SPATIAL, columns.start * SPATIAL)
        f, h, w = (slice(start, start + length) for start, length in zip(starts, pixels.shape[1:], strict=True))
        return Piece(pixels, (f, h, w), work)

    def _across(self, pixels: Tensor, axis: int, tile: Tile, key: object) -> Tensor:
        """Blend along height or width, of which a tile comes all at once."""
        before, after = tile.before * SPATIAL, tile.after * SPATIAL
        if before:
            self._meet(pixels.narrow(axis, 0, before), axis, before, 0, key)
        return self._leave(pixels, axis, pixels.shape[axis] - after, key)

    def _along(self, pixels: Tensor, tile: Tile, begin: int, key: object) -> Tensor:
        """Blend along time, of which a tile comes chunk by chunk."""
        first, last = first_frame(tile.start), first_frame(tile.stop)
        before, after, at = tile.before * TEMPORAL, tile.after * TEMPORAL, begin - first
        if at < before:
            self._meet(pixels[:, : before - at], 1, before, at, key)
        return self._leave(pixels, 1, min(max(last - after - begin, 0), pixels.shape[1]), key)

    def _meet(self, pixels: Tensor, axis: int, length: int, at: int, key: object) -> None:
        """Blend what two tiles have in common, a stretch of `length` of which this begins at `at`."""
        left = self._left[key]
        earlier = torch.stack([left.popleft() for _ in range(pixels.shape[1])], dim=1).to(pixels.device)
        # A tile is most in error at its end, so its weight begins flat there: a linear one leaves a step, above all in
        # time, where few frames overlap.
        x = torch.arange(at + 1, at + 1 + pixels.shape[axis], device=pixels.device) / (length + 1)
        weights = x**2 * (3 - 2 * x)
        pixels.copy_(earlier.lerp(pixels, weights.view([-1 if i == axis else 1 for i in range(4)])))

    def _leave(self, pixels: Tensor, axis: int, count: int, key: object) -> Tensor:
        """Leave what comes after the first few to the next tile."""
        rest = pixels.narrow(axis, count, pixels.shape[axis] - count)
        if rest.numel():
            self._left[key].extend(rest.to("cpu", copy=True).unbind(1))
        return pixels.narrow(axis, 0, count)


def to_bytes(pixels: Tensor) -> Tensor:
    """Pixels [3, f, h, w] in [-1, 1] as uint8 [f, h, w, 3]."""
    x = pixels.permute(1, 2, 3, 0).to(torch.float32, copy=True)
    return x.add_(1).mul_(127.5).round_().clamp_(0, 255).to(torch.uint8, memory_format=torch.contiguous_format)


@torch.inference_mode()
def on_host(pieces: Iterable[Piece]) -> Iterator[Piece]:
    """Pieces as uint8 in the memory of the CPU, each good until the next one is asked for.

    A CUDA device works on the next piece while one is copied, into two page-locked buffers of the size of a piece: no
    more than that, because the system cannot use such memory for anything else and torch does not give it back.
    """
    buffers = [torch.empty(0, dtype=torch.uint8)] * 2
    waiting: tuple[Piece, torch.cuda.Event] | None = None
    for number, piece in enumerate(pieces):
        pixels = to_bytes(piece.pixels)
        if not pixels.is_cuda:
            yield attrs.evolve(piece, pixels=pixels.cpu())
            continue
        if buffers[number % 2].numel() < pixels.numel():
            buffers[number % 2] = torch.empty(pixels.numel(), dtype=torch.uint8, pin_memory=True)
        copied = buffers[number % 2][: pixels.numel()].view(pixels.shape)
        copied.copy_(pixels, non_blocking=True)
        event = torch.cuda.Event()  # type: ignore[no-untyped-call]
        event.record()
        if waiting is not None:
            waiting[1].synchronize()
            yield waiting[0]
        waiting = attrs.evolve(piece, pixels=copied), event
    if waiting is not None:
        waiting[1].synchronize()
        yield waiting[0]
