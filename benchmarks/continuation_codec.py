"""A continuation state to JSON and back, beside Pillow at level 6 with base64 and json of the standard library.

    python benchmarks/continuation_codec.py
    python benchmarks/continuation_codec.py --size 512x768 --runs 9

Nine frames and latents of five seconds of sound; smooth content with edges, and the same with grain. The two ways take
turns in one process. Wall time is the middle of the runs; memory is what each adds to the peak of a process of its own.
"""

from __future__ import annotations

import argparse
import base64
import io
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load, save

from stagegraph_ltx2.continuation import LTX2ContinuationState, decode, encode
from stagegraph_ltx2.continuation.deflate import fastest

FRAMES = 9


def main() -> None:
    options = arguments()
    if options.one:
        return measure_memory(options)
    say(f"{FRAMES} frames, sound [1, 8, 126, 16] in bfloat16, inflate and deflate by {fastest().name}")
    say("size        content  way       encode ms  decode ms   together     MB   peak MB / payload")
    for size in options.size:
        for grain in (0.0, 4.0):
            state = made(size, grain)
            rows = {way: timed(way, state, options.runs) for way in WAYS}
            for way, (one, other, bytes_) in rows.items():
                peaks = "  ".join(f"{peak(size, grain, way, step) / bytes_:.1f}" for step in ("encode", "decode"))
                content = "grain" if grain else "smooth"
                times = "".join(f"{seconds * 1e3:10.0f} " for seconds in (one, other, one + other))
                say(f"{size:<11} {content:<8} {way:<8} {times} {bytes_ / 1e6:8.2f}   {peaks}")
            plain, own = rows["standard"], rows["own"]
            ratio = (plain[0] + plain[1]) / (own[0] + own[1])
            say(f"{'':20} {ratio:.1f} times as fast, {own[2] / plain[2] - 1:+.1%} bytes")
    return None


def standard_encode(state: LTX2ContinuationState) -> bytes:
    frames = []
    for pixels in state.video_frames or ():
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, format="PNG")
        frames.append(base64.b64encode(file.getvalue()).decode())
    assert state.audio_latents is not None
    audio = base64.b64encode(save({"t": state.audio_latents})).decode()
    payload = {"schema_version": 1, "video": {"frames_b64": frames}, "audio": {"safetensors_b64": audio}}
    return json.dumps({"kind": "ltx2.v1", "payload": payload}).encode()


def standard_decode(data: bytes) -> LTX2ContinuationState:
    payload = json.loads(data)["payload"]
    files = (io.BytesIO(base64.b64decode(text)) for text in payload["video"]["frames_b64"])
    frames = [np.array(Image.open(file).convert("RGB")) for file in files]
    latents = load(base64.b64decode(payload["audio"]["safetensors_b64"]))["t"]
    return LTX2ContinuationState(video_frames=frames, audio_latents=latents)


WAYS: dict[str, tuple[Callable[[LTX2ContinuationState], bytes], Callable[[bytes], LTX2ContinuationState]]] = {
    "standard": (standard_encode, standard_decode),
    "own": (encode, decode),
}


def made(size: str, grain: float) -> LTX2ContinuationState:
    """Gradients, textures and moving discs; sensor-like noise of this deviation over a little that is always there."""
    height, width = map(int, size.split("x"))
    random = np.random.default_rng(0)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    discs = [(random.random(2), random.uniform(0.02, 0.12), random.normal(0, 45, 3)) for _ in range(40)]
    frames = []
    for index in range(FRAMES):
        waves = [
            128 + 60 * np.sin(x / 97 + c + index / 20) + 50 * np.cos(y / 61 + 2 * c) + 6 * np.sin((x + 2 * y) / 7)
            for c in range(3)
        ]
        picture = np.stack(waves, axis=-1)
        for (cy, cx), radius, colour in discs:
            where = (y - cy * height) ** 2 + (x - cx * width - 3 * index) ** 2 < (radius * height) ** 2
            picture[where] += colour
        picture += random.normal(0, 0.7 + grain, picture.shape)
        frames.append(picture.clip(0, 255).astype(np.uint8))
    latents = torch.from_numpy(random.standard_normal((1, 8, 126, 16), np.float32)).bfloat16()
    return LTX2ContinuationState(video_frames=frames, audio_latents=latents)


def timed(way: str, state: LTX2ContinuationState, runs: int) -> tuple[float, float, int]:
    """Seconds to encode and to decode, and bytes; what was decoded is what was encoded."""
    write, read = WAYS[way]
    data = write(state)
    assert read(data) == state
    writing, reading = [], []
    for _ in range(runs):
        start = time.perf_counter()
        data = write(state)
        middle = time.perf_counter()
        read(data)
        writing.append(middle - start)
        reading.append(time.perf_counter() - middle)
    return statistics.median(writing), statistics.median(reading), len(data)


def peak(size: str, grain: float, way: str, step: str) -> int:
    """Bytes that one step adds to the peak of a fresh process, over what it was given."""
    command = [sys.executable, __file__, "--one", f"{size} {grain} {way} {step}"]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def measure_memory(options: argparse.Namespace) -> None:
    size, grain, way, step = options.one.split()
    write, read = WAYS[way]
    small = made("64x64", 0.0)
    read(write(small))  # imports
    state = made(size, float(grain))
    value = state if step == "encode" else write(state)
    del state
    Path("/proc/self/clear_refs").write_text("5")
    before = status("VmRSS")
    kept = write(value) if step == "encode" else read(value)  # type: ignore[arg-type]
    say(str(status("VmHWM") - before))
    del kept


def status(key: str) -> int:
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(key))
    return int(line.split()[1]) * 1024


def say(text: str) -> None:
    print(text, flush=True)  # noqa: T201


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", nargs="+", default=["512x768", "1024x1536"])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
