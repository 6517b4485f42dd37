"""The pool: which parts of components are loaded, who may still borrow them, and where they stay in between.

A run claims the parts of its plan before it begins, borrows each for the calls of stages, and ends the claim after the
last; so several runs can share a pool, and none takes from another what that still needs.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Hashable, Iterator
from typing import Any, Literal

import attrs

from stagegraph.components import component_spec_of, fingerprint_of
from stagegraph.errors import ComponentError, Fault, StagegraphError

#: Told about a part: (component name, part, seconds it took or None if it begins).
OnLoad = Callable[[str, str, float | None], None]


@attrs.define(eq=False)
class _Held:
    """A thing that is loaded once, whatever it is called.

    Attributes:
        lock: held while it is loaded, moved or dropped.
        state: "kept" if `value` is what a component's `offload` gave in its place.
        borrowers: calls of stages that have it now.
        names: the claims on it.
    """

    component: Any
    part: str
    lock: threading.RLock = attrs.field(factory=threading.RLock)
    state: Literal["absent", "loaded", "kept"] = "absent"
    value: Any = None
    borrowers: int = 0
    names: list[_Name] = attrs.field(factory=list)

    @property
    def wanted(self) -> bool:
        """Whether somebody may still borrow it, or wants it to stay."""
        return any(name.claims or name.resident for name in self.names)


@attrs.define(eq=False)
class _Name:
    """A part by the component's value, with the runs that may still borrow it; `held` is found at the first use.

    What a component would load may take long to find out, and is not needed if nobody borrows it.
    """

    component: Any
    part: str
    claims: int = 0
    resident: bool = False
    held: _Held | None = None


class Pool:
    """Loaded parts. One pool serves one run, or several that share what they load.

    Components of equal class and params are one. So are those whose `fingerprint()` and `placement()` are equal,
    whatever path they were opened by.
    """

    def __init__(self) -> None:
        self._names: dict[Hashable, _Name] = {}
        self._held: dict[Hashable, _Held] = {}
        self._lock = threading.RLock()  # of the tables and counts; never held while something loads

    def claim(self, component: Any, part: str, *, resident: bool = False) -> Claim:
        """Say that a part will be borrowed, so that nobody else drops it meanwhile.

        Args:
            component: an instance of a component class.
            part: the part's name.
            resident: it shall stay in the pool for good, whatever others want.
        """
        with self._lock:
            name = self._names.setdefault(_value_key(component, part), _Name(component, part))
            name.claims += 1
            name.resident = name.resident or resident
        return Claim(self, name)

    def lend(self, component: Any, part: str, name: str = "", on_load: OnLoad | None = None) -> Any:
        """A part of a component, loaded now if it is not yet; it stays until it is released.

        Args:
            component: an instance of a component class.
            part: the part's name.
            name: the component's name in the graph, for messages.
            on_load: told (name, part, None) before the part is loaded, (name, part, seconds) after.

        Raises:
            ComponentError: it could not be loaded.
        """
        claim = self.claim(component, part)
        try:
            with claim.borrowed(name, on_load) as value:
                return value
        finally:
            claim.end()

    def release(self, component: Any, part: str) -> None:
        """Forget a part; its memory goes when no stage holds it any more."""
        name = self._names.get(_value_key(component, part))
        if name is not None and name.held is not None:
            _drop(name.held)

    def __len__(self) -> int:
        return sum(held.state != "absent" for held in self._held.values())

    def _resolve(self, name: _Name) -> _Held:
        """What stands behind a name."""
        if name.held is None:
            identity = _identity(name.component, name.part)
            with self._lock:
                held = self._held.setdefault(identity, _Held(name.component, name.part))
                if name.held is None:
                    name.held = held
                    held.names.append(name)
        return name.held


class Claim:
    """The right of a run to borrow a part until it ends the claim."""

    def __init__(self, pool: Pool, name: _Name) -> None:
        self._pool = pool
        self._name = name

    @contextlib.contextmanager
    def borrowed(self, name: str = "", on_load: OnLoad | None = None) -> Iterator[Any]:
        """The part, loaded or brought back now if need be, for the time of the `with` block.

        Raises:
            ComponentError: it could not be loaded.
        """
        held = self._pool._resolve(self._name)
        with self._pool._lock:
            held.borrowers += 1
        try:
            with held.lock:  # steps that run at the same time share what the first of them loads
                if held.state != "loaded":
                    _load(held, name, on_load)
                value = held.value
            yield value
        finally:
            with self._pool._lock:
                held.borrowers -= 1

    def offload(self) -> bool:
        """Move the part out of the device's memory, unless somebody uses it; gives whether it was moved."""
        held = self._name.held
        if held is None:
            return False
        with held.lock:
            if held.state != "loaded" or held.borrowers:
                return False
            held.value = held.component.offload(held.part, held.value)
            held.state = "kept"
            return True

    def end(self, *, release: bool = False) -> bool:
        """Give up the claim; gives whether the part was dropped.

        Args:
            release: drop it if nobody else has a claim on it or wants it to stay.
        """
        with self._pool._lock:
            self._name.claims -= 1
        held = self._name.held
        return release and held is not None and not held.wanted and _drop(held)


def _drop(held: _Held) -> bool:
    with held.lock:
        there = held.state != "absent"
        held.state, held.value = "absent", None
        return there


def _load(held: _Held, name: str, on_load: OnLoad | None) -> None:
    tell = on_load or (lambda name, part, seconds: None)
    tell(name, held.part, None)
    start = time.perf_counter()
    try:
        if held.state == "kept":
            held.value = held.component.restore(held.part, held.value)
        else:
            held.value = getattr(held.component, held.part)()
    except (StagegraphError, MemoryError):
        raise
    except Exception as error:
        kind = component_spec_of(held.component).kind
        reason = f"{type(error).__name__}: {error}"
        what = f"{held.part} of component {name} ({kind}) could not be loaded: {reason}"
        raise ComponentError(Fault("component_failed", what, where=f"components.{name}")) from error
    held.state = "loaded"
    tell(name, held.part, time.perf_counter() - start)


def _value_key(component: Any, part: str) -> Hashable:
    # not the component itself: a param that is a list cannot be hashed, and 1 would equal True
    return type(component), repr(attrs.astuple(component)), part


def _identity(component: Any, part: str) -> Hashable:
    """What would be loaded, and where to; the component's value if it does not say."""
    placement = getattr(component, "placement", None)
    fingerprint = fingerprint_of(component) if placement is not None else ""
    if not fingerprint or placement is None:
        return _value_key(component, part)
    return type(component), fingerprint, tuple(sorted(placement().items())), part
