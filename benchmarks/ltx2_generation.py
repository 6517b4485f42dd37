"""A shipped manifest from prompt to mp4, on networks of the released size with random weights.

    python benchmarks/ltx2_generation.py                                     # two layers, a small video, on the CPU
    python benchmarks/ltx2_generation.py --device cuda --layers 48 --size 512x768x121 --size 1024x1536x121

For each size: seconds of each node, milliseconds of each denoising step (the median; the first step of a node apart,
because it warms up), and on CUDA the peak of allocated memory while each node ran. Weights are drawn on the device:
what it takes to read 38 GB from a disk is another question. The tokenizer is that of the tiny checkpoint.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import attrs
import torch
from torch import nn
from transformers import Gemma3TextConfig

from stagegraph import Graph, builder, component, param, part
from stagegraph.components import component_spec_of
from stagegraph.events import Event, NodeProgress, NodeStarted
from stagegraph.manifest import ComponentDecl, override
from stagegraph.plugins import default_registry
from stagegraph_ltx2 import parts
from stagegraph_ltx2.checkpoint.opening import open_checkpoint
from stagegraph_ltx2.checkpoint.resolve import resolve
from stagegraph_ltx2.model.audio_vae import AudioVAE
from stagegraph_ltx2.model.config import (
    AudioVAEConfig,
    ConnectorsConfig,
    LatentUpsamplerConfig,
    TransformerConfig,
    VideoVAEConfig,
    VocoderConfig,
)
from stagegraph_ltx2.model.connectors import TextConnectors
from stagegraph_ltx2.model.latent_upsampler import LatentUpsampler
from stagegraph_ltx2.model.transformer import AudioVideoTransformer
from stagegraph_ltx2.model.video_vae import VideoVAE
from stagegraph_ltx2.model.wideband_vocoder import build_vocoder
from stagegraph_ltx2.text_encoder import GemmaTextEncoder, hollow_gemma, load_tokenizer
from stagegraph_media.reading import probe

GEMMA_3_12B: dict[str, Any] = {
    "vocab_size": 262208,
    "hidden_size": 3840,
    "intermediate_size": 15360,
    "num_hidden_layers": 48,
    "num_attention_heads": 16,
    "num_key_value_heads": 8,
    "head_dim": 256,
    "sliding_window": 1024,
    "query_pre_attn_scalar": 256,
}


@component("bench.random", version=1)
class RandomCheckpoint:
    """LTX-2.0 of the released size, or with fewer layers, and random weights."""

    device: str = param(default="cpu", help="Of torch.")
    layers: int = param(default=48, ge=1, le=48, help="Of the transformer and of the text encoder.")
    narrow: int = param(default=1, ge=1, help="Divides the widths of the video VAE and of the upsampler.")

    def check(self, parts: frozenset[str]) -> Iterable[Any]:
        """Nothing has to be there."""
        return ()

    def fingerprint(self) -> str:
        """Of no file."""
        return f"random-{self.layers}-{self.narrow}"

    def placement(self) -> Mapping[str, str]:
        """Where it is."""
        return {"device": self.device}

    def part_facts(self, part: str) -> Mapping[str, Any]:
        """What stages ask of a checkpoint."""
        if part in ("text_encoder", "video_statistics"):
            return {}
        config, _ = self._networks[part]
        facts = {"config": config.to_dict(), "itemsize": self._dtype.itemsize, "device": "gpu"}
        if part == "transformer":
            facts |= {"family": "2.0", "distilled": True, "layers": self.layers, "nproc": 1}
        elif part == "latent_upsampler":
            facts |= {"spatial_scale": "2", "temporal_scale": 1}
        return facts

    @property
    def _dtype(self) -> torch.dtype:
        return torch.float32 if self.device == "cpu" else torch.bfloat16

    @property
    def _networks(self) -> dict[str, tuple[Any, Callable[[Any], nn.Module]]]:
        """Part -> its configuration, and what makes the network."""
        vae = VideoVAEConfig(decoder_causal=False)
        widths = {
            name: tuple(width // self.narrow for width in getattr(vae, name))
            for name in ("block_out_channels", "decoder_block_out_channels")
        }
        return {
            "connectors": (ConnectorsConfig(text_proj_in_factor=self.layers + 1), TextConnectors),
            "transformer": (TransformerConfig(num_layers=self.layers), AudioVideoTransformer),
            "video_vae": (attrs.evolve(vae, **widths), VideoVAE),
            "latent_upsampler": (LatentUpsamplerConfig(mid_channels=1024 // self.narrow), LatentUpsampler),
            "audio_vae": (AudioVAEConfig(), AudioVAE),
            "vocoder": (VocoderConfig(), build_vocoder),
        }

    def peak_memory(self) -> int:
        """The most bytes of the device in use since the last call."""
        if self.device == "cpu":
            return 0
        peak = torch.cuda.max_memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        return peak

    @part
    def text_encoder(self) -> parts.TextEncoder:
        """Gemma 3, 12B."""
        config = Gemma3TextConfig(**{**GEMMA_3_12B, "num_hidden_layers": self.layers})
        tiny = open_checkpoint(resolve("tiny")).component("tokenizer")
        return parts.TextEncoder(GemmaTextEncoder(self._drawn(lambda: hollow_gemma(config)), load_tokenizer(tiny)))

    @part
    def connectors(self) -> parts.Connectors:
        """For as many hidden states as the text encoder gives."""
        return parts.Connectors(self._network("connectors"))

    @part
    def transformer(self) -> parts.Transformer:
        """19B."""
        return parts.Transformer(self._network("transformer"), self.part_facts("transformer"))

    @part
    def video_vae(self) -> parts.VideoVAE:
        """Of LTX-2.0."""
        module = self._network("video_vae")
        module.latents_mean.zero_()
        module.latents_std.fill_(1)
        return parts.VideoVAE(module)

    @part
    def video_statistics(self) -> parts.VideoStatistics:
        """Latents as they are."""
        channels = VideoVAEConfig().latent_channels
        return parts.VideoStatistics(torch.zeros(channels), torch.ones(channels))

    @part
    def latent_upsampler(self) -> parts.LatentUpsampler:
        """x2 in space."""
        return parts.LatentUpsampler(self._network("latent_upsampler"))

    @part
    def audio_vae(self) -> parts.AudioVAE:
        """Of LTX-2.0."""
        return parts.AudioVAE(self._network("audio_vae"))

    @part
    def vocoder(self) -> parts.Vocoder:
        """Of LTX-2.0."""
        return parts.Vocoder(self._network("vocoder"))

    def _network(self, part: str) -> Any:
        config, network = self._networks[part]
        return self._drawn(lambda: network(config))

    def _drawn(self, build: Callable[[], nn.Module]) -> Any:
        """A network with weights under which activations stay near 1."""
        with torch.device("meta"):
            module = build()
        state = {}
        for name, hollow in module.state_dict().items():
            spread = 0.02 if hollow.ndim < 2 else (hollow.numel() / hollow.shape[0]) ** -0.5
            state[name] = torch.randn(hollow.shape, device=self.device, dtype=self._dtype) * spread
        module.load_state_dict(state, strict=True, assign=True)
        return module.to(self.device).eval().requires_grad_(False)


@attrs.define
class Watch:
    """When each step of each node ended."""

    times: dict[str, list[float]] = attrs.field(factory=lambda: defaultdict(list))

    def __call__(self, event: Event) -> None:
        if isinstance(event, NodeStarted | NodeProgress):
            synchronize()
            self.times[event.node].append(time.perf_counter())

    def told(self, node: str) -> str:
        """The steps of a node, if it has some."""
        steps = [1000 * (after - before) for before, after in itertools.pairwise(self.times[node])]
        if len(steps) < 3:
            return ""
        return f"   {statistics.median(steps[1:]):8.1f} ms a step, the first {steps[0]:.1f} ms"


def main() -> None:
    options = arguments()
    say(f"{options.graph}, {options.layers} layers, {options.device}, torch {torch.__version__}{card(options.device)}")
    for size in options.size:
        for _ in range(options.runs):
            generate(size, options)


def generate(size: str, options: argparse.Namespace) -> None:
    """Run the manifest at a size, and tell what each node took."""
    watch = Watch()
    begin = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        run = graph_of(size, options).run(prompt="a red circle moves right", on_event=watch, directory=Path(folder))
        seconds = time.perf_counter() - begin
        info = probe(run["video"])
    say(f"\n{size}: {info.width}x{info.height}, {info.num_frames} frames, {seconds:.1f} s with the making of weights")
    for node, took in run.record.seconds.items():
        peak = run.record.device_peak_bytes.get(node, 0) or run.record.peak_bytes.get(node, 0)
        say(f"  {node:10} {took:8.2f} s   {peak / 1e9:6.1f} GB{watch.told(node)}")


def graph_of(size: str, options: argparse.Namespace) -> Graph:
    """The shipped manifest over random weights, for a video of this size."""
    height, width, frames = (int(number) for number in size.split("x"))
    installed = default_registry()
    registry = attrs.evolve(
        installed, components={**installed.components, "bench.random": component_spec_of(RandomCheckpoint)}
    )
    shipped = builder.find(options.graph, registry)
    halved = 2 if any(node.stage == "ltx2.latent_upsampling" for node in shipped.nodes.values()) else 1
    settings = {"height": height // halved, "width": width // halved, "num_frames": frames}
    sized = override(shipped, {f"latents.{name}": value for name, value in settings.items()})
    params = {"device": options.device, "layers": options.layers, "narrow": options.narrow}
    model = ComponentDecl(kind="bench.random", params=params)
    return Graph.from_manifest(attrs.evolve(sized, components={"model": model}), registry)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--graph", default="ltx2/text-to-video-two-pass")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument(
        "--narrow", type=int, default=0, help="divides the widths of the VAE; by default 1, 8 on the CPU"
    )
    parser.add_argument("--size", action="append", help="HEIGHTxWIDTHxFRAMES of the video that comes out")
    parser.add_argument("--runs", type=int, default=1)
    options = parser.parse_args()
    options.narrow = options.narrow or (8 if options.device == "cpu" else 1)
    options.size = options.size or ["128x192x17"]
    return options


def card(device: str) -> str:
    return "" if device == "cpu" else f", {torch.cuda.get_device_name()}"


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def synchronize() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
