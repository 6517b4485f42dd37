"""The loop that all networks are trained by: for so many seconds, on a GPU as one CUDA graph a step."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs
import torch
from torch import Tensor, nn

from . import ranks
from .optim import Optimizer

CHECK = 20
"""Steps after which a GPU is waited for."""

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
class Captured:
    """Something that a GPU does, replayed after `capture`."""

    do: Callable[..., Tensor | None]
    _graph: Any = None
    _inputs: Sequence[Tensor] = ()
    _output: Tensor | None = None

    def capture(self, *inputs: Tensor) -> None:
        """Do it three times, which compiles and chooses kernels, and once more to be replayed."""
        self._inputs = [tensor.clone() for tensor in inputs]
        side: torch.cuda.Stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                self.do(*self._inputs)
        torch.cuda.current_stream().wait_stream(side)
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        # What other threads do, as those that watch over a process group, is none of it.
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            self._output = self.do(*self._inputs)
        self._graph = graph

    def __call__(self, *inputs: Tensor) -> Tensor | None:
        """What is returned may be overwritten by the next call."""
        if self._graph is None:
            return self.do(*inputs)
        for held, fresh in zip(self._inputs, inputs, strict=True):
            held.copy_(fresh, non_blocking=True)
        self._graph.replay()
        return self._output


class Runner:
    """Takes steps of one task.

    Args:
        task: a kind of steps.
        optimizer: moves the weights.
        move: how it does.
        graphs: whether what a GPU does is captured.
    """

    def __init__(self, task: Task, optimizer: Optimizer, move: Captured, *, graphs: bool) -> None:
        self.task = task
        self.names: tuple[str, ...] = ()
        self._optimizer = optimizer
        self._move = move
        self._graphs = graphs
        self._learn = Captured(self._gradients)

    def prepare(self) -> None:
        """On a GPU, compile, choose kernels and capture: what takes long once."""
        batch = self.task.batch()
        if not batch[0].is_cuda:
            return
        if not self._graphs:
            self._gradients(*batch)
        else:
            try:
                self._learn.capture(*batch)
            except RuntimeError as error:  # the same numbers, slower: better than a piece that is lost
                tell(f"{self.task.name}: steps cannot be captured and are taken one by one: {error}")
                self._learn = Captured(self._gradients)
        torch.cuda.synchronize()

    def __call__(self) -> Tensor:
        """Take a step; the loss and the numbers to be reported, in a tensor that the next step may overwrite."""
        told = self._learn(*self.task.batch())
        ranks.average(self._optimizer.gradients)
        self._move()
        assert told is not None
        return told

    def _gradients(self, *batch: Tensor) -> Tensor:
        self._optimizer.zero()
        with torch.autocast("cuda", torch.bfloat16, enabled=batch[0].is_cuda, cache_enabled=False):
            loss, told = self.task.loss(*batch)
        torch.autograd.backward(loss)
        self.names = ("loss", *told)
        return torch.stack([loss.detach().float(), *(v.detach().float() for v in told.values())])


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
    device = optimizer.params[0].device
    cuda = device.type == "cuda"
    captures = cuda if graphs is None else graphs
    if cuda:
        torch.cuda.empty_cache()
    move = Captured(optimizer.step)
    runners = [Runner(task, optimizer, move, graphs=captures) for task in tasks]
    turns = _turns(tasks)
    warm_up = _prepared(runners, optimizer, move if captures else None) if cuda else {}
    tell(label, "before the first step:", warm_up)
    start = time.monotonic()
    if deadline is not None:
        left = ranks.agreed(max(0.0, deadline - start), device)
        seconds = min(seconds, left * seconds / (seconds + rest))
    history: list[dict[str, Any]] = []
    step, due, past = 0, 1, 0.0
    last: dict[int, Tensor] = {}
    while True:
        if step % (CHECK if cuda else 1) == 0:  # steps must not pile up: the clock is to tell when they are done
            past = ranks.agreed(time.monotonic() - start, device)
        if past >= seconds or (most is not None and step >= most):
            break
        progress = past / seconds if most is None else step / most
        optimizer.schedule(min(1.0, (1 - progress) / anneal + 0.005) if anneal else 1.0)
        which = turns[step % len(turns)]
        last[which] = runners[which]()
        step += 1
        if step >= due:
            due = step + max(50, step // 5) if cuda else step + max(10, step // 5)
            history.append(_told(runners, last, optimizer, step, time.monotonic() - start))
            tell(label, history[-1])
    history.append(_told(runners, last, optimizer, step, time.monotonic() - start))
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


def _prepared(runners: Sequence[Runner], optimizer: Optimizer, move: Captured | None) -> dict[str, float]:
    """Prepare all kinds of steps, and what moves the weights; how many seconds each took."""
    took = {}
    for runner in runners:
        start = time.monotonic()
        runner.prepare()
        took[runner.task.name] = round(time.monotonic() - start, 1)
    if move is not None:
        optimizer.zero()
        optimizer.rate.zero_()  # no gradient and no rate: it moves nothing
        count = optimizer.count.clone()
        move.capture()
        optimizer.count.copy_(count)
    return took


def _turns(tasks: Sequence[Task]) -> list[int]:
    """Whose turn it is, in an order in which every task comes as evenly as its share allows."""
    total = sum(task.share for task in tasks)
    slots = sorted(((k + 0.5) / task.share, i) for i, task in enumerate(tasks) for k in range(task.share))
    assert len(slots) == total
    return [i for _, i in slots]


def _told(
    runners: Sequence[Runner], last: Mapping[int, Tensor], optimizer: Optimizer, step: int, seconds: float
) -> dict[str, Any]:
    told: dict[str, Any] = {"step": step, "seconds": round(seconds, 1), "gradient": round(float(optimizer.norm), 5)}
    for i, values in sorted(last.items()):
        runner = runners[i]
        numbers = [round(v, 5) for v in values.tolist()]
        told[runner.task.name] = dict(zip(runner.names, numbers, strict=True))
    return told
