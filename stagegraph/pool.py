"""The pool: which parts of components are loaded, who may still borrow them, and where they stay in between.

A run claims the parts of its plan before it begins, borrows each for the calls of stages, and ends the claim after the
last; so several runs can share a pool, and none takes from another what that still needs.

A part that is laid over another is the same thing in memory in another form. Who borrows it waits until nobody has it
in any other form, and then it is brought into the one that is wanted: so none can leak into the other. It stays in that
form until it is wanted otherwise, so that ten steps in a row change it once. A form can be taken back if somebody may
still want another when it is made; if not, nothing is kept for that, and who comes nevertheless finds the thing loaded
anew.
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
class _Form:
    """What is laid over a thing."""

    identity: Hashable
    component: Any
    part: str
    value: Any
    kept: bool


@attrs.define(eq=False)
class _Held:
    """A thing that is loaded once, whatever it is called.

    Attributes:
        lock: held while it is loaded, moved, changed or dropped; told when a borrower is done.
        state: "kept" if `value` is what a component's `offload` gave in its place.
        form: what is laid over it.
        borrowers: calls of stages that have it now.
        names: the claims on it, in groups that name the same component.
    """

    component: Any
    part: str
    lock: threading.Condition = attrs.field(factory=lambda: threading.Condition(threading.RLock()))
    state: Literal["absent", "loaded", "kept"] = "absent"
    value: Any = None
    form: _Form | None = None
    borrowers: int = 0
    names: list[list[_Name]] = attrs.field(factory=list)

    @property
    def wanted(self) -> bool:
        """Whether somebody may still borrow it, or wants it to stay."""
        return any(name.claims or name.resident for group in self.names for name in group)

    def expected(self, name: _Name) -> bool:
        """Whether somebody may come and want it in another form than a name stands for."""
        others = (other for group in self.names for other in group if other is not name)
        return any(other.claims or other.resident or other.left for other in others)

    def in_form(self, form: Hashable | None) -> bool:
        """Whether it is in a form, or as it was loaded if that is None."""
        return (self.form.identity if self.form is not None else None) == form


@attrs.define(eq=False)
class _Name:
    """A part by the component's value, with the runs that may still borrow it; `held` is found at the first use.

    What a component would load may take long to find out, and is not needed if nobody borrows it.

    Attributes:
        group: all names of what this is, or of what it is laid over.
        left: it was borrowed, and left for others that may come.
        form: the identity of what is laid over, once that is found.
    """

    component: Any
    part: str
    group: list[_Name]
    claims: int = 0
    resident: bool = False
    left: bool = False
    held: _Held | None = None
    form: Hashable | None = None


class Pool:
    """Loaded parts. One pool serves one run, or several that share what they load.

    Components of equal class and params are one. So are those whose `fingerprint()` and `placement()` are equal,
    whatever path they were opened by.
    """

    def __init__(self) -> None:
        self._names: dict[Hashable, _Name] = {}
        self._groups: dict[Hashable, list[_Name]] = {}
        self._held: dict[Hashable, _Held] = {}
        self._lock = threading.RLock()  # of the tables and claims; never held while something loads

    def claim(self, component: Any, part: str, *, resident: bool = False) -> Claim:
        """Say that a part will be borrowed, so that nobody else drops it meanwhile.

        Args:
            component: an instance of a component class.
            part: the part's name.
            resident: it shall stay in the pool for good, whatever others want.
        """
        key = _value_key(component, part)
        with self._lock:
            name = self._names.get(key)
            if name is None:
                group = self._groups.setdefault(_value_key(*_root(component, part)), [])
                name = self._names[key] = _Name(component, part, group)
                group.append(name)
            name.claims += 1
            name.resident = name.resident or resident
        return Claim(self, name)

    def lend(self, component: Any, part: str, name: str = "", on_load: OnLoad | None = None) -> Any:
        """A part of a component, loaded now if it is not yet; it stays until it is released.

        What is lent of something that others are laid over is theirs as soon as they are lent it.

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
            root = _root(name.component, name.part)
            laid = component_spec_of(name.component).parts[name.part].over is not None
            form = _identity(name.component, name.part) if laid else None
            identity = _identity(*root)
            with self._lock:
                held = self._held.setdefault(identity, _Held(*root))
                if name.held is None:
                    name.held, name.form = held, form
                    if not any(group is name.group for group in held.names):
                        held.names.append(name.group)
        return name.held


