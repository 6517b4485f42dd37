"""Pieces of training the transformer: what it is trained on, in which order."""

from __future__ import annotations

import copy
import time
from argparse import Namespace
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import attrs
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from stagegraph_ltx2.decode import to_bytes
from stagegraph_ltx2.model.video_vae import unpack
from stagegraph_ltx2.shapes import PixelShape

from . import flow, hearing, networks, ranks, video, words
from .compiling import compiled
from .flow import Bucket, Pool, Trainee
from .loop import Captured, Runner, Task, tell
from .lowpass import USED
from .optim import Optimizer
from .scenes import Scenes, draw
from .sentences import sentence
from .words import tokens

REGISTERS = 128
WHOLE = 1024
"""Positions of the text as LTX-2 reads it."""


@attrs.frozen(eq=False)
class Trained:
    """What a piece is about.

    Attributes:
        trainee: what learns.
        vae: of pictures.
        ear: of sounds.
        vocoder: of sounds.
        modules: of the trainee, as they are kept.
    """

    trainee: Trainee
    vae: Any
    ear: Any
    vocoder: Any
    modules: nn.ModuleDict

    def frames(self, latents: Tensor, size: PixelShape, *, every: int = 1) -> NDArray[np.uint8]:
        """Every so many of the frames [n, f, h, w, 3] of tokens [n, t, c]."""
        pixels = self.vae.decode(self.vae.denormalize(unpack(latents, size.latent())))[:, :, ::every]
        return np.stack([to_bytes(clip).cpu().numpy() for clip in pixels])


def assembled(options: Namespace, find: Callable[..., bool], *, needed: bool = True) -> Trained:
    """All networks, with what earlier pieces left."""
    device = options.device
    vae, ear, vocoder = (networks.build(name).to(device).eval() for name in ("vae", "audio_vae", "vocoder"))
    find(options, "video", video.modules(vae), needed=needed)
    find(options, "sound", hearing.modules(ear, vocoder), needed=needed)
    trainee = Trainee(networks.gemma(), networks.build("connectors"), networks.build("transformer")).to(device)
    modules = flow.modules(trainee)
    words.check([*options.resume, options.out])
    if not find(options, "flow", modules):
        find(options, "text", flow.text_modules(trainee))
    return Trained(trainee, vae, ear, vocoder, modules)


def train_flow(options: Namespace, find: Callable[..., bool], train: Callable[..., Any]) -> tuple[Trained, Any]:
    """Train for a while with few positions of text, then with all."""
    start = time.monotonic()
    trained = assembled(options, find)
    buckets = _small(flow.BUCKETS) if options.small else flow.BUCKETS
    pools = filled(buckets, trained, options.seed + ranks.APART * ranks.rank())
    prepared = time.monotonic() - start
    tell(f"latents of {sum(b.clips for b in buckets)} clips in {prepared:.1f} s")
    trainee = trained.trainee
    trainee.text_encoder.requires_grad_(not options.text_stays)
    trainee.connectors.requires_grad_(not options.text_stays)
    optimizer = Optimizer(
        [trainee], options.lr or 4e-3, averaging=1000, matrices=not options.small, tables=networks.tables(trainee)
    )
    told: dict[str, Any] = {"prepared": round(prepared, 1)}
    guide = None
    if options.guided > 1:
        teacher = copy.deepcopy(trainee).eval().requires_grad_(False)
        guide = flow.Guide(teacher, options.guided, flow.no_prompt(pools[0]))
    phases = [("short text", REGISTERS, options.seconds * (1 - options.long), 0.0)] if options.long < 1 else []
    if options.long > 0:
        phases.append(("whole text", WHOLE, options.seconds * options.long, options.anneal))
    elif phases:
        phases = [(*phases[0][:3], options.anneal)]
    with compiled(trainee.transformer) if options.compile else nullcontext():
        for number, (name, length, seconds, anneal) in enumerate(phases):
            rest = sum(later for _, _, later, _ in phases[number + 1 :])
            # Half of the noise levels are those of the schedules, and most of them in the end.
            listed = 0.5 if length == REGISTERS else 0.75
            tasks = [
                flow.task(trainee, bucket, pool, length, listed=listed, guide=guide, own=options.own)
                for bucket, pool in zip(buckets, pools, strict=True)
            ]
            told[name] = train(options, trained.modules, tasks, optimizer, seconds, anneal=anneal, rest=rest)
    trainee.eval()
    return trained, told


