"""How videos are cut for decoding: into chunks, which change nothing, and into tiles, which do. Needs no torch."""

from __future__ import annotations

import math

import attrs

from stagegraph_ltx2.shapes import SPATIAL, TEMPORAL, LatentShape, pixel_frames

CHUNK_PIXELS = 2**23
"""Pixels of a chunk of frames: enough to keep a GPU busy, and less than 2^31 numbers in every layer."""


def chunk_frames(height: int, width: int) -> int:
    """How many pixel frames are decoded at a time: a power of two from 2 on, by their size in pixels."""
    return 1 << max((CHUNK_PIXELS // (height * width)).bit_length() - 1, 1)


def first_frame(latent: int) -> int:
    """The pixel frame at which a latent frame begins."""
    return max(pixel_frames(latent), 0)


def encoded_frames(height: int, width: int) -> int:
    """How many pixel frames are encoded at a time, after the first: whole latent frames, 8 at least."""
    return max(chunk_frames(height, width), TEMPORAL)


@attrs.frozen
class Tile:
    """A stretch of latents along one axis.

    Attributes:
        start: the first.
        stop: the one after the last.
        before: how many of them the tile before has too.
        after: how many of them the tile after has too.
    """

    start: int
    stop: int
    before: int = 0
    after: int = 0

    @property
    def size(self) -> int:
        """How many latents."""
        return self.stop - self.start


def tiles(count: int, size: int, overlap: int) -> tuple[Tile, ...]:
    """Tiles over so many latents: as few as can be, of nearly the same size, each overlapping only its neighbours.

    Args:
        count: latents along the axis.
        size: the most that a tile has.
        overlap: how many two neighbours have in common; at most 2/5 of the size.
    """
    if count <= size:
        return (Tile(0, count),)
    number = math.ceil((count - overlap) / (size - overlap))
    least, larger = divmod(count + (number - 1) * overlap, number)
    made, start = [], 0
    for i in range(number):
        stop = start + least + (i < larger)
        made.append(Tile(start, stop, overlap if i else 0, overlap if i < number - 1 else 0))
        start = stop - overlap
    return tuple(made)


@attrs.frozen
class Cuts:
    """The tiles of a video along each axis, and the frames that are decoded at a time.

    Attributes:
        time: along latent frames.
        rows: along the height.
        columns: along the width.
        chunk: pixel frames that are decoded at a time; None decodes a tile at once.
    """

    time: tuple[Tile, ...]
    rows: tuple[Tile, ...]
    columns: tuple[Tile, ...]
    chunk: int | None

    @property
    def exact(self) -> bool:
        """Whether the result is that of decoding the whole."""
        return len(self.time) == len(self.rows) == len(self.columns) == 1

    @property
    def largest(self) -> LatentShape:
        """The largest latents that are decoded in one go, in chunks."""
        time = max(tile.size + (tile.start > 0) for tile in self.time)  # each but the first begins a frame earlier
        return LatentShape(time, *(max(tile.size for tile in axis) for axis in (self.rows, self.columns)))

    @property
    def work(self) -> int:
        """Frames that are decoded, those of each tile counted."""
        frames = (first_frame(tile.stop) - first_frame(tile.start) for tile in self.time)
        return len(self.rows) * len(self.columns) * sum(frames)


def cut(
    shape: LatentShape,
    *,
    size: int | None = None,
    overlap: int = 64,
    frames: int | None = None,
    frame_overlap: int = 24,
    chunk: int | None = None,
) -> Cuts:
    """Latents of a video cut into tiles.

    Args:
        shape: of the latents.
        size: pixels, the most of a tile's height and width; None does not cut them.
        overlap: pixels that neighbours have in common.
        frames: pixel frames, the most of a tile; None does not cut time.
        frame_overlap: pixel frames that neighbours have in common.
        chunk: pixel frames that are decoded at a time; None decodes a tile at once.
    """
    time, rows, columns = (
        (Tile(0, count),) if most is None else tiles(count, most // unit, common // unit)
        for count, most, common, unit in (
            (shape.frames, frames, frame_overlap, TEMPORAL),
            (shape.height, size, overlap, SPATIAL),
            (shape.width, size, overlap, SPATIAL),
        )
    )
    return Cuts(time, rows, columns, chunk)
