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

Optional methods, none of which loads anything but the last three:

- `check(parts)` yields a `Fault` for each thing that is wrong;
- `fingerprint()` gives the identity of the weights;
- `cache_facts()` gives what changes results beside the weights, such as the number format: name -> text. It goes into
  the keys of cached outputs; without it every param does;
- `placement()` gives what else tells one loaded thing from another, such as the device: name -> text. Components of
  equal fingerprint and placement share what they load;
- `part_facts(part)` gives what is known of a part before it is loaded: name -> plain value. "bytes" is what it takes
  once loaded, "device" where: a part on the "cpu" is in nobody's way. The other names are explained by its type, for
  the estimates of stages;
- `lighter()` gives settings with which its parts take less memory, each with a few words on what they change;
- `free_memory()` gives the bytes that are free now where parts are loaded to, None if it does not know;
- `peak_memory()` gives the most bytes in use there since it was last called;
- `serve()` and `dismiss()`, of a component with a param `nproc`: see below;
- `offload(part, value)` moves a part out of the device's memory and gives what `restore(part, kept)` turns into the
  part again.

A param whose type is a component class holds another component; manifests write the name that this has in the graph.
A part can be laid over a part of it: it is that part, changed in place, so that memory holds one of them and not two::

    @component("acme.adapter", version=1)
    class Adapter:
        '''A model with an adapter.'''

        base: Model = param(help="What it is laid over")

        @part
        def encoder(self, base: Encoder, *, keep: bool) -> Encoder:
            '''Turns text into features, in another style.'''
            ...

        def lift(self, part: str, value: Encoder) -> None:
            ...

The argument is named as the param, and its type says which part of the component it is. `lift(part, value)` makes of
what the method gave what it was before, bit by bit, from what the method kept of it; nothing need be kept if `keep` is
false, for then nobody is waiting for it. Nobody is lent the one while somebody uses the other. Stages are lent such a
part only where a node names its component.

A component with a param `nproc` has parts that so many processes share, each with a device of its own; `stagegraph run
--nproc N` sets it. As a rule it starts them itself where it loads such a part. If a launcher such as torchrun started
them together (`stagegraph.ranks`), rank 0 runs the graph and calls `dismiss()` when it is done; the others call
`serve()`, which returns then.
"""

from __future__ import annotations

import inspect
import sys
import typing
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, TypeVar, cast, dataclass_transform

import attrs

from stagegraph.errors import ComponentError, Fault, GraphError, StagegraphError
from stagegraph.rules import param

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])


#: Where a part stays between uses: loaded for good, until the last step of a run that is lent it, or out of the
#: device's memory whenever other steps come in between.
Residency = Literal["resident", "release-after-last-use", "offload"]


@attrs.frozen
class Over:
    """What a part is laid over: a part of the component that a param holds."""

    param: str
    part: str


@attrs.frozen
class Part:
    """One thing that a component can lend; `over` if it is a part of another component, changed in place."""

    name: str
    type: Any
    summary: str
    over: Over | None = None


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

    @property
    def holds(self) -> Mapping[str, ComponentSpec]:
        """The params that hold other components."""
        found = {name: spec_in(field.type) for name, field in self.params.items()}
        return {name: spec for name, spec in found.items() if spec is not None}


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
        parts = {m.__name__: _part(kind, m, frozen, localns) for m in methods}
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
    spec = spec_in(component)
    if spec is None:
        what = f"{component!r} is not a component"
        raise GraphError(Fault("invalid_stage", what, fix='decorate its class with @component("...", version=1)'))
    return spec


def spec_in(thing: Any) -> ComponentSpec | None:
    """The spec of a component class, or of an instance of one; None for anything else."""
    spec = getattr(thing, "__stagegraph_component__", None)
    made_by = thing if isinstance(thing, type) else type(thing)
    return spec if isinstance(spec, ComponentSpec) and spec.factory is made_by else None  # nor is a subclass of one


def held_by(component: Any) -> Mapping[str, Any]:
    """The components that a component holds, by param."""
    return {name: getattr(component, name) for name in component_spec_of(component).holds}


def can_offload(component: Any) -> bool:
    """Whether the parts of a component can be moved out of the device's memory, or those that they are laid over."""
    parts = component_spec_of(component).parts.values()
    owners = [component if part.over is None else getattr(component, part.over.param) for part in parts]
    return all(hasattr(owner, "offload") and hasattr(owner, "restore") for owner in owners)