def filled(buckets: Sequence[Bucket], trained: Trained, seed: int) -> list[Pool]:
    """The clips of all buckets as latents."""
    device = str(next(trained.trainee.parameters()).device)
    pools: list[Pool] = []
    for number, bucket in enumerate(buckets):
        if bucket.clips:
            seams = 0.8 if bucket.keeps == "segment" else 0.0
            scenes = draw(4000 + 10 * seed + number, bucket.clips, seams=seams, composed=bucket.composed)
            ids = said(scenes, seed)
            pools.append(flow.fill(bucket, scenes.on(device), ids, trained.ear))
        else:
            pools.append(pools[-1])
    return pools


def said(scenes: Scenes, seed: int, how: Callable[[Scenes, int, int], str] = sentence) -> Tensor:
    """Ids [n, ways, length] of sentences about scenes."""
    ways = [
        tokens([how(scenes, row, flow.SENTENCES * seed + way + 1) for row in range(len(scenes))])
        for way in range(flow.SENTENCES)
    ]
    return torch.from_numpy(np.stack(ways, 1))


def _small(buckets: Sequence[Bucket]) -> list[Bucket]:
    """The same kinds of steps, over next to nothing."""
    size = PixelShape(9, 64, 96)
    return [
        attrs.evolve(
            b, size=size, audio=14 if b.keeps != "segment" else 40, clips=4 if b.clips else 0, prompts=2, draws=2
        )
        for b in buckets
        if not b.refines
    ]


def bench(options: Namespace) -> dict[str, Any]:
    """How long steps of the transformer take, with and without compiled blocks; over latents that mean nothing."""
    trained = assembled(options, lambda *a, **k: False, needed=False)
    trainee = trained.trainee
    told: dict[str, Any] = {}
    # `--compile` adds a second round with compiled blocks.
    for round in ("", ", compiled") if options.compile else ("",):
        with compiled(trainee.transformer) if round else nullcontext():
            optimizer = Optimizer([trainee], 1e-4, tables=networks.tables(trainee))
            for bucket in flow.BUCKETS:
                for length in (REGISTERS, WHOLE) if bucket.name == "text" else (REGISTERS,):
                    name = f"{bucket.name}, {length} positions{round}"
                    task = flow.task(trainee, bucket, _meaningless(bucket, options.device), length)
                    told[name] = _timed(task, optimizer, graphs=not options.no_graphs and options.device == "cuda")
                    tell(name, told[name])
    return told


def _meaningless(bucket: Bucket, device: str) -> Pool:
    count, shape = 256, bucket.size.latent()
    video = torch.randn(count, shape.tokens, USED, device=device, dtype=torch.bfloat16)
    sound = torch.randn(count, bucket.audio, 128, device=device, dtype=torch.bfloat16)
    return Pool(video, sound, said(draw(1, count), 0).to(device), torch.rand(count, device=device))


def _timed(task: Task, optimizer: Optimizer, *, graphs: bool) -> dict[str, Any]:
    if graphs:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    runner = Runner(task, optimizer, Captured(optimizer.step), graphs=graphs)
    start = time.monotonic()
    try:
        optimizer.schedule(1.0)
        runner.prepare()
        runner()
        _wait()
        first = time.monotonic() - start
        start = time.monotonic()
        for _ in range(8):
            runner()
        _wait()
    except Exception as error:  # a trial: what does not work is what it is to find out
        return {"failed": f"{type(error).__name__}: {error}"[:600]}
    return {"first": round(first, 1), "step": round((time.monotonic() - start) / 8, 4), "memory": _memory()}


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def _memory() -> float:
    return round(torch.cuda.max_memory_allocated() / 2**30, 1) if torch.cuda.is_available() else 0.0
