"""`RunCache`: what an executor asks before it runs a node, and tells after.

::

    key = cache.node_key(step, identities)
    values = cache.fetch(step, key)
    if values is None:
        values = ...  # run the stage
        cache.save(step, key, values, seconds=...)

`identities` says what flows in: for each input `cache.input_key(value)` of a value that the caller gave, or
`cache.output_key(step, key, port, value)` of the output that feeds it.

A stage that opts out (`@stage(..., cache=False)`: it reads or writes files, say) always runs, except when its run is
taken up again and it had returned plain data. What it returns is known by its content.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from stagegraph.artifacts import Codecs
from stagegraph.errors import ArtifactError, Fault, StoreError
from stagegraph.events import Event, as_dict
from stagegraph.keys import Identities, Keyless, KeyMaker, NodeKey
from stagegraph.plan import Step
from stagegraph.record import Recorder
from stagegraph.store import Also, Entry, Store
from stagegraph.store.runs import FRESH, NodeRow, Outcome, RunLog, StoredRun, begin


class RunCache:
    """The store as one run sees it. Threads may share it.

    Args:
        store: where outputs are.
        codecs: write and read values.
        components: the components of the graph, by name.
        log: of the run; without one nothing is recorded of it.
        on_warning: told about stored values that could not be used, which are made again, and about what could not be
            written down, without which the run goes on.
    """

    def __init__(
        self,
        store: Store,
        codecs: Codecs,
        components: Mapping[str, Any],
        log: RunLog | None = None,
        *,
        on_warning: Callable[[Fault], None] = lambda fault: None,
    ) -> None:
        self._store = store
        self._codecs = codecs
        self._keys = KeyMaker(codecs, components)
        self._log = log
        self._on_warning = on_warning
        self._is_deaf = False
        self._unusable: set[str] = set()
        self._with_checkpoint: set[str] = set()
        self._lock = threading.Lock()

    @property
    def recorded(self) -> bool:
        """Whether anything is kept of the run itself."""
        return self._log is not None

    def told(self, event: Event) -> None:
        """Keep an event of the run."""
        if self._log is None:
            return
        try:
            self._log.event(as_dict(event))
        except StoreError as error:
            if not self._is_deaf:  # else the warning, which is an event too, would be followed by another
                self._is_deaf = True
                self._on_warning(error.faults[0])

    def finish(self, recorder: Recorder) -> None:
        """Keep how the run ended."""
        if self._log is None:
            return
        try:
            self._log.finish(recorder.record().as_dict())
        except StoreError as error:
            self._on_warning(error.faults[0])

    def close(self) -> None:
        """Let go of the run, after its last event."""
        if self._log is not None:
            self._log.close()
            self._log = None

    def input_key(self, value: Any) -> str | None:
        """What a value is known by: its content. None if it has no codec."""
        try:
            return self._codecs.identity(value)
        except ArtifactError:
            return None

    def node_key(self, step: Step, identities: Identities) -> NodeKey | Keyless:
        """The key of a step: what its outputs depend on.

        Args:
            step: of the plan.
            identities: for each input that is fed: what its value is known by; several for a port that gathers.
        """
        with self._lock:
            return self._keys.key(step, identities)

    def output_key(self, step: Step, key: NodeKey | Keyless, port: str, value: Any) -> str | None:
        """What an output is known by: the key of its node; its content if the node has none or opts out."""
        if isinstance(key, NodeKey) and reusable(step):
            return key.output(port)
        return self.input_key(value)

    def fetch(self, step: Step, key: NodeKey | Keyless) -> tuple[Any, ...] | None:
        """The values of the output ports; None if the stage has to run."""
        name = self._name(step, key)
        entry = self._entry(name)
        if entry is None:
            return None
        try:
            values = self._codecs.unbundle(entry.trees, entry.objects, _types(step))
        except ArtifactError as error:
            self._refuse(name, error.faults[0])
            return None
        if self._log is not None:
            self._log.reused(self._row(step, key, "reused", name))
        return values

    def has(self, step: Step, key: NodeKey | Keyless) -> bool:
        """Whether `fetch` would find something; its content is not looked at.

        What could not be used once is not there for this run, so that it does not look for it again and again.
        """
        name = self._name(step, key)
        if name is None or name in self._unusable:
            return False
        try:
            return self._store.has(name)
        except StoreError as error:
            self._refuse(name, error.faults[0])
            return False

    def left_out(self, step: Step, key: NodeKey | Keyless | None) -> None:
        """Record a node that nothing had to read, because what would have was reused."""
        if self._log is not None:
            digest, ingredients = (key.digest, key.ingredients) if isinstance(key, NodeKey) else (None, {})
            why = "nothing had to read it"
            self._log.reused(NodeRow(step.node.name, "reused", digest, None, ingredients, why))

    def save(
        self,
        step: Step,
        key: NodeKey | Keyless,
        values: Sequence[Any],
        *,
        seconds: float = 0.0,
        peak_bytes: int = 0,
        fresh: bool = False,
    ) -> None:
        """Store what a stage returned, and in the same transaction that the node is complete.

        Values that no codec writes are not stored, and the record says so; as it does of a stage that was asked to run
        although its outputs were kept (`fresh`).

        Raises:
            StoreError: neither is recorded.
        """
        name = self._name(step, key)
        bundle, note = None, key.why if isinstance(key, Keyless) else FRESH if fresh else ""
        if name is not None and (reusable(step) or all(map(self._codecs.is_plain, values))):
            try:
                bundle = self._codecs.bundle(values, _types(step))
            except ArtifactError as error:
                note = str(error.faults[0].what)
        row = self._row(step, key, "ran", name if bundle else None, note, seconds, peak_bytes)
        if bundle is not None and name is not None:
            self._store.put(name, bundle.trees, bundle.objects, self._recording(row))
            self._unusable.discard(name)
        elif self._log is not None:
            self._log.record(row)
        self._forget_checkpoint(name)

    def checkpoints(self, step: Step, key: NodeKey | Keyless) -> Checkpoints:
        """Those of one node."""
        return Checkpoints(self, step, key)

    def checkpoint(self, step: Step, key: NodeKey | Keyless, number: int, value: Any) -> None:
        """Keep a value for the case that the stage does not come to its end; it takes the place of the one before.

        Args:
            step: of the plan.
            key: of the node; one without a key has no checkpoints.
            number: how far the stage has come.
            value: plain data or of a type with a codec.

        Raises:
            ArtifactError: no codec writes it.
            StoreError: it could not be stored; the one before is still there.
        """
        name = self._name(step, key)
        if name is None:
            return
        bundle = self._codecs.bundle([value], [Any])
        place = _checkpoint(name)
        row = self._row(step, key, "started", place)
        self._store.put(place, [number, *bundle.trees], bundle.objects, self._recording(row))
        with self._lock:
            self._with_checkpoint.add(name)

    def latest_checkpoint(self, step: Step, key: NodeKey | Keyless) -> tuple[int, Any] | None:
        """The number and the value of the checkpoint of a node that did not come to its end; None if there is none."""
        name = self._name(step, key)
        entry = self._entry(_checkpoint(name)) if name is not None else None
        if entry is None or name is None:
            return None
        with self._lock:
            self._with_checkpoint.add(name)
        number, *trees = entry.trees
        try:
            return number, self._codecs.unbundle(trees, entry.objects, [Any])[0]
        except ArtifactError as error:
            self._on_warning(error.faults[0])
            return None

    def _entry(self, name: str | None) -> Entry | None:
        """What is stored; a warning, and None, if it is damaged or the store cannot be read."""
        try:
            found = self._store.get(name) if name is not None else None
        except StoreError as error:
            found = error.faults[0]
        if isinstance(found, Fault):
            self._refuse(name, found)
            return None
        return found

    def _refuse(self, name: str | None, fault: Fault) -> None:
        """Do without what is stored."""
        if name is not None:
            self._unusable.add(name)
        self._on_warning(fault)

    def _forget_checkpoint(self, name: str | None) -> None:
        with self._lock:
            has_one = name in self._with_checkpoint
            self._with_checkpoint.discard(name or "")
        if has_one and name is not None:
            self._store.remove(_checkpoint(name))

    def _recording(self, row: NodeRow) -> Also | None:
        return self._log.completed(row) if self._log is not None else None

    def _name(self, step: Step, key: NodeKey | Keyless) -> str | None:
        """Where the outputs of a node are in the store; None if they cannot be there."""
        if isinstance(key, Keyless):
            return None
        if reusable(step):
            return f"node/{key.digest}"
        return f"run/{self._log.id}/{step.node.name}/{key.digest}" if self._log is not None else None

    def _row(
        self,
        step: Step,
        key: NodeKey | Keyless,
        outcome: Outcome,
        entry: str | None,
        note: str = "",
        seconds: float = 0.0,
        peak_bytes: int = 0,
    ) -> NodeRow:
        digest, ingredients = (key.digest, key.ingredients) if isinstance(key, NodeKey) else (None, {})
        return NodeRow(step.node.name, outcome, digest, entry, ingredients, note, seconds, peak_bytes)


def reusable(step: Step) -> bool:
    """Whether other runs may use what a step gives."""
    return bool(getattr(step.node.spec, "cache", True))


def _types(step: Step) -> list[Any]:
    return [step.node.output_type(port) for port in step.node.spec.outputs]


def _checkpoint(name: str) -> str:
    return f"checkpoint/{name}"


@attrs.frozen
class Checkpoints:
    """The checkpoints of one node of a run."""

    cache: RunCache
    step: Step
    key: NodeKey | Keyless

    def put(self, number: int, value: Any, warn: Callable[[Fault], None]) -> None:
        """Keep a value; if that fails the stage goes on, and only the way back is missing."""
        try:
            self.cache.checkpoint(self.step, self.key, number, value)
        except (ArtifactError, StoreError) as error:
            warn(error.faults[0])

    def latest(self) -> tuple[int, Any] | None:
        """The last one, if the node did not come to its end."""
        return self.cache.latest_checkpoint(self.step, self.key)


@attrs.frozen
class Caching:
    """How runs use a store: what an executor is given to keep outputs and use them again.

    Attributes:
        store: where outputs are kept.
        codecs: write and read values.
        recorded: whether each run is recorded as well, in the store.
        resumed: a run to go on with, under its own id, in place of a new one.
        optional: whether a run goes on without, with a warning, if it cannot be recorded.
    """

    store: Store
    codecs: Codecs
    recorded: bool = True
    resumed: StoredRun | None = None
    optional: bool = False

    def begin(
        self, recorder: Recorder, inputs: Mapping[str, Any], folder: Path, warn: Callable[[Fault], None]
    ) -> RunCache | None:
        """The cache of a run that begins now; None if the run is to do without.

        Args:
            recorder: of the run.
            inputs: the values of the graph's inputs.
            folder: the run's own, where its stages write; it need not be there.
            warn: told about stored values that could not be used.

        Raises:
            StoreError: the run cannot be recorded, or not be taken up. Once it has begun, no failure of the store
                stops it.
        """
        graph = recorder.plan.graph
        log = self.resumed.take_up() if self.resumed is not None else None
        if log is None and self.recorded:
            types = {name: input.type for name, input in graph.inputs.items()}
            record = recorder.record().as_dict()
            try:
                log = begin(self.store, self.codecs, record, inputs, types, folder)
            except StoreError as error:
                if not self.optional:
                    raise
                warn(error.faults[0])
                return None
        return RunCache(self.store, self.codecs, graph.components, log, on_warning=warn)
