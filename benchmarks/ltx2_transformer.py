"""One forward of the transformer beside that of diffusers, with the same weights, alternating in one process.

    python benchmarks/ltx2_transformer.py                                    # two layers, on the CPU
    python benchmarks/ltx2_transformer.py --device cuda --layers 48 --size 512x768x121 --size 1024x1536x121 --compile

Three cases: all tokens of a sample at one timestep; the first latent frame kept clean, for which each video token has a
timestep of its own; and the same told as two levels, which is how ours avoids making modulation for every token. With
--compile the first two once more, the blocks of both compiled.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from diffusers import LTX2VideoTransformer3DModel

from stagegraph_ltx2.model.adaln import levels, scaled
from stagegraph_ltx2.model.conditions import Timesteps
from stagegraph_ltx2.model.config import TransformerConfig
from stagegraph_ltx2.model.positions import audio_positions, video_positions
from stagegraph_ltx2.model.transformer import AudioVideoTransformer
from stagegraph_ltx2.shapes import PixelShape

TEXT = 1024
FRAME_RATE = 24.0


#: What sets the transformer of a release apart.
RELEASED = {
    "2.0": {"use_prompt_embeddings": True},
    "2.3": {
        "gated_attn": True,
        "cross_attn_mod": True,
        "audio_gated_attn": True,
        "audio_cross_attn_mod": True,
        "use_prompt_embeddings": False,
        "perturbed_attn": True,
    },
}


def main() -> None:
    options = arguments()
    device, dtype = torch.device(options.device), getattr(torch, options.dtype)
    config = TransformerConfig(num_layers=options.layers, rope_type="split", **RELEASED[options.family])
    ours, theirs = models(config, device, dtype)
    say(f"LTX-{options.family}, {options.layers} layers, {dtype}, torch {torch.__version__}, {card(device)}")
    for compiled in (False, True) if options.compile else (False,):
        if compiled:
            theirs.compile_repeated_blocks()
            for block in ours.transformer_blocks:
                block.compile()
        for height, width, frames in (map(int, size.split("x")) for size in options.size):
            size = PixelShape(frames, height, width, FRAME_RATE)
            compare_at(ours, theirs, size, options.runs, compiled=compiled)


def card(device: torch.device) -> str:
    return torch.cuda.get_device_name() if device.type == "cuda" else str(device)


def compare_at(
    ours: AudioVideoTransformer, theirs: LTX2VideoTransformer3DModel, size: PixelShape, runs: int, *, compiled: bool
) -> None:
    """All cases of one size."""
    config, weight = ours.config, next(ours.parameters())
    like: dict[str, Any] = {"device": weight.device, "dtype": weight.dtype}
    shape, audio = size.latent(), size.audio()
    x = torch.randn(1, shape.tokens, config.in_channels, **like)
    a = torch.randn(1, audio.tokens, config.audio_in_channels, **like)
    widths = (config.caption_channels,) * 2 if config.use_prompt_embeddings else (config.width, config.audio_width)
    text = [torch.randn(1, TEXT, width, **like) for width in widths]
    rotary = ours.rotary(video_positions(shape, FRAME_RATE, weight.device), audio_positions(audio, weight.device))
    prompt = ours.text(*text)
    sigma = torch.tensor([900.0], device=weight.device)
    mask = (torch.arange(shape.tokens, device=weight.device) >= shape.tokens_per_frame).float()[None]
    per_token, by_level = sigma[:, None] * mask, scaled(levels(mask), sigma[:, None])

    def reference(video_t: torch.Tensor) -> Callable[[], object]:
        return lambda: theirs(
            x,
            a,
            *text,
            timestep=video_t,
            audio_timestep=sigma,
            sigma=sigma,
            audio_sigma=sigma,
            num_frames=shape.frames,
            height=shape.height,
            width=shape.width,
            fps=FRAME_RATE,
            audio_num_frames=audio.frames,
            use_cross_timestep=True,
            return_dict=False,
        )

    def own(timesteps: Timesteps) -> Callable[[], object]:
        return lambda: ours(x, a, prompt, timesteps, rotary)

    say(f"{size.height}x{size.width}x{size.frames}, {shape.tokens} + {audio.tokens} tokens{', compiled' * compiled}")
    compare("one timestep", own(Timesteps.alike(sigma)), reference(sigma), runs)
    compare("two levels", own(Timesteps(by_level, sigma, sigma, sigma)), reference(per_token), runs)
    if not compiled:
        compare("a timestep a token", own(Timesteps(per_token, sigma, sigma, sigma)), reference(per_token), runs)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--family", choices=RELEASED, default="2.3")
    parser.add_argument("--size", action="append", help="HEIGHTxWIDTHxFRAMES; may be repeated")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    options.size = options.size or ["128x192x25"]
    return options


def models(
    config: TransformerConfig, device: torch.device, dtype: torch.dtype
) -> tuple[AudioVideoTransformer, LTX2VideoTransformer3DModel]:
    """Both networks on the same memory: two copies of the released size would not fit on one device."""
    with torch.device("meta"):
        ours = AudioVideoTransformer(config)
        theirs = LTX2VideoTransformer3DModel.from_config(config.to_dict())
    state = {
        name: torch.randn(x.shape, device=device, dtype=dtype) * (0.02 if x.ndim > 1 else 0.1)
        for name, x in ours.state_dict().items()
    }
    for model in (ours, theirs):
        model.load_state_dict(state, strict=True, assign=True)
        model.eval().requires_grad_(False)
    return ours, theirs


@torch.inference_mode()
def compare(name: str, ours: Callable[[], object], theirs: Callable[[], object], runs: int) -> None:
    seconds: dict[str, list[float]] = {"ours": [], "theirs": []}
    for run in range(runs + 1):
        for side, forward in (("ours", ours), ("theirs", theirs)):
            synchronize()
            start = time.perf_counter()
            forward()
            synchronize()
            if run:  # The first warms up.
                seconds[side].append(time.perf_counter() - start)
    own, reference = (1000 * statistics.median(times) for times in seconds.values())
    say(f"{name:20} ours {own:8.1f} ms   diffusers {reference:8.1f} ms   ratio {reference / own:.2f}")


def say(line: str) -> None:
    sys.stdout.write(line + "\n")


def synchronize() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
