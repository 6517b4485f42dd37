"""A team of ranks, seen from rank 0: it evaluates a transformer as one process would, only sooner."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from stagegraph_ltx2.model.transformer import AudioVideoTransformer
from stagegraph_ltx2.parallel.group import TIMEOUT, Group, GroupError
from stagegraph_ltx2.parallel.packing import described, pack
from stagegraph_ltx2.parallel.part import Part
from stagegraph_ltx2.parallel.workers import Workers
from stagegraph_ltx2.samplers import Pair
from stagegraph_ltx2.scene import Scene, Velocities

PATIENCE = 5.0
"""Seconds in which it has to show which rank is gone, once an exchange failed."""

LATE = 2 * TIMEOUT.total_seconds()
"""Seconds in which all that ranks do at the same time has to come to its end."""


class Team:
    """Several processes, of which this is rank 0; the others end with it.

    A team that lost a rank is done; the next evaluation begins with new processes.

    Args:
        ranks: how many there are.
        device: of this process: the first GPU, or the CPU.
    """

    def __init__(self, ranks: int, device: torch.device) -> None:
        self.ranks = ranks
        self._device = device
        self._lock = threading.Lock()
        self._gathering = self._gather()  # they import torch while this process reads weights

    @contextmanager
    def evaluator(self, model: AudioVideoTransformer, scene: Scene) -> Iterator[Velocities]:
        """Evaluate a transformer in a scene; one at a time.

        Raises:
            RankError: a rank was lost.
        """
        with self._lock:
            if self._gathering.lost:  # perhaps while it had nothing to do
                self.close()
                self._gathering = self._gather()
            gathering = self._gathering
            gathering.share(model)
            try:
                yield gathering.set_scene(model, scene)
            finally:
                gathering.rest()

    def close(self) -> None:
        """End the other processes."""
        self._gathering.close()

    def _gather(self) -> _Gathering:
        gathering = _Gathering(Workers(self.ranks, self._device), self._device)
        weakref.finalize(self, gathering.close)
        return gathering


class _Gathering:
    """The processes of a team, until one of them is lost."""

    def __init__(self, workers: Workers, device: torch.device) -> None:
        self.closed = False
        self._workers = workers
        self._device = device
        self._group: Group | None = None
        self._shared: object = None

    @property
    def lost(self) -> bool:
        """Whether it is of no use any more."""
        return self.closed or self._workers.lost()

    def share(self, model: AudioVideoTransformer) -> None:
        """See that all ranks have the weights that this one has."""
        weights = _weights(model)
        if weights == self._shared:
            return
        state = model.state_dict()
        message = {"do": "model", "config": model.config.to_dict(), "names": list(state)}
        with self._together() as group:
            self._send(group, message, list(state.values()))
        self._shared = weights

    def set_scene(self, model: AudioVideoTransformer, scene: Scene) -> Velocities:
        """Tell all ranks of a scene; gives what evaluates the transformer in it."""
        plain, tensors = pack(scene)
        with self._together() as group:
            self._send(group, {"do": "scene", "scene": plain}, tensors)
            part = Part(group, model, scene)

        def velocities(number: int, x: Pair, sigma: float) -> Pair:
            with self._together() as group:
                self._send(group, {"do": "step", "batch": number, "sigma": sigma}, list(x))
                return part(number, x, sigma)

        return velocities

    def rest(self) -> None:
        """The scene is over: frees what it takes."""
        self._workers.tell({"do": "rest"})

    def close(self, *, kindly: bool = True) -> None:
        """End the other processes."""
        self.closed = True
        self._workers.close(kindly=kindly)
        if self._group is not None:
            self._group.abort()
            self._group = None

    @contextmanager
    def _together(self) -> Iterator[Group]:
        """What all ranks do at the same time. If this one does not get to its end the others wait for it in vain, so
        that the team is done.
        """
        try:
            group = self._group = self._group or self._joined()
            with self._in_time():
                yield group
                group.wait()
            if self._workers.lost():  # then what was exchanged is worth nothing
                raise self._workers.error()
        except BaseException as error:
            told = self._told(error)
            self.close(kindly=False)
            if told is error:
                raise
            raise told from error

    def _told(self, error: BaseException) -> BaseException:
        """What is the matter if this is what came of it."""
        lost = self._workers.lost(PATIENCE if isinstance(error, GroupError) else 0)
        if isinstance(error, GroupError) or (isinstance(error, RuntimeError) and lost):
            return self._workers.error(str(error))
        return error

    def _joined(self) -> Group:
        """The group, once all ranks are in it. A rank that is lost on the way keeps it from ever being complete."""
        self._workers.meet()
        outcome: list[Group | BaseException] = []

        def join() -> None:
            try:
                outcome.append(Group(self._workers.folder, 0, self._workers.ranks, self._device))
            except BaseException as error:
                outcome.append(error)

        thread = threading.Thread(target=join, name="stagegraph ranks", daemon=True)
        thread.start()
        while thread.is_alive() and not self._workers.lost():
            thread.join(0.02)
        if not outcome:
            raise self._workers.error()
        if isinstance(outcome[0], BaseException):
            raise outcome[0]
        self._workers.on_loss = outcome[0].abort
        return outcome[0]

    @contextmanager
    def _in_time(self) -> Iterator[None]:
        """Does not wait forever for a device whose exchanges have no end."""
        timer = threading.Timer(LATE, self._workers.stall, (f"nothing came of it in {LATE:g} s",))
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _send(self, group: Group, message: Mapping[str, Any], tensors: list[Tensor]) -> None:
        tensors = [tensor.to(self._device) for tensor in tensors]
        self._workers.tell({**message, "tensors": described(tensors)})
        for tensor in tensors:
            group.broadcast(tensor)


def _weights(model: AudioVideoTransformer) -> object:
    """Equal to another one only if it is of the same tensors, and they were not written since."""
    tensors = model.state_dict(keep_vars=True).values()
    return weakref.ref(model), tuple((x.data_ptr(), 0 if x.is_inference() else x._version) for x in tensors)
