"""One forward of the LTX-2.3 transformer beside that of diffusers, with the same weights, alternating in one process.

    python benchmarks/ltx2_transformer.py                                    # two layers, on the CPU
    python benchmarks/ltx2_transformer.py --device cuda --layers 48 --height 512 --width 768 --frames 121

Three cases: all tokens of a sample at one timestep; the first latent frame kept clean, for which each video token has a
timestep of its own; and the same told as two levels, which is how ours avoids making modulation for every token.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable

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


def main() -> None:
    options = arguments()
    device, dtype = torch.device(options.device), getattr(torch, options.dtype)
    config = TransformerConfig(
        num_layers=options.layers,
        gated_attn=True,
        cross_attn_mod=True,
        audio_gated_attn=True,
        audio_cross_attn_mod=True,
        use_prompt_embeddings=False,
        perturbed_attn=True,
        rope_type="split",
    )
    ours, theirs = models(config, device, dtype)
    size = PixelShape(options.frames, options.height, options.width, FRAME_RATE)
    shape, audio = size.latent(), size.audio()
    x = torch.randn(1, shape.tokens, config.in_channels, device=device, dtype=dtype)
    a = torch.randn(1, audio.tokens, config.audio_in_channels, device=device, dtype=dtype)
    text = [torch.randn(1, TEXT, width, device=device, dtype=dtype) for width in (config.width, config.audio_width)]
    rotary = ours.rotary(video_positions(shape, FRAME_RATE, device), audio_positions(audio, device))
    prompt = ours.text(*text)
    sigma = torch.tensor([900.0], device=device)
    mask = (torch.arange(shape.tokens, device=device) >= shape.tokens_per_frame).float()[None]
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

    tokens = f"{shape.tokens} + {audio.tokens} tokens"
    say(f"{options.layers} layers, {tokens}, {dtype}, {device}, torch {torch.__version__}")
    compare("one timestep", own(Timesteps.alike(sigma)), reference(sigma), options.runs)
    compare("a timestep a token", own(Timesteps(per_token, sigma, sigma, sigma)), reference(per_token), options.runs)
    compare("two levels", own(Timesteps(by_level, sigma, sigma, sigma)), reference(per_token), options.runs)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--height", type=int, default=128)
    parser.add_argument("--width", type=int, default=192)
    parser.add_argument("--frames", type=int, default=25)
    parser.add_argument("--runs", type=int, default=5)
    return parser.parse_args()


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
