"""All frames of a state at once: as PNG files, and these as one blob. Several at the same time."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final, TypeVar

import attrs

from stagegraph.serde import Problem, StructureError
from stagegraph_ltx2.continuation import png
from stagegraph_ltx2.continuation.deflate import Chunk, fastest
from stagegraph_ltx2.continuation.limits import Limits
from stagegraph_ltx2.errors import problem

if TYPE_CHECKING:
    from stagegraph_ltx2.continuation.png import Pixels

T = TypeVar("T")

#: Frames in work at the same time; each takes a few times its pixels.
_WORKERS: Final = 8
_COUNT: Final = 4


def encode(frames: Sequence[Pixels], then: Callable[[bytes], T]) -> list[T]:
    """What `then` makes of each frame's PNG file, in the same thread."""
    deflate = fastest()
    return each(lambda pixels: then(png.encode(pixels, deflate)), frames)


def decode(
    sources: Sequence[Any], head: Callable[[Any], Chunk], whole: Callable[[Any], Chunk], limits: Limits
) -> list[Pixels]:
    """The pixels of frames.

    Args:
        sources: one a frame.
        head: gives the first bytes of a frame's PNG file.
        whole: gives all of it.
        limits: the sizes of all frames are summed before the first is read.

    Raises:
        StructureError: of whatever is wrong with any of them; the first item of each path is the frame.
    """
    if len(sources) > limits.max_frames:
        why = f"must be at most {limits.max_frames}"
        raise StructureError([Problem((), "too_large", f"there are {len(sources)} frames", why)])
    sizes = _all(sources, lambda source: png.size(head(source), limits), map)
    check_sizes(sizes, limits)
    deflate = fastest()
    return _all(sources, lambda source: png.decode(whole(source), limits, deflate), each)


def check_sizes(sizes: Sequence[tuple[int, int]], limits: Limits) -> None:
    """That frames [h, w] are of one size, and not too many pixels.

    Raises:
        StructureError: they are not.
    """
    for index, size in enumerate(sizes):
        if size != sizes[0]:
            what = f"frame {index} has {size[1]}x{size[0]} pixels, frame 0 {sizes[0][1]}x{sizes[0][0]}"
            raise problem("bad_frames", what, "frames of one video have one size")
    total = sum(height * width for height, width in sizes)
    if total > limits.max_pixels:
        what = f"the frames have {total} pixels"
        raise StructureError([Problem((), "too_large", what, f"must have at most {limits.max_pixels} in all")])


def pack(files: Sequence[bytes]) -> bytes:
    """PNG files as one blob: their number, and before each its length, as big-endian 32-bit integers."""
    lengths = (len(file).to_bytes(_COUNT, "big") for file in files)
    parts = (part for pair in zip(lengths, files, strict=True) for part in pair)
    return b"".join([len(files).to_bytes(_COUNT, "big"), *parts])


def unpack(blob: bytes, limits: Limits) -> list[memoryview]:
    """The PNG files of a blob.

    Raises:
        StructureError: it is not exactly that.
    """
    view = memoryview(blob)
    count = int.from_bytes(view[:_COUNT], "big")
    if len(view) < _COUNT or not count:
        raise problem("bad_frames", f"a blob of {len(view)} bytes announces no frames", "must hold some")
    if count > limits.max_frames:
        why = f"must be at most {limits.max_frames}"
        raise StructureError([Problem((), "too_large", f"there are {count} frames", why)])
    files, position = [], _COUNT
    for index in range(count):
        begin = position + _COUNT
        position = begin + int.from_bytes(view[position:begin], "big")
        if position > len(view):
            raise problem("bad_frames", f"the blob ends within frame {index} of {count}", "it is cut short")
        files.append(view[begin:position])
    if position != len(view):
        raise problem("bad_frames", f"the blob goes on behind its last frame, at byte {position}")
    return files


def each(function: Callable[[T], Any], items: Iterable[T]) -> list[Any]:
    """What a function gives for each item, in order; several at the same time."""
    items = list(items)
    workers = min(len(items), _cores(), _WORKERS)
    if workers < 2:
        return list(map(function, items))
    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(function, items))


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _all(sources: Sequence[Any], function: Callable[[Any], T], mapped: Callable[..., Iterable[Any]]) -> list[T]:
    def tried(source: Any) -> T | StructureError:
        try:
            return function(source)
        except StructureError as error:
            return error

    results = list(mapped(tried, sources))
    problems = [
        attrs.evolve(p, path=(index, *p.path))
        for index, result in enumerate(results)
        if isinstance(result, StructureError)
        for p in result.problems
    ]
    if problems:
        raise StructureError(problems)
    return results
