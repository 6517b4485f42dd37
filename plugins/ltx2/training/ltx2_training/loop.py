"""The loop that all networks are trained by: for so many seconds, on a GPU as one CUDA graph a step."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs
import torch
from torch import Tensor, nn

from .optim import Optimizer

#: A batch -> the loss, and numbers to be reported.
Loss = Callable[..., tuple[Tensor, Mapping[str, Tensor]]]


@attrs.frozen(eq=False)
class Task:
    """One kind of step.

    Attributes:
        name: in the report.
        batch: makes a new batch, tensors of the same shapes each time.
        loss: of it.
        share: how many of all steps are of this kind, to those of the other kinds.
    """

    name: str
    batch: Callable[[], Sequence[Tensor]]
    loss: Loss
    share: int = 1


@attrs.define(eq=False)
class Runner:
    """Takes steps of one task, on a GPU by replaying one that `prepare` captured."""

    task: Task
    optimizer: Optimizer
    graphs: bool
    _graph: Any = None
    _inputs: Sequence[Tensor] = ()
    _outputs: tuple[Tensor, ...] = ()
    _names: tuple[str, ...] = ()

    def prepare(self) -> None:
        """On a GPU, compile, choose kernels and capture: what takes long once. It takes three steps."""
        batch = self.task.batch()
        if self._graph is not None or not batch[0].is_cuda:
            return
        if self.graphs:
            try:
                self._capture(batch)
            except RuntimeError as error:  # the same numbers, slower: better than a piece that is lost
                tell(f"{self.task.name}: steps cannot be captured and are taken one by one: {error}")
                self.graphs, self._graph = False, None
        else:
            for _ in range(3):
                self._step(batch)
        torch.cuda.synchronize()

    def __call__(self) -> Tensor:
        """Take a step; the loss and the numbers to be reported, in a tensor that the next step may overwrite."""
        batch = self.task.batch()
        if self._graph is None:
            return self._step(batch)
        for held, fresh in zip(self._inputs, batch, strict=True):
            held.copy_(fresh, non_blocking=True)
        self._graph.replay()
        return self._outputs[0]

    @property
    def names(self) -> tuple[str, ...]:
        return self._names

    def _step(self, batch: Sequence[Tensor]) -> Tensor:
        self.optimizer.zero()
        cuda = batch[0].is_cuda
        with torch.autocast("cuda", torch.bfloat16, enabled=cuda, cache_enabled=False):
            loss, told = self.task.loss(*batch)
        torch.autograd.backward(loss)
        self.optimizer.step()
        self._names = ("loss", *told, "gradient")
        return torch.stack([loss.detach().float(), *(v.detach().float() for v in told.values()), self.optimizer.norm])

    def _capture(self, batch: Sequence[Tensor]) -> None:
        self._inputs = [tensor.clone() for tensor in batch]
        side: torch.cuda.Stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):  # compiles, and gives every parameter its gradient
                self._step(self._inputs)
        torch.cuda.current_stream().wait_stream(side)
        torch.cuda.synchronize()
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._outputs = (self._step(self._inputs),)


def tell(*values: object) -> None:
    """Write a line for who waits."""
    sys.stderr.write(" ".join(map(str, values)) + "\n")
    sys.stderr.flush()


def train(
    modules: nn.ModuleDict,
    tasks: Sequence[Task],
    optimizer: Optimizer,
    seconds: float,
    *,
    anneal: float = 1.0,
    most: int | None = None,
    deadline: float | None = None,
    rest: float = 0.0,
    graphs: bool | None = None,
    label: str = "",
) -> dict[str, Any]:
    """Train, and leave the averaged weights in the modules.

    Args:
        modules: in training mode.
        tasks: kinds of steps, that take turns.
        optimizer: of the modules.
        seconds: after which it ends; the first steps, which capture and compile, come before and do not count.
        anneal: share of these seconds, at the end, in which the learning rate falls to nothing.
        most: steps after which it ends in any case.
        deadline: of the monotonic clock, where there is one; if preparing steps took too long, seconds get fewer, here
            and in what follows.
        rest: seconds of what follows before the deadline.
        graphs: whether steps are captured; by default on a GPU.
        label: in what is printed.

    Returns:
        A report.
    """
    cuda = optimizer.params[0].is_cuda
    if cuda:
        torch.cuda.empty_cache()
    runners = [Runner(task, optimizer, cuda if graphs is None else graphs) for task in tasks]
    turns = _turns(tasks)
    warm_up = _prepared(runners, optimizer) if cuda else {}
    tell(label, "before the first step:", warm_up)
    start = time.monotonic()
    if deadline is not None:
        seconds = min(seconds, max(0.0, deadline - start) * seconds / (seconds + rest))
    history: list[dict[str, Any]] = []
    step = 0
    last: dict[int, Tensor] = {}
    due = 1
    while True:
        past = time.monotonic() - start
        if past >= seconds or (most is not None and step >= most):
            break
        progress = past / seconds if most is None else step / most
        optimizer.schedule(min(1.0, (1 - progress) / anneal + 0.005) if anneal else 1.0)
        which = turns[step % len(turns)]
        last[which] = runners[which]()
        step += 1
        if step % 20 == 0 and cuda:
            torch.cuda.synchronize()  # steps must not pile up: the clock is to tell when they are done
        if step >= due:
            due = step + max(50, step // 5) if cuda else step + max(10, step // 5)
            history.append(_told(runners, last, step, time.monotonic() - start))
            tell(label, history[-1])
    if cuda:
        torch.cuda.synchronize()
    history.append(_told(runners, last, step, time.monotonic() - start))
    tell(label, history[-1])
    with torch.no_grad():
        for p, mean in zip(optimizer.params, optimizer.average, strict=True):
            p.copy_(mean)
    return {
        "steps": step,
        "seconds": round(time.monotonic() - start, 1),
        "warm_up": warm_up,
        "history": history,
    }


def _prepared(runners: Sequence[Runner], optimizer: Optimizer) -> dict[str, float]:
    """Prepare all kinds of steps; how many seconds each took."""
    took = {}
    for runner in runners:
        start = time.monotonic()
        optimizer.schedule(1.0)
        runner.prepare()
        took[runner.task.name] = round(time.monotonic() - start, 1)
    return took


def _turns(tasks: Sequence[Task]) -> list[int]:
    """Whose turn it is, in an order in which every task comes as evenly as its share allows."""
    total = sum(task.share for task in tasks)
    slots = sorted(((k + 0.5) / task.share, i) for i, task in enumerate(tasks) for k in range(task.share))
    assert len(slots) == total
    return [i for _, i in slots]


def _told(runners: Sequence[Runner], last: Mapping[int, Tensor], step: int, seconds: float) -> dict[str, Any]:
    told: dict[str, Any] = {"step": step, "seconds": round(seconds, 1)}
    for i, values in sorted(last.items()):
        runner = runners[i]
        numbers = [round(v, 5) for v in values.tolist()]
        told[runner.task.name] = dict(zip(runner.names, numbers, strict=True))
    return told
