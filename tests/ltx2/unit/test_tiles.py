"""Videos decoded in tiles: how they are cut, how they are put together, and how far the result is from the whole."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from stagegraph_ltx2.component import LTX2Checkpoint
from stagegraph_ltx2.decode import Piece, decode_video, on_host, to_bytes
from stagegraph_ltx2.model.video_vae import VideoVAE
from stagegraph_ltx2.shapes import LatentShape
from stagegraph_ltx2.tiles import Cuts, Tile, chunk_frames, cut, encoded_frames, first_frame, tiles

SOME = settings(max_examples=50, deadline=None, derandomize=True)


FACTOR = 1.5
"""How much larger an error may be, where tiles begin and end, than anywhere else: in steps between neighbours."""


@pytest.fixture(scope="module")
def vae(tiny: Path) -> VideoVAE:
    """With random weights, and the smooth pictures that a trained one makes: else nobody would see a seam in them."""
    return LTX2Checkpoint(path=str(tiny), device="cpu", dtype="fp32").video_vae().module


@pytest.fixture(scope="module")
def vaes(vae: VideoVAE, tiny_2_3: Path) -> dict[str, VideoVAE]:
    """That one, and the one of LTX-2.3, which pads with zeros."""
    return {"2.0": vae, "2.3": LTX2Checkpoint(path=str(tiny_2_3), device="cpu", dtype="fp32").video_vae().module}


def smooth(shape: LatentShape, seed: int = 1) -> Tensor:
    """Latents that change slowly in space and time, as those of a video do: by one every four."""
    sizes = (shape.frames, shape.height, shape.width)
    coarse = torch.randn(1, 128, *(max(2, size // 4) for size in sizes), generator=torch.Generator().manual_seed(seed))
    return F.interpolate(coarse, sizes, mode="trilinear", align_corners=True)


def decoded(vae: VideoVAE, z: Tensor, cuts: Cuts) -> Tensor:
    """Pixels [3, f, h, w]; every one must come exactly once."""
    pixels, count, work = torch.zeros(3, *size_of(z)), torch.zeros(size_of(z)), 0
    for piece in decode_video(vae, z, cuts):
        pixels[:, *piece.place] = piece.pixels
        count[piece.place] += 1
        work += piece.work
    assert (count == 1).all()
    assert work == cuts.work
    return pixels


# How they are cut


@SOME
@given(count=st.integers(1, 200), size=st.integers(3, 40), overlap=st.integers(0, 16))
def test_tiles_cover_everything_and_overlap_only_their_neighbours(count: int, size: int, overlap: int) -> None:
    """As few as can be, none larger than is allowed, and of nearly one size."""
    overlap = min(overlap, 2 * size // 5)
    made = tiles(count, size, overlap)
    assert (made[0].start, made[-1].stop) == (0, count)
    assert all(tile.size <= size for tile in made)
    assert max(tile.size for tile in made) - min(tile.size for tile in made) <= 1
    for one, two in pairwise(made):
        assert one.stop - two.start == one.after == two.before == overlap
    for one, three in zip(made, made[2:], strict=False):
        assert one.stop <= three.start
    assert (made[0].before, made[-1].after) == (0, 0)
    if len(made) > 1:
        assert (len(made) - 1) * (size - overlap) + overlap < count


@pytest.mark.parametrize(
    ("size", "frames"), [((64, 64), 2048), ((256, 384), 64), ((512, 768), 16), ((1088, 1920), 4), ((4320, 7680), 2)]
)
def test_chunks_have_about_as_many_pixels_whatever_the_size(size: tuple[int, int], frames: int) -> None:
    """A power of two, and two frames at least."""
    assert chunk_frames(*size) == frames
    assert encoded_frames(*size) == max(frames, 8)


@given(latent=st.integers(0, 50))
def test_a_latent_frame_begins_after_the_frames_of_those_before(latent: int) -> None:
    """The first has one frame, the others eight."""
    assert first_frame(latent) == sum(1 if number == 0 else 8 for number in range(latent))


# How they are put together


def whole_tiles(vae: VideoVAE, z: Tensor, cuts: Cuts) -> Iterator[tuple[tuple[Tile, Tile, Tile], Tensor, list[int]]]:
    """Each tile, its pixels [3, f, h, w], and the frame, row and column at which they begin."""
    for time in cuts.time:
        for rows in cuts.rows:
            for columns in cuts.columns:
                head = int(time.start > 0)
                part = z[:, :, time.start - head : time.stop, rows.start : rows.stop, columns.start : columns.stop]
                pixels = vae.decode(vae.denormalize(part))[0, :, head:]
                yield (time, rows, columns), pixels, [first_frame(time.start), 32 * rows.start, 32 * columns.start]


def blended(vae: VideoVAE, z: Tensor, cuts: Cuts) -> Tensor:
    """The definition: the sum of tiles times their masks, over the sum of the masks."""
    total, weight = torch.zeros(3, *size_of(z)), torch.zeros(size_of(z))
    for tile, pixels, starts in whole_tiles(vae, z, cuts):
        # The first latent frame of all has one pixel frame, and a mask of 1 as its other seven would have.
        time, rows, columns = (
            mask_of(t, unit)[-length:] for t, unit, length in zip(tile, (8, 32, 32), pixels.shape[1:], strict=True)
        )
        mask = time[:, None, None] * rows[:, None] * columns
        place = [slice(start, start + length) for start, length in zip(starts, mask.shape, strict=True)]
        total[:, *place] += mask * pixels
        weight[*place] += mask
    return total / weight


def cut_off(vae: VideoVAE, z: Tensor, cuts: Cuts) -> Tensor:
    """Tiles side by side, each up to the middle of what it has in common with the next."""
    made = torch.zeros(3, *size_of(z))
    for tile, pixels, starts in whole_tiles(vae, z, cuts):
        skipped = [t.before * unit // 2 for t, unit in zip(tile, (8, 32, 32), strict=True)]
        rest = pixels[:, skipped[0] :, skipped[1] :, skipped[2] :]
        begins = [start + skip for start, skip in zip(starts, skipped, strict=True)]
        place = [slice(begin, begin + length) for begin, length in zip(begins, rest.shape[1:], strict=True)]
        made[:, *place] = rest
    return made


def size_of(z: Tensor) -> tuple[int, int, int]:
    """Frames, rows and columns in pixels."""
    return 8 * z.shape[2] - 7, 32 * z.shape[3], 32 * z.shape[4]


def mask_of(tile: Tile, unit: int) -> Tensor:
    """Rising where the tile before overlaps, falling where the tile after does, 1 between; never 0."""
    mask = torch.ones(tile.size * unit)
    before, after = tile.before * unit, tile.after * unit
    mask[:before] = rising(before)
    mask[len(mask) - after :] = rising(after).flip(0)
    return mask


def rising(length: int) -> Tensor:
    """From 0 to 1, both left out, as a cubic that is flat at either."""
    x = torch.linspace(0, 1, length + 2)[1:-1]
    return 3 * x**2 - 2 * x**3


@settings(max_examples=10, deadline=None, derandomize=True)
@given(
    shape=st.builds(LatentShape, st.integers(1, 9), st.integers(2, 7), st.integers(2, 7)),
    size=st.sampled_from([None, 96, 160]),
    frames=st.sampled_from([None, 24, 40]),
    chunk=st.sampled_from([None, 3, 8]),
)
def test_tiles_are_blended_smoothly(
    tiny: Path, shape: LatentShape, size: int | None, frames: int | None, chunk: int | None
) -> None:
    """As by their definition, though no more than what overlaps is ever held."""
    vae = LTX2Checkpoint(path=str(tiny), device="cpu", dtype="fp32").video_vae().module
    cuts = cut(shape, size=size, overlap=32, frames=frames, frame_overlap=8, chunk=chunk)
    z = torch.randn(1, 128, shape.frames, shape.height, shape.width, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        assert (decoded(vae, z, cuts) - blended(vae, z, cuts)).abs().max() < 1e-4


def test_bytes_on_the_host_are_those_of_the_pixels() -> None:
    """Rounded to the nearest, cut off beyond -1 and 1, in the order of pictures, piece by piece."""
    x = 1.5 * torch.randn(3, 17, 6, 8, generator=torch.Generator().manual_seed(0))
    pieces = [
        Piece(part, (slice(start, start + part.shape[1]), slice(0, 6), slice(0, 8)), part.shape[1])
        for start, part in zip((0, 8, 16), x.split(8, dim=1), strict=True)
    ]
    made = torch.zeros(17, 6, 8, 3, dtype=torch.uint8)
    for piece in on_host(pieces):
        made[piece.place] = piece.pixels
    assert torch.equal(made.permute(3, 0, 1, 2), ((x + 1) * 127.5).round().clamp(0, 255).byte())
    assert {0, 255} < set(made.unique().tolist())
    assert torch.equal(made, to_bytes(x))


# How far they are from the whole


def steps(pixels: Tensor, axis: int) -> Tensor:
    """How much neighbours along an axis differ, on average over the others: [length - 1]."""
    difference = pixels.diff(dim=axis).abs()
    return difference.mean([i for i in range(4) if i != axis])


def seams(cuts: Cuts, axis: int) -> tuple[list[int], list[int]]:
    """The steps between neighbours at which tiles begin and end, and those in the middle of what two have in common."""
    unit, along = {1: (8, cuts.time), 2: (32, cuts.rows), 3: (32, cuts.columns)}[axis]
    edges, middles = [], []
    for tile in along[1:]:
        begin, length = first_frame(tile.start) if axis == 1 else tile.start * unit, tile.before * unit
        edges += [begin - 1, begin + length - 1]
        middles.append(begin + length // 2 - 1)
    return edges, middles


@settings(max_examples=24, deadline=None, derandomize=True)
@given(
    version=st.sampled_from(["2.0", "2.3"]),
    axis=st.integers(1, 3),
    count=st.integers(9, 16),
    size=st.sampled_from([6, 8]),
    seed=st.integers(0, 9),
)
def test_an_error_at_seams_is_no_larger_than_elsewhere(
    vaes: dict[str, VideoVAE], version: str, axis: int, count: int, size: int, seed: int
) -> None:
    """Of any size: where tiles begin and end, the error steps by at most 1.5 times as much as anywhere else."""
    sides = [2, 2, 3]
    sides[axis - 1] = count
    shape = LatentShape(*sides)
    tiled = {"frames": 8 * size, "frame_overlap": 16} if axis == 1 else {"size": 32 * size, "overlap": 64}
    cuts, z = cut(shape, **tiled), smooth(shape, seed)
    error = decoded(vaes[version], z, cuts) - decoded(vaes[version], z, cut(shape))
    edges, _ = seams(cuts, axis)
    at = steps(error, axis)
    elsewhere = torch.ones(len(at), dtype=torch.bool)
    elsewhere[edges] = False
    assert at[edges].max() <= FACTOR * at[elsewhere].max()


@pytest.mark.parametrize(("axis", "shape"), [(3, (2, 4, 24)), (2, (2, 24, 4)), (1, (24, 3, 3))])
def test_no_seam_stands_out(vae: VideoVAE, axis: int, shape: tuple[int, int, int]) -> None:
    """Where tiles begin and end, what tiling adds to the steps between neighbours is less than half of those that
    the picture has anyway; where tiles are cut off instead of blended, it is more than all of them."""
    size = LatentShape(*shape)
    z = smooth(size)
    whole = decoded(vae, z, cut(size))
    cuts = cut(size, size=384, frames=80)
    edges, middles = seams(cuts, axis)
    assert len(middles) >= 2
    own = steps(whole, axis).mean()
    assert steps(decoded(vae, z, cuts) - whole, axis)[edges].max() < own / 2
    assert steps(cut_off(vae, z, cuts) - whole, axis)[middles].max() > own


def test_tiling_changes_the_picture_little_and_more_overlap_changes_it_less(vae: VideoVAE) -> None:
    """On average by less than a hundredth of the range, between -1 and 1, that pixels have."""
    size = LatentShape(2, 12, 24)
    z = smooth(size)
    whole = decoded(vae, z, cut(size))
    errors = {}
    for overlap in (64, 128):
        cuts = cut(size, size=320, overlap=overlap, chunk=8)
        error = (decoded(vae, z, cuts) - whole).abs()
        errors[overlap] = error.mean().item()
    assert errors[128] < errors[64] < 2 / 100
