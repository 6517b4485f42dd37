"""What a checkpoint does, measured through the stages that users run, and the model card that says so."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import torch

import stagegraph as sg
from stagegraph.pool import Pool
from stagegraph_ltx2.checkpoint.resolve import resolve
from stagegraph_ltx2.component import LTX2Checkpoint
from stagegraph_ltx2.stages import (
    LTX2AudioDecodingStage,
    LTX2DenoisingStage,
    LTX2LatentPreparationStage,
    LTX2TextEncodingStage,
    LTX2VideoDecodingStage,
)

from .agreement import Agreement
from .loop import tell
from .scenes import draw
from .sentences import sentence

SCENES_SEED, WORDS_SEED = 23, 17
"""Of the scenes and of the way they are told; training has others, and no scene that is held out."""

#: Measure -> what it says, and the least that it should be, or the most.
MEASURES: Mapping[str, tuple[str, float]] = {
    "background": ("background of the colour that the prompt says", 0.95),
    "colour": ("a shape of the colour", 0.95),
    "shape": ("which is the shape", 0.85),
    "motion": ("and moves so", 0.90),
    "pitch": ("a tone within a semitone of the shape's", 0.90),
    "panning_error": ("distance of where a shape is heard from where it is seen, in widths of the picture", 0.10),
}


OTHERS = ("bench", "lora")
"""What a state tells that has no part in the checkpoint."""

MEL_ERROR = "mean error of mel spectrograms (natural logarithm, silent bins too)"


@attrs.frozen
class Asked:
    """What is measured.

    Attributes:
        checkpoint: a name or folder, as `model.path` takes it.
        count: of prompts, each with a seed of its own.
        num_frames: of each video, 192x128 pixels.
        device: "auto", "cpu", "cuda".
    """

    checkpoint: str
    count: int = 200
    num_frames: int = 49
    device: str = "auto"


def text_to_video(asked: Asked) -> sg.Graph:
    """The graph that is measured: prompt and seed to frames and sound."""
    g = sg.Graph("measured", "A prompt becomes a video with sound, which is not written.")
    g.component("model", LTX2Checkpoint(path=asked.checkpoint, device=asked.device))
    text = g.add(LTX2TextEncodingStage(), prompt=g.input("prompt", str))
    size = LTX2LatentPreparationStage(height=128, width=192, num_frames=asked.num_frames, frame_rate=24.0)
    denoised = g.add(LTX2DenoisingStage(), latents=g.add(size, seed=g.input("seed", int)), text=text.positive)
    g.output("frames", g.add(LTX2VideoDecodingStage(), latents=denoised.video))
    g.output("sound", g.add(LTX2AudioDecodingStage(), latents=denoised.audio))
    return g


def measure(asked: Asked) -> dict[str, Any]:
    """How often held-out prompts are followed."""
    agreement, seconds = watch(asked)
    return {
        **attrs.asdict(asked),
        "checkpoint": Path(asked.checkpoint).name,
        "weights": digest(resolve(asked.checkpoint)),
        "shapes": agreement.all["shape"],
        "seconds_a_clip": round(seconds / asked.count, 2),
        "torch": torch.__version__,
        "agreement": agreement.shares(),
    }


def watch(asked: Asked) -> tuple[Agreement, float]:
    """Make the clips and look at them; what was found, and how many seconds making them took."""
    scenes = draw(SCENES_SEED, asked.count, held_out=True)
    graph, pool, agreement = text_to_video(asked), Pool(), Agreement()
    made = 0.0
    for row in range(asked.count):
        start = time.monotonic()
        run = graph.run(prompt=sentence(scenes, row, WORDS_SEED), seed=row, pool=pool)
        made += time.monotonic() - start
        frames, sound = run["frames"], run["sound"]
        agreement.add(scenes, row, frames.pixels, sound.samples, sound.sample_rate)
        if (row + 1) % 10 == 0:
            tell(f"{row + 1} of {asked.count}:", agreement.shares())
    return agreement, made


def digest(folder: Path) -> str:
    """The identity of a checkpoint's weights, in hex: what was measured of them is true of no others."""
    told = hashlib.sha256()
    for path in sorted(folder.rglob("*.safetensors")):
        told.update(f"{path.relative_to(folder).as_posix()} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return told.hexdigest()


def missed(agreement: Mapping[str, float]) -> list[str]:
    """What is not as good as it should be."""
    return [
        f"{name} is {agreement[name]:.3f}, wanted {'at most' if name == 'panning_error' else 'at least'} {bound}"
        for name, (_, bound) in MEASURES.items()
        if name in agreement and (agreement[name] > bound if name == "panning_error" else agreement[name] < bound)
    ]


def card(measured: Mapping[str, Any], pieces: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """The model card.

    Args:
        measured: what `measure` gave.
        pieces: what training noted in `report.json`.
    """
    lines = [
        *HEAD.splitlines(),
        "",
        "## How it was trained",
        "",
        "| piece | steps | seconds | on |",
        "|---|---|---|---|",
    ]
    lines += [_piece(name, entry) for name, entries in pieces.items() for entry in entries if name not in OTHERS]
    lines += ["", "## What it does", "", _sentence(measured), "", "| measure | found | wanted |", "|---|---|---|"]
    for name, (says, bound) in MEASURES.items():
        if name in measured["agreement"]:
            most = name == "panning_error"
            found = measured["agreement"][name]
            shown = f"{found:.3f} | at most {bound:.2f}" if most else f"{found:.1%} | {bound:.0%}"
            lines.append(f"| {says} | {shown} |")
    lines += ["", "Reconstruction, of held-out clips, when the piece ended:", ""]
    lines += [f"- {name}: {value}" for name, value in _reconstruction(pieces)]
    return "\n".join(lines) + "\n"


HEAD = """\
---
license: apache-2.0
pipeline_tag: text-to-video
---

# micro

An LTX-2.0 in its true geometry with small widths and depths: 12 million parameters in bf16, trained for the 8 steps of
distilled checkpoints. It draws one or two shapes (circle, square, triangle, star) of ten colours on a plain ground,
that move left, right, up or down, bounce, grow or turn, with a tone for each colour that comes from where the shape is.
It knows nothing else: it is for first steps, examples and tests.

Its data are clips that the training code draws from seeds; no data of others were used."""


def _sentence(measured: Mapping[str, Any]) -> str:
    return (
        f"{measured['count']} prompts that training has never seen, each with its own seed, {measured['num_frames']} "
        f"frames of 192x128 pixels, through the stages of stagegraph-ltx2 on device {measured['device']} "
        f"({measured['seconds_a_clip']} s a clip); {measured['shapes']} shapes were looked at."
    )


def _phases(entry: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Of a piece that has several, each; else itself."""
    inner = [value for value in entry.values() if isinstance(value, Mapping) and "steps" in value]
    return inner or [entry]


def _piece(name: str, entry: Mapping[str, Any]) -> str:
    phases = _phases(entry)
    steps, seconds = sum(phase["steps"] for phase in phases), entry["wall"]
    devices = f"{entry['processes']} x " if entry.get("processes", 1) > 1 else ""
    return f"| {name}, seed {entry['seed']} | {steps} | {seconds:.0f} | {devices}{entry['device']} |"


def _reconstruction(pieces: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[tuple[str, str]]:
    found = []
    if pieces.get("video"):
        for size, psnr in pieces["video"][-1]["psnr"].items():
            found.append((f"video VAE, {size}", f"PSNR {psnr['mean']} dB on average, {psnr['least']} dB at least"))
    if pieces.get("sound"):
        last = pieces["sound"][-1]
        found.append(("audio VAE", f"{MEL_ERROR} {last['mel_error']}"))
        found.append(("vocoder", f"SNR {last['vocoder_snr_db']} dB, {MEL_ERROR} {last['vocoder_mel_error']}"))
    if pieces.get("upsampler"):
        for size, psnr in pieces["upsampler"][-1]["psnr"].items():
            told = f"PSNR {psnr['upsampled']} dB; of stretched pictures {psnr['stretched']} dB"
            found.append((f"latent upsampler, {size} to twice the size", told))
    return found


def write(folder: Path, measured: Mapping[str, Any], states: Sequence[Path]) -> None:
    """Write `metrics.json` and the card into a folder."""
    pieces: dict[str, list[Any]] = {}
    for state in states:
        path = state / "report.json"
        if path.is_file():
            for name, entries in json.loads(path.read_text(encoding="utf-8")).items():
                pieces.setdefault(name, []).extend(entries)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "metrics.json").write_text(json.dumps(dict(measured), indent=2) + "\n", encoding="utf-8")
    (folder / "README.md").write_text(card(measured, pieces), encoding="utf-8")
