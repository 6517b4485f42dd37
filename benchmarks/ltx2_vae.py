"""Decoding by the video VAE beside that of diffusers, with the same random weights, alternating in one process.

    python benchmarks/ltx2_vae.py --chunk 16                                   # a quarter of the width, on the CPU
    python benchmarks/ltx2_vae.py --device cuda --narrow 1 --height 512 --width 768 --frames 121
    python benchmarks/ltx2_vae.py --device cuda --narrow 1 --version 2.3 --chunk 16 --layout channels-last

Each line: median seconds, on CUDA the peak of allocated memory without the weights, and the difference of a byte from
what diffusers decodes at once, the largest and on average. "to bytes" includes everything up to uint8 frames in the
memory of the CPU. By how much tiles are off depends on the weights, which are random here. On a CPU small convolutions
are slow in torch, whoever calls them, and so are chunks of small videos.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable

import attrs
import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKLLTX2Video
from diffusers.video_processor import VideoProcessor
from numpy.typing import NDArray

from stagegraph_ltx2.decode import decode_video, on_host, to_bytes
from stagegraph_ltx2.model.config import VideoVAEConfig
from stagegraph_ltx2.model.video_vae import VideoVAE
from stagegraph_ltx2.shapes import LatentShape, PixelShape
from stagegraph_ltx2.tiles import Cuts, chunk_frames, cut

RELEASED = {
    "2.0": VideoVAEConfig(decoder_causal=False),
    "2.3": VideoVAEConfig(
        block_out_channels=(256, 512, 1024, 1024),
        layers_per_block=(4, 6, 4, 2, 2),
        decoder_block_out_channels=(256, 512, 512, 1024),
        decoder_layers_per_block=(4, 6, 4, 2, 2),
        decoder_spatio_temporal_scaling=(True,) * 4,
        decoder_inject_noise=(False,) * 5,
        upsample_type=("spatiotemporal", "spatiotemporal", "temporal", "spatial"),
        upsample_residual=(False,) * 4,
        upsample_factor=(2, 2, 1, 2),
        decoder_causal=False,
        decoder_spatial_padding_mode="zeros",
    ),
}

Decode = Callable[[], NDArray[np.uint8]]


@torch.inference_mode()
def main() -> None:
    options = arguments()
    device, dtype = torch.device(options.device), getattr(torch, options.dtype)
    config = narrowed(RELEASED[options.version], options.narrow)
    ours, theirs = models(config, device, dtype, options.layout)
    shape = PixelShape(options.frames, options.height, options.width).latent()
    z = smooth(config.latent_channels, shape).to(device, dtype)
    chunk = options.chunk or chunk_frames(options.height, options.width)
    tiles = {"size": options.tile, "overlap": options.overlap}

    def run(cuts: Cuts) -> Decode:
        def decode() -> NDArray[np.uint8]:
            frames = np.empty((options.frames, options.height, options.width, 3), np.uint8)
            for piece in on_host(decode_video(ours, z, cuts)):
                frames[piece.place] = piece.pixels.numpy()
            return frames

        return decode

    def reference() -> NDArray[np.uint8]:
        video = theirs.decode(z, return_dict=False)[0]
        frames: NDArray[np.float32] = VideoProcessor().postprocess_video(video, output_type="np")[0]
        return (frames * 255).round().astype(np.uint8)

    cases: dict[str, Decode] = {
        "diffusers, to bytes": reference,
        "diffusers, on the device": lambda: on_device(theirs.decode(z, return_dict=False)[0]),
        "ours at once, on the device": lambda: on_device(ours.decode(z)),
        "ours at once, to bytes": run(cut(shape)),
        f"ours, chunks of {chunk}, to bytes": run(cut(shape, chunk=chunk)),
        f"ours, tiles of {options.tile}, to bytes": run(cut(shape, **tiles, chunk=chunk)),
    }
    size = f"{options.width}x{options.height}, {options.frames} frames, {options.layout}"
    say(f"LTX-{options.version} / {options.narrow}, {size}, {dtype}, {device}, torch {torch.__version__}")
    first(ours, z, chunk)
    compare(cases, options.runs)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--version", choices=RELEASED, default="2.0")
    parser.add_argument("--narrow", type=int, default=4, help="divides the widths; 1 is as released")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="", help="by default bfloat16, on the CPU float32")
    parser.add_argument("--layout", choices=("contiguous", "channels-last"), default="")
    parser.add_argument("--height", type=int, default=192)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--frames", type=int, default=49)
    parser.add_argument("--chunk", type=int, help="pixel frames at a time; by default as the stage chooses")
    parser.add_argument("--tile", type=int, default=0, help="pixels; by default half the width")
    parser.add_argument("--overlap", type=int, default=64)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    cpu = options.device == "cpu"
    options.dtype = options.dtype or ("float32" if cpu else "bfloat16")
    options.layout = options.layout or ("contiguous" if cpu else "channels-last")
    options.tile = options.tile or max(options.width // 64 * 32, 5 * options.overlap // 2 // 32 * 32)
    return options


def narrowed(config: VideoVAEConfig, by: int) -> VideoVAEConfig:
    """The same structure with fewer channels, but for the latents."""
    widths = {
        name: tuple(width // by for width in getattr(config, name))
        for name in ("block_out_channels", "decoder_block_out_channels")
    }
    return attrs.evolve(config, **widths)


def models(
    config: VideoVAEConfig, device: torch.device, dtype: torch.dtype, layout: str
) -> tuple[VideoVAE, AutoencoderKLLTX2Video]:
    """Both networks, with weights that keep activations near 1; theirs always contiguous, as diffusers loads them."""
    with torch.device("meta"):
        ours, theirs = VideoVAE(config), AutoencoderKLLTX2Video.from_config(config.to_dict())
    state = {}
    for name, x in theirs.state_dict().items():
        spread = 1.0 if name.endswith("latents_std") else 0.02 if x.ndim < 2 else (x.numel() / len(x)) ** -0.5
        state[name] = torch.randn(x.shape, device=device, dtype=dtype) * spread
    theirs.load_state_dict(state, strict=True, assign=True)
    ours.load_state_dict(state, strict=True, assign=True)
    ours.latents_mean, ours.latents_std = torch.zeros_like(ours.latents_mean), torch.ones_like(ours.latents_std)
    if layout == "channels-last":
        ours.to(memory_format=torch.channels_last_3d)
    for model in (ours, theirs):
        model.eval().requires_grad_(False)
    return ours, theirs


def smooth(channels: int, shape: LatentShape) -> torch.Tensor:
    """Random latents that change slowly, as those of a video do: by one every four."""
    sizes = (shape.frames, shape.height, shape.width)
    coarse = torch.randn(1, channels, *(max(2, size // 4) for size in sizes))
    return F.interpolate(coarse, sizes, mode="trilinear", align_corners=True)


def on_device(pixels: torch.Tensor) -> NDArray[np.uint8]:
    """Wait for the pixels and leave them where they are: what decoding alone takes."""
    synchronize(pixels.device)
    return np.empty(0, np.uint8)


def first(vae: VideoVAE, z: torch.Tensor, chunk: int) -> None:
    """When the first chunk is there."""
    for _ in range(2):
        synchronize(z.device)
        begin = time.perf_counter()
        frames = next(vae.decode_chunks(z, frames=chunk))
        to_bytes(frames[0]).cpu()
        seconds = time.perf_counter() - begin
    say(f"first {frames.shape[2]} frames after {1000 * seconds:.0f} ms")


def compare(cases: dict[str, Decode], runs: int) -> None:
    cuda = torch.cuda.is_available()
    seconds: dict[str, list[float]] = {name: [] for name in cases}
    peaks: dict[str, float] = {}
    results: dict[str, NDArray[np.uint8]] = {}
    for run in range(runs + 1):  # The first warms up.
        for name, decode in cases.items():
            if cuda:
                torch.cuda.empty_cache()
                torch.cuda.reset_peak_memory_stats()
                before = torch.cuda.memory_allocated()
            begin = time.perf_counter()
            results[name] = decode()
            seconds[name].append(time.perf_counter() - begin)
            if cuda:
                peaks[name] = (torch.cuda.max_memory_allocated() - before) / 2**30
            if not run:
                seconds[name].clear()
    expected = results["diffusers, to bytes"].astype(int)
    base = statistics.median(seconds["diffusers, to bytes"])
    for name, times in seconds.items():
        took, made = statistics.median(times), results[name]
        peak = f"  {peaks[name]:6.2f} GiB" if cuda else ""
        difference = np.abs(made - expected) if made.size else None
        error = "" if difference is None else f"  off by {difference.max()}, {difference.mean():.3f}"
        say(f"{name:32} {1000 * took:9.1f} ms  {base / took:5.2f} x{peak}{error}")


def say(line: str) -> None:
    sys.stdout.write(line + "\n")


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
