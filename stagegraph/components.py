"""Components: heavy things that are loaded once and lent to stages.

A component is a class whose `@part` methods each load one thing; the return type says what it is, and a stage that
asks for that type is lent it::

    @component("acme.model", version=1)
    class Model:
        '''A checkpoint folder.'''

        path: str = param(help="Where it is")

        @part
        def encoder(self) -> Encoder:
            '''Turns text into features.'''
            return load(self.path, "encoder")

Optional methods: `check(parts)` yields a `Fault` for each thing that is wrong, found without loading anything, and
`fingerprint()` gives the identity of the weights.
"""

from __future__ import annotations

import inspect
import sys
import threading
import time
import typing
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar, cast, dataclass_transform

import attrs

from stagegraph.errors import ComponentError, Fault, GraphError, StagegraphError
from stagegraph.rules import param

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])


@attrs.frozen
class Part:
    """One thing that a component can lend."""

    name: str
    type: Any
    summary: str


@attrs.frozen(eq=False)
class ComponentSpec:
    """What a component declares."""

    kind: str
    version: int
    factory: type
    parts: Mapping[str, Part]
    summary: str

    @property
    def params(self) -> Mapping[str, attrs.Attribute[Any]]:
        """The settings: name -> attrs field."""
        return {field.name: field for field in attrs.fields(self.factory) if field.init}


def part(method: F) -> F:
    """Mark a method of a component that loads one of its parts."""
    method.__stagegraph_part__ = True  # type: ignore[attr-defined]
    return method


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(param,))
def component(kind: str, *, version: int) -> Callable[[type[T]], type[T]]:
    """Make a class a component.

    Args:
        kind: dotted lower-case name, the plugin's name first: "ltx2.checkpoint".
        version: raised when the same params load something else.

    Raises:
        GraphError: the class has no parts, or one without a return type.
    """

    def decorate(cls: type[T]) -> type[T]:
        localns = {**sys._getframe(1).f_locals}
        frozen: Any = attrs.frozen(cls)
        attrs.resolve_types(frozen, localns=localns)
        methods = [m for m in vars(cls).values() if getattr(m, "__stagegraph_part__", False)]
        parts = {m.__name__: Part(m.__name__, _returned(kind, m, localns), _summary(m)) for m in methods}
        if not parts:
            raise GraphError(
                Fault("invalid_stage", f"component {kind} has no parts", fix="mark its loaders with @part")
            )
        frozen.__stagegraph_component__ = ComponentSpec(kind, version, frozen, parts, _summary(cls))
        return cast("type[T]", frozen)

    return decorate


def component_spec_of(component: Any) -> ComponentSpec:
    """The spec of a component: of its class or an instance.

    Raises:
        GraphError: it is not a component.
    """
    spec = getattr(component, "__stagegraph_component__", None)
    made_by = component if isinstance(component, type) else type(component)
    if not isinstance(spec, ComponentSpec) or spec.factory is not made_by:  # nor is a subclass of one
        what = f"{component!r} is not a component"
        raise GraphError(Fault("invalid_stage", what, fix='decorate its class with @component("...", version=1)'))
    return spec


def fingerprint_of(component: Any) -> str:
    """The identity of what a component would load; empty if it does not say."""
    method = getattr(component, "fingerprint", None)
    return str(method()) if method is not None else ""


def faults_of(component: Any, parts: Iterable[str]) -> list[Fault]:
    """What would keep a component from lending these parts, found without loading."""
    method = getattr(component, "check", None)
    return list(method(frozenset(parts))) if method is not None else []


#: Told about a part: (component name, part, seconds it took or None if it begins).
OnLoad = Callable[[str, str, float | None], None]


class Pool:
    """Loaded parts. One pool serves one run, or several that share what they load.

    Parts are kept by the component's value (its class and params), so two graphs that name the same checkpoint with
    the same settings are lent the same modules.
    """

    def __init__(self) -> None:
        self._loaded: dict[tuple[type, str, str], Any] = {}
        self._loading = threading.Lock()

    def lend(self, component: Any, part: str, name: str = "", on_load: OnLoad | None = None) -> Any:
        """A part of a component, loaded now if it is not yet.

        Args:
            component: an instance of a component class.
            part: the part's name.
            name: the component's name in the graph, for messages.
            on_load: told (name, part, None) before the part is loaded, (name, part, seconds) after.

        Raises:
            ComponentError: it could not be loaded.
        """
        key = _key(component, part)
        with self._loading:  # steps that run at the same time share what the first of them loads
            if key not in self._loaded:
                tell = on_load or (lambda name, part, seconds: None)
                tell(name, part, None)
                start = time.perf_counter()
                self._loaded[key] = _load(component, part, name)
                tell(name, part, time.perf_counter() - start)
            return self._loaded[key]

    def release(self, component: Any, part: str) -> None:
        """Forget a part; its memory goes when no stage holds it any more."""
        self._loaded.pop(_key(component, part), None)

    def __len__(self) -> int:
        return len(self._loaded)


def _key(component: Any, part: str) -> tuple[type, str, str]:
    # not the component itself: a param that is a list cannot be hashed, and 1 would equal True
    return type(component), repr(attrs.astuple(component)), part


def _load(component: Any, part: str, name: str) -> Any:
    try:
        return getattr(component, part)()
    except (StagegraphError, MemoryError):
        raise
    except Exception as error:
        kind = component_spec_of(component).kind
        what = f"{part} of component {name} ({kind}) could not be loaded: {type(error).__name__}: {error}"
        raise ComponentError(Fault("component_failed", what, where=f"components.{name}")) from error


def _returned(kind: str, method: Callable[..., Any], localns: dict[str, Any]) -> Any:
    hints = typing.get_type_hints(method, localns=localns)
    if "return" not in hints:
        what = f"component {kind}: part {method.__name__} has no return type"
        raise GraphError(Fault("invalid_stage", what, fix="annotate it: the type says what is lent"))
    return hints["return"]


def _summary(thing: Any) -> str:
    return (inspect.getdoc(thing) or "").partition("\n\n")[0].replace("\n", " ")
