"""`Session`: a graph and what is carried from each of its runs to the next."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Generator, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from stagegraph import builder
from stagegraph import plan as plans
from stagegraph.errors import Cancelled, Fault, SessionError, suggest
from stagegraph.events import Event, Listener
from stagegraph.executors.result import Outputs, Run
from stagegraph.executors.traffic import Lanes, Traffic
from stagegraph.graph import Graph
from stagegraph.plugins import default_registry
from stagegraph.pool import Pool
from stagegraph.sessions.flight import Flight
from stagegraph.sessions.snapshot import Snapshot, packed, unpacked

if TYPE_CHECKING:
    from stagegraph.caching import Caching
    from stagegraph.continuation import BlobStore
    from stagegraph.registry import Registry


@attrs.frozen
class Segment:
    """One run of a session.

    Attributes:
        index: from 0, over the whole session.
        run: that made it.
    """

    index: int
    run: Run

    @property
    def outputs(self) -> Outputs:
        """The values asked for, by name, and those that are carried."""
        return self.run.outputs

    def __getitem__(self, name: str) -> Any:
        return self.run[name]


class Session:
    """Runs a graph segment by segment. What `carry` of the graph names flows from each to the next.

    A segment that fails leaves the session as it was: `extend` can be tried again.

    Args:
        graph: with `carry`; as it grows in Python, or bound.
        inputs: the graph's inputs that are the same in every segment, unless `extend` says otherwise.
        outputs: the names of outputs to make; the graph's outputs if None. What is carried is made in any case.
        lanes: how many steps run at once.
        pool: where components are kept; by default one of its own, so that what is loaded stays for the next segment.
        caching: where outputs are kept and used again.
        directory: below which each segment has a folder, `segment-0000`.
        on_event: receives every event, one at a time; those of segments that overlap are told apart by their run.
        registry: the codecs of what is carried; that of the graph, or what is installed, if None.

    Raises:
        SessionError: the graph carries nothing.
        GraphError: the graph cannot run.
        PlanError: an output that the graph does not have.
        InputError: an input that the graph does not have.
    """

    def __init__(
        self,
        graph: builder.Graph | Graph,
        inputs: Mapping[str, Any] | None = None,
        /,
        *,
        outputs: Iterable[str] | None = None,
        lanes: Lanes | None = None,
        pool: Pool | None = None,
        caching: Caching | None = None,
        directory: Path | None = None,
        on_event: Listener | None = None,
        registry: Registry | None = None,
        **more: Any,
    ) -> None:
        self.graph = graph.bind() if isinstance(graph, builder.Graph) else graph
        self._registry = registry or (graph.registry if isinstance(graph, builder.Graph) else default_registry())
        self._carry = _carry(self.graph)
        asked = self.graph.outputs if outputs is None else outputs
        self._plan = plans.make(self.graph, dict.fromkeys([*asked, *self._carry.values()]))
        self.inputs = {**(inputs or {}), **more}
        _check_names(self.graph, self.inputs)
        self.segments = 0
        self.carried: dict[str, Any] = {}
        self._lanes = lanes or Lanes()
        self._pool = pool or Pool()
        self._caching = caching
        self._directory = directory
        self._on_event = on_event
        self._telling = threading.Lock()
        self._turn = threading.Lock()

    def extend(self, values: Mapping[str, Any] | None = None, /, **inputs: Any) -> Segment:
        """Make the next segment.

        Args:
            values: inputs by name; the way for those that are called like an argument of this method.
            inputs: inputs by name, over those of the session. One that is carried is taken instead of what is carried.

        Raises:
            SessionError: the session is making another segment.
            StagegraphError: what the run raises; the session is as before.
        """
        with contextlib.closing(self.stream([{**(values or {}), **inputs}], ahead=0)) as segments:
            return next(segments)

    def stream(self, items: Iterable[Any], *, ahead: int = 1) -> Generator[Segment, None, None]:
        """Make a segment of each item, and give each when it is done.

        What does not need what the segment before leaves is done while that one still runs: prompts are encoded while
        it is denoised; and once it has left everything, this one is denoised while that one is decoded and written.
        Whoever stops in between has the segments that were given; those that were begun are dropped.

        Args:
            items: mappings of inputs; or values of the graph's one input that is neither carried nor has a default, nor
                is given to the session: prompts.
            ahead: how many segments are begun before the one that is given next is done. So many items more are taken.

        Raises:
            SessionError: the session is making another segment, or a value is no mapping and it is not clear of what.
            StagegraphError: what a run raises; the session is as after the last segment that it gave.
        """
        if not self._turn.acquire(blocking=False):
            raise SessionError(Fault("session_busy", "the session is making a segment", fix="wait, or use another"))
        waiting = iter(items)
        flights: deque[Flight] = deque()
        traffic = Traffic(self._lanes)
        more = True
        try:
            while True:
                while more and len(flights) <= ahead:
                    try:
                        item = next(waiting)
                    except StopIteration:
                        more = False
                        break
                    flights.append(self._launch(item, flights, traffic))
                if not flights:
                    return
                run = flights[0].result()
                self.carried = dict(flights.popleft().carried)
                self.segments += 1
                yield Segment(self.segments - 1, run)
        except KeyboardInterrupt:
            raise Cancelled(Fault("cancelled", "the session was interrupted")) from None
        finally:
            for flight in flights:
                flight.cancel()
            for flight in flights:
                flight.join()
            self._turn.release()

    def snapshot(self, blobs: BlobStore | None = None) -> dict[str, Any]:
        """Everything that the next segment needs of this session, as plain JSON.

        Args:
            blobs: where to put what is too large for a message; all of it stands in the snapshot if None.

        Raises:
            SessionError: something that is carried, or an input, is neither plain JSON nor of a kind of continuation
                that a plugin registers.
            ContinuationError: its codec cannot write it.
        """
        codecs = self._registry.continuations
        return packed(self.graph.name, self.segments, self.inputs, self.carried, codecs, blobs)

    @classmethod
    def hydrate(
        cls,
        graph: builder.Graph | Graph,
        snapshot: Mapping[str, Any] | bytes | Snapshot,
        *,
        blobs: BlobStore | None = None,
        **options: Any,
    ) -> Session:
        """A session that goes on where another was when it was asked for its snapshot.

        Args:
            graph: the graph of that session.
            snapshot: what `snapshot` gave, or its JSON text; it may come from anybody.
            blobs: where what is too large for a message was put.
            options: of the session: outputs, lanes, pool, caching, directory, on_event, registry.

        Raises:
            SessionError: it is no snapshot, or of another graph.
            ContinuationError: what is carried cannot be read.
            InputError: what is carried is not of the type that the input takes.
        """
        read = snapshot if isinstance(snapshot, Snapshot) else Snapshot.read(snapshot)
        session = cls(graph, **options)
        carried = unpacked(read, session.graph, session._carry, session._registry.continuations, blobs)
        _check_names(session.graph, read.inputs)
        session.inputs, session.carried, session.segments = dict(read.inputs), carried, read.segments
        return session

    def _launch(self, item: Any, flights: deque[Flight], traffic: Traffic) -> Flight:
        index = self.segments + len(flights)
        given = dict(item) if isinstance(item, Mapping) else {self._only_input(): item}
        before = flights[-1] if flights else None
        inputs = {**self.inputs, **(self.carried if before is None else {}), **given}
        directory = self._directory / f"segment-{index:04d}" if self._directory is not None else None
        options: dict[str, Any] = {"pool": self._pool, "caching": self._caching, "directory": directory}
        if self._on_event is not None:
            options["on_event"] = self._tell
        return Flight(self._plan, self._carry, inputs, before, traffic, options)

    def _only_input(self) -> str:
        """The input that a value is for which is not said to be for any."""
        open_ = [n for n, i in self.graph.inputs.items() if i.required and n not in self._carry]
        names = [name for name in open_ if name not in self.inputs]
        if len(names) != 1:
            what = "it is not clear which input the values are for"
            why = f"{len(names)} inputs of {self.graph.name} have no value: {', '.join(names) or 'none'}"
            raise SessionError(Fault("invalid_type", what, why=why, fix='give mappings: {"prompt": ...}'))
        return names[0]

    def _tell(self, event: Event) -> None:
        with self._telling:
            if self._on_event is not None:
                self._on_event(event)


def _carry(graph: Graph) -> Mapping[str, str]:
    if not graph.carry:
        what = f"{graph.name} carries nothing from one run to the next"
        fix = "add carry: {input: outputs.name}, or g.carry(input, output)"
        raise SessionError(Fault("no_carry", what, fix=fix))
    return graph.carry


def _check_names(graph: Graph, inputs: Mapping[str, Any]) -> None:
    unknown = [name for name in inputs if name not in graph.inputs]
    if unknown:
        what = f'{graph.name} has no input "{unknown[0]}"'
        raise SessionError(Fault("unknown_input", what, fix=suggest(unknown[0], graph.inputs)))
