"""Training in pieces: each command goes on from the files that earlier ones left.

python -m ltx2_training video --seconds 200 --out STATE
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from . import ranks, state
from .loop import tell

SCENES = 65536
"""Scenes that a piece draws from."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command."""
    parser = argparse.ArgumentParser(prog="ltx2_training", description=__doc__)
    parser.add_argument("command", choices=[*COMMANDS, *TOOLS])
    parser.add_argument("--seconds", type=float, default=60.0, help="How long to train.")
    parser.add_argument("--wall", type=float, default=None, help="Seconds after which training ends in any case.")
    parser.add_argument("--steps", type=int, default=None, help="Steps at most; for trials.")
    parser.add_argument("--resume", type=Path, action="append", default=[], help="Folders that pieces left.")
    parser.add_argument("--out", type=Path, required=True, help="Folder for what this piece leaves.")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--seed", type=int, default=0, help="Of the scenes; each piece has one of its own.")
    parser.add_argument("--lr", type=float, default=None)
    parser.add_argument("--anneal", type=float, default=1.0, help="Share of the time in which the rate falls to 0.")
    parser.add_argument("--long", type=float, default=0.3, help="flow: share of the time with 1024 text positions.")
    parser.add_argument(
        "--guided",
        type=float,
        default=1.0,
        help="flow: learn where guidance of this scale leads, so that none is needed.",
    )
    parser.add_argument(
        "--text-stays", action="store_true", help="flow: leave the text encoder and the connectors as they are."
    )
    parser.add_argument(
        "--own", action="store_true", help="flow: learn to mend the errors of own steps through the schedules."
    )
    parser.add_argument("--compile", action="store_true", help="flow: compile the blocks of the transformer.")
    parser.add_argument(
        "--vocoder-only", action="store_true", help="sound: leave the audio VAE, and what learned from its latents."
    )
    parser.add_argument(
        "--anew", action="store_true", help="sound, upsampler: begin with random weights, whatever earlier pieces left."
    )
    parser.add_argument("--no-graphs", action="store_true", help="Do not capture steps as CUDA graphs.")
    parser.add_argument("--checkpoint", default="micro", help="report: what is measured.")
    parser.add_argument("--count", type=int, default=200, help="report: prompts.")
    parser.add_argument("--frames", type=int, default=49, help="report: of each video.")
    parser.add_argument("--small", action="store_true", help="Tiny batches and clips, for trials on a CPU.")
    start = time.monotonic()
    options = parser.parse_args(arguments)
    options.deadline = start + options.wall if options.wall is not None else None
    ranks.join(options.device)
    torch.manual_seed(options.seed + ranks.APART * ranks.rank())
    torch.set_float32_matmul_precision("high")
    torch.backends.cudnn.benchmark = True
    if options.command in TOOLS:
        return TOOLS[options.command](options)
    report = COMMANDS[options.command](options)
    if report is None:  # another process tells
        return 0
    report = {"command": options.command, "wall": round(time.monotonic() - start, 1), **_machine(options), **report}
    state.note(options.out, options.command, report)
    tell(json.dumps({k: v for k, v in report.items() if k != "history"}))
    return 0


def _assemble(options: argparse.Namespace) -> int:
    from .assembly import assemble

    folder = assemble(options.resume, options.out)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    tell(f"wrote {folder}: {size / 2**20:.2f} MiB")
    return 0


def _report(options: argparse.Namespace) -> int:
    from .reporting import Asked, measure, missed, write

    asked = Asked(options.checkpoint, options.count, options.frames, options.device)
    measured = measure(asked)
    write(options.out, measured, options.resume)
    tell(json.dumps(measured))
    faults = missed(measured["agreement"])
    tell("\n".join(faults) or "all is as it should be")
    return 1 if faults else 0


def _machine(options: argparse.Namespace) -> dict[str, Any]:
    name = torch.cuda.get_device_name() if options.device == "cuda" else "cpu"
    return {"device": name, "torch": torch.__version__, "seed": options.seed}