class Claim:
    """The right of a run to borrow a part until it ends the claim."""

    def __init__(self, pool: Pool, name: _Name) -> None:
        self._pool = pool
        self._name = name

    @contextlib.contextmanager
    def borrowed(self, name: str = "", on_load: OnLoad | None = None) -> Iterator[Any]:
        """The part, loaded, brought back or changed now if need be, for the time of the `with` block.

        Raises:
            ComponentError: it could not be loaded.
        """
        held = self._pool._resolve(self._name)
        with held.lock:  # steps that run at the same time share what the first of them loads
            held.lock.wait_for(lambda: not held.borrowers or held.in_form(self._name.form))
            if held.state != "loaded" or not held.in_form(self._name.form):
                with _told(self._name, name, on_load):
                    self._prepare(held)
            held.borrowers += 1
            value = held.form.value if held.form is not None else held.value
        try:
            yield value
        finally:
            with held.lock:
                held.borrowers -= 1
                held.lock.notify_all()

    def _prepare(self, held: _Held) -> None:
        """Bring a thing into the form that is wanted; what fails on the way is loaded anew at the next use."""
        try:
            if held.form is not None and held.form.identity != self._name.form:
                _lift(held)
            if held.state == "kept":
                held.value = held.component.restore(held.part, held.value)
            elif held.state == "absent":
                held.value = getattr(held.component, held.part)()
            held.state = "loaded"
            if held.form is None and self._name.form is not None:
                self._lay_over(held)
        except BaseException:
            if held.form is not None:
                _drop(held)
            raise

    def _lay_over(self, held: _Held) -> None:
        component, part = self._name.component, self._name.part
        with self._pool._lock:
            keep = held.expected(self._name)
        held.form = _Form(self._name.form, component, part, None, keep)
        held.form.value = getattr(component, part)(held.value, keep=keep)

    def offload(self) -> bool:
        """Move the part out of the device's memory, unless somebody uses it; gives whether it was moved.

        What is laid over it is lifted first; if it cannot be, the part goes altogether.
        """
        held = self._name.held
        if held is None:
            return False
        with held.lock:
            if held.state != "loaded" or held.borrowers:
                return False
            if not _lift(held):
                return True
            held.value = held.component.offload(held.part, held.value)
            held.state = "kept"
            return True

    def end(self, *, release: bool = False) -> bool:
        """Give up the claim; gives whether the part was dropped.

        Args:
            release: drop it if nobody else has a claim on it or wants it to stay.
        """
        held = self._name.held
        with self._pool._lock:
            self._name.claims -= 1
            self._name.left = held is not None and not release
            unwanted = release and held is not None and not held.wanted
        return unwanted and held is not None and _drop(held)


def _drop(held: _Held) -> bool:
    with held.lock:
        there = held.state != "absent"
        held.state, held.value, held.form = "absent", None, None
        return there


def _lift(held: _Held) -> bool:
    """Take back what is laid over a thing, if anything is; gives whether the thing is still there."""
    form = held.form
    if form is None:
        return True
    try:
        if form.kept:
            form.component.lift(form.part, form.value)
    except BaseException:  # half lifted, it is nothing that anybody may be lent
        _drop(held)
        raise
    if not form.kept:
        _drop(held)
    held.form = None
    return form.kept


@contextlib.contextmanager
def _told(name: _Name, label: str, on_load: OnLoad | None) -> Iterator[None]:
    """Tell of something that takes long, and what it was if it fails."""
    tell = on_load or (lambda name, part, seconds: None)
    tell(label, name.part, None)
    start = time.perf_counter()
    try:
        yield
    except (StagegraphError, MemoryError):
        raise
    except Exception as error:
        kind = component_spec_of(name.component).kind
        reason = f"{type(error).__name__}: {error}"
        what = f"{name.part} of component {label} ({kind}) could not be loaded: {reason}"
        raise ComponentError(Fault("component_failed", what, where=f"components.{label}")) from error
    tell(label, name.part, time.perf_counter() - start)


def _root(component: Any, part: str) -> tuple[Any, str]:
    """What is in memory for a part: itself, or what it is laid over."""
    over = component_spec_of(component).parts[part].over
    return (component, part) if over is None else (getattr(component, over.param), over.part)


def _value_key(component: Any, part: str) -> Hashable:
    # not the component itself: a param that is a list cannot be hashed, and 1 would equal True
    return type(component), repr([getattr(component, name) for name in component_spec_of(component).params]), part


def _identity(component: Any, part: str) -> Hashable:
    """What would be loaded, and where to; the component's value if it does not say."""
    placement = getattr(component, "placement", None)
    fingerprint = fingerprint_of(component) if placement is not None else ""
    if not fingerprint or placement is None:
        return _value_key(component, part)
    return type(component), fingerprint, tuple(sorted(placement().items())), part
