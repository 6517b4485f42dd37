"""One evaluation of the LTX-2 transformer on one, two, four GPUs: milliseconds, scaling, and how equal it stays.

    python benchmarks/ltx2_sequence_parallel.py                                       # small, on the CPU
    python benchmarks/ltx2_sequence_parallel.py --device cuda --ranks 1 2 4           # 19B, random weights, bf16
    python benchmarks/ltx2_sequence_parallel.py --device cuda --ranks 1 2 --layers 2 --dtype float32   # equality alone

Each number of processes evaluates the same weights on the same latents; one process is the loop as it is without any
other. The time is that of the whole step of rank 0: to tell the others, to send latents, to get velocities back. In
bf16 each product is rounded, so that velocities of two divisions agree to about 1e-2 of their norm; in fp32 to 1e-5.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from stagegraph_ltx2.model.adaln import levels
from stagegraph_ltx2.model.conditions import Perturbation
from stagegraph_ltx2.model.config import TransformerConfig
from stagegraph_ltx2.model.positions import audio_positions, video_positions
from stagegraph_ltx2.model.transformer import AudioVideoTransformer
from stagegraph_ltx2.parallel.team import Team
from stagegraph_ltx2.samplers import Pair
from stagegraph_ltx2.scene import Batch, Evaluator, Scene, Side, alone
from stagegraph_ltx2.shapes import PixelShape

TEXT = 1024
FRAME_RATE = 24.0
SIGMA = 0.9
LTX_2_3 = {
    "gated_attn": True,
    "cross_attn_mod": True,
    "audio_gated_attn": True,
    "audio_cross_attn_mod": True,
    "use_prompt_embeddings": False,
    "perturbed_attn": True,
}


def main() -> None:
    options = arguments()
    device, dtype = torch.device(options.device), getattr(torch, options.dtype)
    config = transformer_config(options.device, options.layers, options.release)
    model = random_model(config, device, dtype)
    weights = sum(parameter.numel() for parameter in model.parameters()) / 1e9
    say(f"LTX-2 {options.release}, {config.num_layers} layers, {weights:.2f} B weights, {dtype}")
    if device.type == "cuda":
        gpus = ", ".join(torch.cuda.get_device_name(i) for i in range(max(options.ranks)))
        say(f"{gpus}, torch {torch.__version__}")
    sizes = [PixelShape(int(f), int(h), int(w), FRAME_RATE) for h, w, f in (size.split("x") for size in options.sizes)]
    scenes = {size: scene_of(size, config, options.passes, options.keep_first, device) for size in sizes}
    expected: dict[PixelShape, tuple[Pair, float]] = {}
    for ranks in options.ranks:
        with evaluator(ranks, device) as evaluate:
            for size, (scene, x) in scenes.items():
                started = time.perf_counter()
                with torch.inference_mode(), evaluate(model, scene) as velocities:
                    ready = time.perf_counter() - started
                    result, seconds = timed(lambda call=velocities, x=x: call(0, x, SIGMA), options.runs)
                report(ranks, size, result, seconds, ready, expected)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--dtype", choices=["bfloat16", "float32"], help="by default bfloat16 on GPUs, else float32")
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--layers", type=int, help="by default 48 on GPUs, else 2")
    parser.add_argument("--release", default="2.0", choices=["2.0", "2.3"])
    parser.add_argument("--sizes", nargs="+", metavar="HEIGHTxWIDTHxFRAMES")
    parser.add_argument("--passes", type=int, default=1, help="passes of guidance in the batch")
    parser.add_argument("--keep-first", action="store_true", help="keep the first latent frame: tokens differ in level")
    parser.add_argument("--runs", type=int, default=10)
    options = parser.parse_args()
    gpu = options.device == "cuda"
    options.dtype = options.dtype or ("bfloat16" if gpu else "float32")
    options.layers = options.layers or (48 if gpu else 2)
    options.sizes = options.sizes or (["256x384x121", "512x768x121", "1024x1536x121"] if gpu else ["128x192x25"])
    return options


def transformer_config(device: str, layers: int, release: str) -> TransformerConfig:
    """That of the release; a CPU gets narrow heads."""
    narrow = {
        "attention_head_dim": 16,
        "cross_attention_dim": 512,
        "audio_attention_head_dim": 8,
        "audio_cross_attention_dim": 256,
    }
    extra = (narrow if device == "cpu" else {}) | (LTX_2_3 if release == "2.3" else {})
    return TransformerConfig(num_layers=layers, rope_type="split", **extra)


def random_model(config: TransformerConfig, device: torch.device, dtype: torch.dtype) -> AudioVideoTransformer:
    """A transformer whose activations stay near 1."""
    with torch.device("meta"):
        model = AudioVideoTransformer(config)
    generator = torch.Generator(device).manual_seed(0)

    def made(name: str, like: torch.Tensor) -> torch.Tensor:
        x = torch.empty(like.shape, device=device, dtype=dtype).normal_(generator=generator)
        if name.endswith(("norm_q.weight", "norm_k.weight")):
            return x * 0.1 + 1
        return x * (like[0].numel() ** -0.5 if like.ndim > 1 else 0.1)

    state = {name: made(name, tensor) for name, tensor in model.state_dict().items()}
    model.load_state_dict(state, strict=True, assign=True)
    return model.eval().requires_grad_(False)


def scene_of(
    size: PixelShape, config: TransformerConfig, passes: int, keep_first: bool, device: torch.device
) -> tuple[Scene, Pair]:
    """A loop over random latents."""
    shape, audio = size.latent(), size.audio()
    generator = torch.Generator(device).manual_seed(1)

    def randn(*shape: int) -> torch.Tensor:
        return torch.randn(shape, device=device, generator=generator)

    mask = (torch.arange(shape.tokens, device=device) >= shape.tokens_per_frame).float()[None]
    widths = [config.caption_channels] * 2 if config.use_prompt_embeddings else [config.width, config.audio_width]
    text = [randn(passes, TEXT, width) for width in widths]
    scene = Scene(
        Side(video_positions(shape, FRAME_RATE, device), levels(mask) if keep_first else None, True),
        Side(audio_positions(audio, device), None, True),
        (Batch(passes, *text, Perturbation()),),
    )
    return scene, Pair(randn(1, shape.tokens, config.in_channels), randn(1, audio.tokens, config.audio_in_channels))


@contextmanager
def evaluator(ranks: int, device: torch.device) -> Iterator[Evaluator]:
    """What evaluates a transformer in so many processes."""
    if ranks == 1:
        yield alone
        return
    team = Team(ranks, torch.device("cuda:0") if device.type == "cuda" else device)
    try:
        yield team.evaluator
    finally:
        team.close()


def timed(call, runs: int) -> tuple[Pair, list[float]]:  # type: ignore[no-untyped-def]
    """What it gives, and the seconds of each run after two that warm up."""
    seconds = []
    for _ in range(runs + 2):
        synchronize()
        start = time.perf_counter()
        result = call()
        synchronize()
        seconds.append(time.perf_counter() - start)
    return result, seconds[2:]


def report(
    ranks: int,
    size: PixelShape,
    result: Pair,
    seconds: list[float],
    ready: float,
    expected: dict[PixelShape, tuple[Pair, float]],
) -> None:
    """A line, beside that of the first number of ranks."""
    median = statistics.median(seconds)
    reference, base = expected.setdefault(size, (result, median * ranks))
    tokens = f"{result.video.shape[1]} + {result.audio.shape[1]} tokens"
    errors = [
        ((a.float() - b.float()).norm() / b.float().norm()).item() for a, b in zip(result, reference, strict=True)
    ]
    say(
        f"{size.height}x{size.width}x{size.frames} ({tokens}), {ranks} ranks: {1000 * median:9.1f} ms a step "
        f"({1000 * min(seconds):.1f} to {1000 * max(seconds):.1f}), speed-up {base / median:.2f}, "
        f"efficiency {base / median / ranks:.0%}; scene set in {ready:.1f} s; "
        f"differs by {errors[0]:.1e} (video), {errors[1]:.1e} (audio)"
    )


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def synchronize() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