def _find(options: argparse.Namespace, name: str, modules: Any, *, needed: bool = False) -> bool:
    """Fill modules from the last folder that has them."""
    for folder in reversed([*options.resume, options.out]):
        if state.resume(folder, name, modules):
            tell(f"{name}: goes on from {folder}")
            return True
    if needed:
        raise SystemExit(f"no {name} in {[str(f) for f in options.resume]}: train it first, and name its folder")
    return False


def _round(modules: torch.nn.Module) -> None:
    """To what is kept and shipped, so that all that follows is trained and measured with that."""
    modules.to(torch.bfloat16).float()


def _train(options: argparse.Namespace, *args: Any, **keywords: Any) -> dict[str, Any]:
    from .loop import train

    graphs = False if options.no_graphs or options.device != "cuda" else None
    keywords |= {"most": options.steps, "deadline": options.deadline}
    return train(*args, graphs=graphs, label=options.command, **keywords)


def _by_size(evaluate: Callable[..., Any], sizes: Iterable[tuple[int, int]]) -> dict[str, Any]:
    """What an evaluation tells of clips of so many frames and lines each."""
    return {f"{frames}x{height}": evaluate(frames=frames, height=height) for frames, height in sizes}


def _video(options: argparse.Namespace) -> dict[str, Any]:
    from . import networks, video
    from .optim import Optimizer
    from .scenes import draw

    vae = networks.build("vae").to(options.device)
    modules = video.modules(vae)
    _find(options, "video", modules)
    scenes = draw(1000 + options.seed, 64 if options.small else SCENES).on(options.device)
    sizes = ((9, 64, 2, 1),) if options.small else video.SIZES
    form = video.fastest_form(vae, scenes, sizes[0]) if options.device == "cuda" else torch.contiguous_format
    video.laid_out(vae, form)
    optimizer = Optimizer([vae.encoder, vae.decoder], options.lr or 3e-3, matrices=not options.small)
    told = _train(
        options, modules, video.tasks(vae, scenes, sizes, form), optimizer, options.seconds, anneal=options.anneal
    )
    vae.eval()
    _round(modules)
    state.save(options.out, "video", modules.state_dict(), dtype=torch.bfloat16)
    unseen = draw(7, 4 if options.small else 64, held_out=True).on(options.device)
    kinds = ((9, 64),) if options.small else ((25, 128), (49, 128), (25, 256))
    return {**told, "psnr": _by_size(partial(video.evaluate, vae, unseen), kinds)}


def _sound(options: argparse.Namespace) -> dict[str, Any]:
    from . import hearing, networks
    from .optim import Optimizer
    from .scenes import draw
    from .sides import OneSide

    vae, vocoder = (networks.build(name).to(options.device) for name in ("audio_vae", "vocoder"))
    modules = hearing.modules(vae, vocoder)
    if options.vocoder_only:
        _find(options, "sound", torch.nn.ModuleDict({"audio_vae": vae}), needed=True)
    if not options.anew:
        _find(options, "sound", modules)
    side = OneSide(vocoder).to(options.device)
    scenes = draw(2000 + options.seed, 16 if options.small else SCENES).on(options.device)
    learning = [side] if options.vocoder_only else [vae.encoder, vae.decoder, side]
    optimizer = Optimizer(learning, options.lr or 4e-3, matrices=not options.small)
    sizes = {"count": 2, "latents": 6} if options.small else {}
    told = _train(
        options,
        modules,
        hearing.tasks(vae, side, scenes, vocoder_only=options.vocoder_only, **sizes),
        optimizer,
        options.seconds,
        anneal=options.anneal,
    )
    side.fill(vocoder)
    if not options.vocoder_only:
        hearing.measure_statistics(vae, scenes)
    _round(modules)
    state.save(options.out, "sound", modules.state_dict(), dtype=torch.bfloat16)
    unseen = draw(7, 4 if options.small else 64, held_out=True).on(options.device)
    spread = {"mean": float(vae.latents_std.mean()), "floored": int((vae.latents_std <= hearing.FLOOR).sum())}
    return {**told, **hearing.evaluate(vae, vocoder, unseen), "latents_std": spread}