def exchanged(components: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Components by name, some of them exchanged for others, also where further ones hold them."""
    pairs = [(components[name], new) for name, new in changes.items() if name in components]

    def renewed(component: Any) -> Any:
        for old, new in pairs:
            if component == old:
                return new
        held = held_by(component)
        made = {param: renewed(one) for param, one in held.items()}
        changed = {param: one for param, one in made.items() if one is not held[param]}
        return attrs.evolve(component, **changed) if changed else component

    return {name: changes[name] if name in changes else renewed(one) for name, one in components.items()}


def fingerprint_of(component: Any) -> str:
    """The identity of what a component would load; empty if it does not say.

    Raises:
        ComponentError: it cannot be told, because files are missing or cannot be read.
    """
    method = getattr(component, "fingerprint", None)
    try:
        return str(method()) if method is not None else ""
    except StagegraphError:
        raise
    except Exception as error:
        kind = component_spec_of(component).kind
        what = f"the fingerprint of {kind} cannot be told: {type(error).__name__}: {error}"
        raise ComponentError(Fault("component_failed", what)) from error


def cache_facts_of(component: Any) -> dict[str, str] | None:
    """What changes its results beside the weights, as it says: number format, kind of device; None if it does not."""
    method = getattr(component, "cache_facts", None)
    return {name: str(fact) for name, fact in method().items()} if method is not None else None


def part_facts_of(component: Any, part: str) -> Mapping[str, Any]:
    """What is known of a part before it is loaded."""
    method = getattr(component, "part_facts", None)
    return dict(method(part)) if method is not None else {}


def faults_of(component: Any, parts: Iterable[str]) -> list[Fault]:
    """What would keep a component from lending these parts, found without loading."""
    method = getattr(component, "check", None)
    return list(method(frozenset(parts))) if method is not None else []


def _part(kind: str, method: Callable[..., Any], made: type, localns: dict[str, Any]) -> Part:
    name, hints = method.__name__, typing.get_type_hints(method, localns=localns)
    if "return" not in hints:
        what = f"component {kind}: part {name} has no return type"
        raise GraphError(Fault("invalid_stage", what, fix="annotate it: the type says what is lent"))
    arguments = [p.name for p in inspect.signature(method).parameters.values() if p.kind is p.POSITIONAL_OR_KEYWORD][1:]
    over = _over(kind, name, arguments, hints, made) if arguments else None
    return Part(name, hints["return"], _summary(method), over)


def _over(kind: str, name: str, arguments: list[str], hints: Mapping[str, Any], made: type) -> Over:
    """What a part is laid over whose method takes arguments."""
    held = {field.name: spec_in(field.type) for field in attrs.fields(made)}.get(arguments[0])
    parts = [part for part in held.parts.values() if part.type is hints.get(arguments[0])] if held is not None else []
    if len(arguments) == 1 and len(parts) == 1 and parts[0].over is None and hasattr(made, "lift"):
        return Over(arguments[0], parts[0].name)
    raise GraphError(
        Fault(
            "invalid_stage",
            f"component {kind}: part {name} takes {', '.join(arguments)}",
            why="a part takes nothing, or the one part of its type of a component in a param of that name, which is "
            "not laid over another itself; its component can lift it",
            fix="name a param whose type is a component class, annotate it with the type of a part, and define lift",
        )
    )


def _summary(thing: Any) -> str:
    return (inspect.getdoc(thing) or "").partition("\n\n")[0].replace("\n", " ")
