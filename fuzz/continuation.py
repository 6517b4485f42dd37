"""Coverage-guided fuzzing of what reads continuation states; an end that is no state and no refusal is a find.

    pip install atheris
    python fuzz/continuation.py png -runs=300000
    python fuzz/continuation.py message corpus/ -max_total_time=1200

Targets: `json`, `png`, `tensor`, `pack`, and `message`, a whole envelope. Inputs of `png` and `pack` are mutated
chunk by chunk and have their checksums and zlib streams made right again, as a blind change would never pass them.
"""

from __future__ import annotations

import random
import struct
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["stagegraph.strictjson", "stagegraph.serde", "stagegraph_ltx2.continuation"]):
    from stagegraph import strictjson
    from stagegraph.continuation import ContinuationState
    from stagegraph_ltx2.continuation import LTX2ContinuationState, decode, encode, frames, png, tensors

from stagegraph.errors import ContinuationError
from stagegraph.serde import StructureError
from stagegraph_ltx2.continuation import Limits
from stagegraph_ltx2.continuation.deflate import ZLIB, isal

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "ltx2" / "continuation"))
import builders

LIMITS = Limits(max_frames=8, max_side=64, max_frame_pixels=4096, max_pixels=16_384, max_tensor_bytes=2**16)
DEFLATES = [deflate for deflate in (ZLIB, isal()) if deflate is not None]

Mutator = Callable[[bytes, int, int], bytes]


def one_json(data: bytes) -> None:
    value = strictjson.read(data)
    assert strictjson.read(strictjson.write(value)) == value


def one_png(data: bytes) -> None:
    """Every library must say the same."""
    results = []
    for deflate in DEFLATES:
        try:
            results.append(png.decode(data, LIMITS, deflate).tobytes())
        except StructureError as error:
            results.append(type(error))
    assert all(result == results[0] for result in results), results
    if results[0] is StructureError:
        raise StructureError([])


def one_tensor(data: bytes) -> None:
    tensor = tensors.decode(data, 4, LIMITS)
    assert tensors.same(tensors.decode(tensors.encode(tensor, LIMITS), 4, LIMITS), tensor)


def one_pack(data: bytes) -> None:
    files = frames.unpack(data, LIMITS)
    frames.decode(files, lambda file: file[: png.HEAD_BYTES], lambda file: file, LIMITS)


def one_message(data: bytes) -> None:
    state = decode(data, limits=LIMITS)
    assert decode(encode(state, limits=LIMITS), limits=LIMITS) == state
    assert LTX2ContinuationState.from_continuation_state(ContinuationState.from_json(data)) == state


def mutate_png(data: bytes, size: int, seed: int) -> bytes:
    """Change a chunk, its order, or the rows inside; then make every checksum right."""
    dice = random.Random(seed)
    chunks = _chunks(data) or _chunks(builders.picture(3, 3))
    where = dice.randrange(len(chunks))
    kind, body = chunks[where]
    match dice.randrange(7):
        case 0:
            chunks[where] = (kind, atheris.Mutate(body, len(body) + 16))
        case 1:
            chunks.insert(dice.randrange(len(chunks) + 1), (kind, body))
        case 2 if len(chunks) > 1:
            del chunks[where]
        case 3:
            chunks[where] = (atheris.Mutate(kind, 4).ljust(4, b"x")[:4], body)
        case 4 if kind == b"IHDR" and len(body) == 13:
            chunks[where] = (kind, struct.pack(">II", dice.randrange(70), dice.randrange(70)) + body[8:])
        case _:
            chunks = _with_rows_changed(chunks, dice)
    return builders.png(*(builders.chunk(kind, body) for kind, body in chunks))[:size]


def mutate_pack(data: bytes, size: int, seed: int) -> bytes:
    """Change one of its files, or its counts."""
    dice = random.Random(seed)
    try:
        files = [bytes(file) for file in frames.unpack(data, LIMITS)]
    except StructureError:
        files = [builders.picture(3, 3)]
    where = dice.randrange(len(files))
    match dice.randrange(4):
        case 0:
            files.append(files[where])
        case 1:
            return bytes(atheris.Mutate(builders.pack(*files), size))
        case _:
            files[where] = mutate_png(files[where], size, seed)
    return builders.pack(*files)[:size]


def _chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    found, position = [], 8
    while position + 12 <= len(data):
        length = int.from_bytes(data[position : position + 4], "big")
        found.append((data[position + 4 : position + 8], data[position + 8 : position + 8 + length]))
        position += 12 + length
    return found


def _with_rows_changed(chunks: list[tuple[bytes, bytes]], dice: random.Random) -> list[tuple[bytes, bytes]]:
    stream = b"".join(body for kind, body in chunks if kind == b"IDAT")
    try:
        rows = zlib.decompressobj().decompress(stream, 2**16)
    except zlib.error:
        rows = builders.rows(3, 3)
    rows = bytes(atheris.Mutate(rows or b"\0", len(rows) + 16))
    if dice.randrange(2):
        rows = bytes(byte % 5 if index % 10 == 0 else byte for index, byte in enumerate(rows))  # rows of three pixels
    head = [(kind, body) for kind, body in chunks if kind == b"IHDR"]
    return [*head, (b"IDAT", zlib.compress(rows, dice.choice([0, 1, 9]))), (b"IEND", b"")]


SEEDS: dict[str, list[bytes]] = {
    "json": [builders.message(builders.payload(metadata={"a": [1, 2.5, None, True, "é"]})), b"[]", b'{"a":"\\u00e9"}'],
    "png": [builders.picture(3, 3), builders.picture(1, 1), builders.picture(7, 2)],
    "tensor": [builders.tensor(), builders.tensor({"t": builders.entry("BF16", [1, 2, 2, 2])})],
    "pack": [builders.pack(builders.picture(3, 3), builders.picture(3, 3))],
    "message": [
        builders.message({**builders.frames(builders.picture(3, 3)), **builders.audio(builders.tensor())}),
        builders.message(builders.payload(video={"blob_id": "0" * 32, "frame_count": 2})),
        builders.message({"schema_version": 2, "video_latents": {"blob_id": "1" * 32}}),
    ],
}
TARGETS: dict[str, tuple[Callable[[bytes], None], Mutator | None]] = {
    "json": (one_json, None),
    "png": (one_png, mutate_png),
    "tensor": (one_tensor, None),
    "pack": (one_pack, mutate_pack),
    "message": (one_message, None),
}


def main() -> None:
    name, *rest = sys.argv[1:]
    target, mutator = TARGETS[name]
    given = [word for word in rest if not word.startswith("-")]
    folder = Path(given[0] if given else f"fuzz-corpus/{name}")
    folder.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(SEEDS[name]):
        (folder / f"seed-{number}").write_bytes(seed)

    def one(data: bytes) -> None:
        try:
            target(data)
        except (ContinuationError, StructureError):
            return

    words = [sys.argv[0], *(word for word in rest if word.startswith("-")), str(folder)]
    atheris.Setup(words, one, custom_mutator=mutator)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