def _upsampler(options: argparse.Namespace) -> dict[str, Any]:
    from . import enlarging, networks, video
    from .optim import Optimizer
    from .scenes import draw

    vae = networks.build("vae").to(options.device).eval()
    _find(options, "video", video.modules(vae), needed=True)
    upsampler = networks.build("latent_upsampler").to(options.device)
    modules = enlarging.modules(upsampler)
    if not options.anew:
        _find(options, "upsampler", modules)
    scenes = draw(3000 + options.seed, 16 if options.small else SCENES).on(options.device)
    optimizer = Optimizer([upsampler], options.lr or 3e-3, matrices=not options.small)
    sizes: dict[str, Any] = {"lengths": (9,), "height": 64, "count": 1} if options.small else {}
    told = _train(
        options,
        modules,
        enlarging.tasks(upsampler, scenes, **sizes),
        optimizer,
        options.seconds,
        anneal=options.anneal,
    )
    state.save(options.out, "upsampler", modules.state_dict(), dtype=torch.bfloat16)
    unseen = draw(7, 2 if options.small else 32, held_out=True).on(options.device)
    kinds = ((9, 64),) if options.small else ((25, 128), (49, 128))
    return {**told, "psnr": _by_size(partial(enlarging.evaluate, upsampler, vae, unseen), kinds)}


def _flow(options: argparse.Namespace) -> dict[str, Any] | None:
    from . import preview
    from .pieces import train_flow

    trained, told = train_flow(options, _find, _train)
    processes, first = ranks.world(), ranks.rank() == 0
    ranks.leave()
    if not first:
        return None
    state.save(options.out, "flow", trained.modules.state_dict())
    return {"processes": processes, **told, "preview": preview.measure(trained, count=1 if options.small else 96)}


def _text(options: argparse.Namespace) -> dict[str, Any]:
    from . import flow, networks, reading, words
    from .optim import Optimizer
    from .pieces import REGISTERS, WHOLE
    from .scenes import draw

    device = options.device
    trainee = flow.Trainee(networks.gemma(), networks.build("connectors"), torch.nn.Identity()).to(device)  # type: ignore[arg-type]
    readers = [reading.Reader().to(device) for _ in range(2)]
    modules = flow.text_modules(trainee)
    _find(options, "text", modules)
    lengths = {REGISTERS: 4, 2 * REGISTERS: 2} if options.small else {REGISTERS: 128, WHOLE: 32}
    tasks = reading.tasks(
        trainee,
        readers,
        draw(5000 + options.seed, SCENES),
        device=device,
        lengths=lengths,
        seed=options.seed,
    )
    learning = [modules, *readers]
    optimizer = Optimizer(learning, options.lr or 3e-3, matrices=not options.small, tables=networks.tables(*learning))
    told = _train(options, modules, tasks, optimizer, options.seconds, anneal=options.anneal)
    state.save(options.out, "text", modules.state_dict())
    words.keep(options.out)
    return {**told, "right": reading.evaluate(trainee, readers, device=device, length=max(lengths))}


def _lora(options: argparse.Namespace) -> dict[str, Any]:
    from .lora import train_lora

    return train_lora(options, _find, _train)


def _bench(options: argparse.Namespace) -> dict[str, Any]:
    from .pieces import bench

    return bench(options)


COMMANDS: dict[str, Callable[[argparse.Namespace], dict[str, Any] | None]] = {
    "video": _video,
    "sound": _sound,
    "upsampler": _upsampler,
    "text": _text,
    "flow": _flow,
    "lora": _lora,
    "bench": _bench,
}

TOOLS: dict[str, Callable[[argparse.Namespace], int]] = {"assemble": _assemble, "report": _report}
"""Commands that train nothing."""

if __name__ == "__main__":
    raise SystemExit(main())
