"""The gap between segments: how long the denoiser waits from the end of one to the start of the next, and the whole.

    python benchmarks/session_gap.py                                 # the tiny checkpoint, on the CPU
    python benchmarks/session_gap.py --set model.path=Lightricks/LTX-2 --set model.device=cuda \\
        --set noise.height=512 --set noise.width=768 --set noise.num_frames=121 \\
        --set continuation.audio_frames=49

`ltx2/continue` makes the same segments in three ways, in one process with the same loaded components, round after round
in turn: `serial` calls one node after the other; `extend` calls what is independent at the same time, within a segment;
`stream` also begins a segment before the one before is done. Each is done with both ways to hand over: the last frames,
for which the next segment has to wait until they are decoded, or latents, for which it has not.

Threads of OpenMP sleep while they wait for each other (OMP_WAIT_POLICY, unless it is set): those that spin cost whoever
has the main thread to itself several times the time on a machine that others use too.
"""

from __future__ import annotations

import argparse
import itertools
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import attrs

from stagegraph import Graph, Pool, Session, events
from stagegraph import manifest as manifests
from stagegraph.builder import find
from stagegraph.events import Event
from stagegraph.manifest import Manifest
from stagegraph.plugins import default_registry

WAYS = ("serial", "extend", "stream")
SMALL = ("model.path=tiny", "noise.height=64", "noise.width=96", "noise.num_frames=49", "continuation.audio_frames=49")


@attrs.frozen
class Sample:
    """Of one round of one way: seconds between segments, and seconds in all."""

    gaps: list[float]
    total: float


class Clock:
    """Notes when each run denoises."""

    def __init__(self) -> None:
        self.spans: dict[str, list[float]] = {}

    def __call__(self, event: Event) -> None:
        if isinstance(event, events.NodeStarted | events.NodeFinished) and event.node == "denoise":
            self.spans.setdefault(event.run, []).append(time.perf_counter())

    def gaps(self) -> list[float]:
        """Seconds from each end to the start of the next."""
        spans = sorted(self.spans.values())
        return [after[0] - before[1] for before, after in itertools.pairwise(spans)]


def main() -> None:
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # read when torch is imported, by the first stage
    options = arguments()
    prompts = [f"a fox runs through snow, take {number}" for number in range(options.segments)]
    pool = Pool()
    graphs = {hand_off: graph(hand_off, options.set or SMALL) for hand_off in ("frames", "latents")}
    samples: dict[tuple[str, str], list[Sample]] = {(kind, way): [] for kind in graphs for way in WAYS}
    say(f"{options.segments} segments, {options.rounds} rounds, {' '.join(options.set or SMALL)}")
    say(f"{os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f} before")
    for round_ in range(-1, options.rounds):  # the first loads and is not counted
        for (kind, way), found in samples.items():
            sample = measure(graphs[kind], way, prompts[: 2 if round_ < 0 else None], pool)
            if round_ >= 0:
                found.append(sample)
    say(f"load {os.getloadavg()[0]:.1f} after\n")
    for line in table(samples):
        say(line)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--segments", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--set", action="append", metavar="NODE.PARAM=VALUE")
    return parser.parse_args()


def graph(hand_off: str, settings: Iterable[str]) -> Graph:
    """`ltx2/continue`; where latents are handed over, what hands them over does not wait for frames."""
    registry = default_registry()
    data: dict[str, Any] = manifests.as_dict(find("ltx2/continue", registry))
    if hand_off == "latents":
        del data["nodes"]["continuation"]["inputs"]["frames"]
    written: Manifest = manifests.from_data(data)
    changed = dict(setting.split("=", 1) for setting in settings)
    typed = {name: int(value) if value.isdigit() else value for name, value in changed.items()}
    return Graph.from_manifest(manifests.override(written, {**typed, "continuation.hand_off": hand_off}), registry)


def measure(g: Graph, way: str, prompts: list[str], pool: Pool) -> Sample:
    """Make all segments once."""
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        for _ in {"serial": serial, "extend": extend, "stream": stream}[way](g, prompts, pool, Path(folder), clock):
            pass
        return Sample(clock.gaps(), time.perf_counter() - start)


def serial(g: Graph, prompts: list[str], pool: Pool, folder: Path, clock: Clock) -> Iterator[object]:
    carried: dict[str, Any] = {}
    for number, prompt in enumerate(prompts):
        run = g.run({"prompt": prompt, **carried}, pool=pool, directory=folder / str(number), on_event=clock)
        carried = {"continuation": run["continuation"]}
        yield run


def extend(g: Graph, prompts: list[str], pool: Pool, folder: Path, clock: Clock) -> Iterator[object]:
    session = Session(g, pool=pool, directory=folder, on_event=clock)
    return (session.extend(prompt=prompt) for prompt in prompts)


def stream(g: Graph, prompts: list[str], pool: Pool, folder: Path, clock: Clock) -> Iterator[object]:
    return Session(g, pool=pool, directory=folder, on_event=clock).stream(prompts)


def table(samples: dict[tuple[str, str], list[Sample]]) -> Iterator[str]:
    """Medians, the least in brackets, over all gaps and over the rounds; each median as a part of that of `serial`."""
    yield "| hand-off | way | gap, ms | of serial | a segment, ms | of serial |"
    yield "|--|--|--:|--:|--:|--:|"
    for (kind, way), found in samples.items():
        cells = [
            f"{told(own)} | {statistics.median(own) / statistics.median(base):.2f}"
            for own, base in zip(seconds(found), seconds(samples[kind, "serial"]), strict=True)
        ]
        yield f"| {kind} | {way} | {' | '.join(cells)} |"


def seconds(samples: list[Sample]) -> tuple[list[float], list[float]]:
    """All gaps, and what a segment took in each round."""
    return [gap for s in samples for gap in s.gaps], [s.total / (len(s.gaps) + 1) for s in samples]


def told(found: list[float]) -> str:
    return f"{1000 * statistics.median(found):.0f} ({1000 * min(found):.0f})"


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
