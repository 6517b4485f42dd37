"""A run of 30 nodes for tests that kill it, starve it, or start it several times at once.

Every stage appends a line to a side log before it works and after: how often each was called can be counted beside
what the store says. The nodes give small values, which stand in the index, and bytes that become files; some share
their content, some opt out of caching, are mapped, skipped, or store checkpoints.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

import attrs

import stagegraph as sg
from stagegraph.graph import bind
from stagegraph.plan import Plan, make

INPUTS = {"seed": 7, "words": ["ash", "birch", "cedar", "dogwood"]}


@attrs.define
class SideLog:
    """Where the stages of this process write; nowhere until somebody says so."""

    path: Path | None = None

    def add(self, context: sg.StageContext, what: str) -> None:
        """A line, written in one go."""
        if self.path is not None:
            descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            os.write(descriptor, f"{os.getpid()} {context.node} {what}\n".encode())
            os.close(descriptor)


LOG = SideLog()


def calls(path: Path) -> list[tuple[int, str]]:
    """The calls of stages so far: (process, node)."""
    lines = path.read_text().splitlines() if path.exists() else []
    return [(int(pid), node) for pid, node, what in map(str.split, lines) if what == "begin"]


def stretched(seed: int, size: int) -> bytes:
    """Bytes that follow from a seed."""
    return (hashlib.sha256(str(seed).encode()).digest() * (size // 32 + 1))[:size]


@sg.stage("crash.small", version=1)
class Small:
    """A number from numbers."""

    def run(self, first: int, *others: int, context: sg.StageContext) -> int:
        """A number of the length of any other."""
        LOG.add(context, "begin")
        digest = hashlib.sha256(repr((first, others)).encode()).digest()
        LOG.add(context, "end")
        return int.from_bytes(digest[:4])


@sg.stage("crash.large", version=1, lane="io")
class Large:
    """Bytes from a number."""

    size: int = sg.param(default=20_000)

    def run(self, seed: int, *, context: sg.StageContext) -> bytes:
        """The number, stretched."""
        LOG.add(context, "begin")
        made = stretched(seed, self.size)
        LOG.add(context, "end")
        return made


@sg.stage("crash.mix", version=1)
class Mix:
    """One digest of many bytes."""

    def run(self, *parts: bytes, context: sg.StageContext) -> str:
        """In hex."""
        LOG.add(context, "begin")
        digest = hashlib.sha256(b"".join(parts)).hexdigest()
        LOG.add(context, "end")
        return digest


@sg.stage("crash.spell", version=1, lane="io")
class Spell:
    """Bytes from a word; mapped over words."""

    def run(self, word: str, *, context: sg.StageContext) -> bytes:
        """The word, very often."""
        LOG.add(context, "begin")
        return word.encode() * 2000


@sg.stage("crash.publish", version=1, cache=False)
class Publish:
    """Do something outside: it opts out of caching, and returns plain data."""

    def run(self, text: str, *, context: sg.StageContext) -> str:
        """Where it is."""
        LOG.add(context, "begin")
        LOG.add(context, "end")
        return f"published/{text[:12]}"


@sg.stage("crash.steps", version=1)
class Steps:
    """Work in steps, each of which it keeps."""

    steps: int = sg.param(default=3)

    def run(self, data: bytes, *, context: sg.StageContext) -> bytes:
        """Hash over and over."""
        LOG.add(context, "begin")
        done, state = context.restored() or (0, data)
        for step in range(done + 1, self.steps + 1):
            state = hashlib.sha256(state).digest() * (len(data) // 32)
            context.checkpoint(step, state)
        LOG.add(context, "end")
        return state


@sg.stage("crash.is_odd", version=1)
class IsOdd:
    """Whether a number is odd."""

    def run(self, value: int, *, context: sg.StageContext) -> bool:
        """Its last bit."""
        LOG.add(context, "begin")
        return value % 2 == 1


def graph() -> sg.Graph:
    """Thirty nodes, one of which is skipped."""
    g = sg.Graph("crash", registry=sg.Registry.of(Small, Large, Mix, Spell, Publish, Steps, IsOdd))
    seed, words = g.input("seed", int), g.input("words", list[str])
    numbers = [g.add(Small(), name="n0", first=seed)]
    for i in range(1, 10):
        numbers.append(g.add(Small(), name=f"n{i}", first=numbers[i // 2], others=numbers[:i:3]))
    large = [g.add(Large(size=5_000 + 9_000 * i), name=f"b{i}", seed=numbers[i]) for i in range(8)]
    large.append(g.add(Large(size=60_000), name="shared_1", seed=numbers[8]))
    large.append(g.add(Large(size=60_000), name="shared_2", seed=numbers[8]))
    spelled = g.add(Spell(), name="spelled", map=["word"], word=words)
    steps = g.add(Steps(), name="steps", data=large[3])
    odd = g.add(IsOdd(), name="odd", value=numbers[7])
    maybe = g.add(Large(size=7_000), name="maybe", seed=numbers[5], when=odd)
    mixes = [
        g.add(Mix(), name="mix_1", parts=large[:4]),
        g.add(Mix(), name="mix_2", parts=[*large[4:], steps, maybe]),
        g.add(Mix(), name="mix_3", parts=[maybe, *large[::2]]),
    ]
    for i, mix in enumerate(mixes):
        g.output(f"published_{i}", g.add(Publish(), name=f"publish_{i}", text=mix))
    g.output("spelled", spelled)
    g.output("last", numbers[9])
    g.output("steps", steps)
    g.output("large", large[7])
    for i, mix in enumerate(mixes):
        g.output(f"mix_{i}", mix)
    return g


def plan(*, everything: bool = False) -> Plan:
    """The plan of the graph's outputs; of those of every node, if a run is to look at everything that is stored."""
    bound = bind(graph()._drafts)
    return make(bound, bound.nodes if everything else None)


def digest_of(values: Iterable[object]) -> str:
    """SHA-256 of outputs, bit for bit."""
    return hashlib.sha256("\n".join(map(repr, values)).encode()).hexdigest()
