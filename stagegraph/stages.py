"""`@stage`: a class or function becomes a typed step, its ports read from the signature of `run`.

What flows in is positional, what is lent (components, the run's context) is keyword-only, params are attrs fields::

    @stage("sepia.tint", version=1)
    class Tint:
        '''Tint frames brown.'''

        strength: float = param(default=0.8, ge=0, le=1, help="0 leaves the frames unchanged")

        def run(self, frames: Frames) -> Frames: ...

A function with the same conventions is a stage too; its params are the keyword-only arguments whose default is a
`param`. A stage is an ordinary object: `Tint(strength=0.5).run(frames)` needs no engine.
"""

from __future__ import annotations

import contextlib
import importlib
import inspect
import re
import sys
import typing
from collections.abc import Callable, Iterator, Mapping
from types import FrameType
from typing import Any, Literal, TypeVar, cast, dataclass_transform

import attrs

from stagegraph.context import StageContext
from stagegraph.errors import Fault, GraphError
from stagegraph.migrations import Migration, Migrations
from stagegraph.ports import REQUIRED, Port, type_name
from stagegraph.rules import param

ID = re.compile(r"[a-z][a-z0-9_]*(?:\.[a-z][a-z0-9_]*)*")
#: The name of the only output of a stage that returns one value.
SINGLE = "output"

#: What a stage is bound by; see `stage`.
Lane = Literal["device", "cpu", "io"]

T = TypeVar("T")

_FIELD = type(attrs.field())  # attrs offers no public name for what attrs.field returns


@attrs.frozen
class Lent:
    """A component that a stage is lent for the time of a call."""

    name: str
    type: Any


@attrs.frozen(eq=False)
class StageSpec:
    """What a stage declares.

    `returns` is the type that `run` returns; `single` says that this is the value of the one output itself, not an
    object with a field per output. `context` is the name of the argument that takes the `StageContext`, None if the
    stage wants none. `cache`, `lane` and `retryable` are as `stage` takes them. `ports` are the outputs in their order.
    """

    id: str
    version: int
    factory: type
    inputs: Mapping[str, Port]
    outputs: Mapping[str, Port]
    lent: Mapping[str, Lent]
    returns: Any
    single: bool
    context: str | None
    summary: str
    cache: bool = True
    lane: Lane | None = None
    retryable: tuple[type[Exception], ...] = ()
    migrations: Migrations = attrs.field(factory=lambda: Migrations("", 1, {}), repr=False)
    is_variadic: bool = attrs.field(init=False)
    ports: tuple[Port, ...] = attrs.field(init=False, repr=False)
    foretells: bool = attrs.field(init=False)
    reference: str = attrs.field(init=False, repr=False)

    @is_variadic.default
    def _is_variadic(self) -> bool:
        """Whether one of the inputs takes any number of values."""
        return any(port.variadic for port in self.inputs.values())

    @ports.default
    def _ports(self) -> tuple[Port, ...]:
        return tuple(self.outputs.values())

    @foretells.default
    def _foretells(self) -> bool:
        """Whether the stage has anything to say before it runs; see `facts`."""
        return any(hasattr(self.factory, name) for name in ("check", "writes", "facts"))

    @reference.default
    def _reference(self) -> str:
        """What names the stage in manifests and records: "id@version"."""
        return f"{self.id}@{self.version}"

    @property
    def params(self) -> Mapping[str, attrs.Attribute[Any]]:
        """The settings: name -> attrs field."""
        return {field.name: field for field in attrs.fields(self.factory) if field.init}

    def __str__(self) -> str:
        return self.reference


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(param,))
def stage(
    id: str,
    *,
    version: int,
    cache: bool = True,
    lane: Lane | None = None,
    retryable: tuple[type[Exception], ...] = (),
    migrations: Mapping[int, Migration] | None = None,
) -> Callable[[T], T]:
    """Make a class with a `run` method, or a function, a stage. `run` may be `async`.

    Args:
        id: dotted lower-case name, the plugin's name first: "ltx2.denoising".
        version: raised when the same params and inputs no longer give the same outputs.
        cache: whether outputs may be kept and used again for the same inputs; False for stages that write files, ask
            servers, or look at the clock.
        lane: what the stage is bound by, where steps run at the same time: "device" (one at a time), "cpu", "io". By
            default "device" if it is lent components, "cpu" if not.
        retryable: exceptions that may pass, such as `ConnectionError`: a node with `retry` calls the stage again.
            Errors of the engine's kind say so themselves.
        migrations: version -> what brings params that were written for it to the next version, so that manifests which
            say `id@1` still open.

    Raises:
        GraphError: the id, or a part of the signature, cannot be used; when the module is imported.
    """

    def decorate(target: T) -> T:
        frame = sys._getframe(1)
        if isinstance(target, type):
            made: Any = _stage_of_class(target, id, version, frame)
        else:
            made = _stage_of_function(cast("Callable[..., Any]", target), id, version, frame)
        owner: Any = made if isinstance(made, type) else type(made)
        history = Migrations(id, version, migrations or {})
        owner.__stagegraph_stage__ = attrs.evolve(
            spec_of(made), cache=cache, lane=lane, retryable=retryable, migrations=history
        )
        return cast(T, made)

    return decorate


@dataclass_transform(frozen_default=True)
def outputs(cls: type[T]) -> type[T]:
    """Mark a return type whose fields are the output ports of a stage; makes the class `attrs.frozen`."""
    frozen: Any = attrs.frozen(cls)
    attrs.resolve_types(frozen, localns=sys._getframe(1).f_locals)
    frozen.__stagegraph_outputs__ = {field.name: Port(field.name, field.type) for field in attrs.fields(frozen)}
    return cast("type[T]", frozen)


def spec_of(stage: Any) -> StageSpec:
    """The spec of a stage: of its class, its function or an instance.

    Raises:
        GraphError: it is not a stage.
    """
    spec = getattr(stage, "__stagegraph_stage__", None)
    made_by = stage if isinstance(stage, type) else type(stage)
    if not isinstance(spec, StageSpec) or spec.factory is not made_by:  # nor is a subclass of one
        what = f"{stage!r} is not a stage"
        fix = 'decorate its class or function with @stage("...", version=1)'
        raise GraphError(Fault("invalid_stage", what, fix=fix))
    return spec


def _stage_of_class(cls: type, id: str, version: int, frame: FrameType) -> type:
    run = cls.__dict__.get("run")
    if not inspect.isfunction(run):
        raise _invalid(id, f"class {cls.__name__} has no run method", "define run(self, ...)")
    frozen = attrs.frozen(cls)
    with _resolving(id, "a param"):
        attrs.resolve_types(frozen, localns=frame.f_locals)
    spec = _spec(id, version, frozen, run, list(inspect.signature(run).parameters.values())[1:], frame)
    frozen.__stagegraph_stage__ = spec  # type: ignore[attr-defined]
    return frozen


def _stage_of_function(function: Callable[..., Any], id: str, version: int, frame: FrameType) -> Any:
    """A stage class with the function's params as fields, that also can be called like the function."""
    parameters = list(inspect.signature(function).parameters.values())
    hints = _hints(id, function, frame)
    settings = {p.name: p.default for p in parameters if _is_param(p)}

    def run(self: Any, *args: Any, **lent: Any) -> Any:
        return function(*args, **lent, **{name: getattr(self, name) for name in settings})

    namespace = {
        "__doc__": function.__doc__,
        "__module__": function.__module__,
        "__annotations__": {name: hints[name] for name in settings},
        "run": run if settings else staticmethod(function),
        **settings,
    }
    frozen = attrs.frozen(type(function.__name__, (FunctionStage,), namespace))
    for field in attrs.fields(frozen):
        if field.default is attrs.NOTHING:
            fix = "give it one, or make the stage a class"
            raise _invalid(id, f"param {field.name} of a function has no default", fix)
    spec = _spec(id, version, frozen, function, [p for p in parameters if not _is_param(p)], frame)
    frozen.__stagegraph_stage__ = spec  # type: ignore[attr-defined]
    return frozen()


class FunctionStage:
    """A function that is a stage: called like the function; `with_params` sets its params."""

    def run(self, *args: Any, **lent: Any) -> Any:
        """The function, with the params of this stage."""
        raise NotImplementedError

    def __call__(self, *args: Any, **lent: Any) -> Any:
        """The function itself; params may be given by keyword."""
        names = spec_of(self).params
        settings = {name: lent.pop(name) for name in list(lent) if name in names}
        return self.with_params(**settings).run(*args, **lent)

    def __reduce__(self) -> Any:
        params = {name: getattr(self, name) for name in spec_of(self).params}
        return _restored, (type(self).__module__, type(self).__name__, params)

    def with_params(self, **params: Any) -> FunctionStage:
        """The same stage with other params."""
        return cast(FunctionStage, attrs.evolve(cast(Any, self), **params))


def _restored(module: str, name: str, params: dict[str, Any]) -> FunctionStage:
    """A function stage on the other side of a pickle: its class hides behind the name of the function."""
    stage: FunctionStage = getattr(importlib.import_module(module), name)
    return stage.with_params(**params)


def _is_param(parameter: inspect.Parameter) -> bool:
    return parameter.kind is parameter.KEYWORD_ONLY and isinstance(parameter.default, _FIELD)


def _spec(
    id: str, version: int, factory: type, run: Callable[..., Any], parameters: list[inspect.Parameter], frame: FrameType
) -> StageSpec:
    if not ID.fullmatch(id):
        raise _invalid(id, f'the id "{id}" is not usable', 'use dotted lower-case words: "vendor.name"')
    hints = _hints(id, run, frame)
    inputs: dict[str, Port] = {}
    lent: dict[str, Lent] = {}
    context = None
    for parameter in parameters:
        name = parameter.name
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.VAR_KEYWORD):
            raise _invalid(id, f"argument {parameter} of run cannot be a port", "give every port a name of its own")
        if name not in hints:
            raise _invalid(id, f"argument {name} of run has no type", "annotate it: the type is the port's type")
        if isinstance(parameter.default, _FIELD):
            raise _invalid(id, f"argument {name} is a param but not keyword-only", "put a * before it")
        if parameter.kind is parameter.KEYWORD_ONLY and parameter.default is not parameter.empty:
            fix = "use param(...) for a setting; a component or the context has no default"
            raise _invalid(id, f"argument {name} is keyword-only and has a default that is no param", fix)
        if parameter.kind is not parameter.KEYWORD_ONLY:
            default = REQUIRED if parameter.default is parameter.empty else parameter.default
            inputs[name] = Port(name, hints[name], default, parameter.kind is parameter.VAR_POSITIONAL)
        elif hints[name] is StageContext:
            context = name
        else:
            lent[name] = Lent(name, hints[name])
    if "return" not in hints:
        raise _invalid(id, "run has no return type", "annotate it: the type is the output's type")
    result = hints["return"]
    single = not hasattr(result, "__stagegraph_outputs__") and result not in (None, type(None))
    fields = {SINGLE: Port(SINGLE, result)} if single else getattr(result, "__stagegraph_outputs__", {})
    summary = inspect.cleandoc(factory.__doc__ or "").partition("\n\n")[0].replace("\n", " ")
    return StageSpec(id, version, factory, inputs, fields, lent, result, single, context, summary)


def _hints(id: str, function: Callable[..., Any], frame: FrameType) -> dict[str, Any]:
    """Resolved annotations; names of the scope in which the stage is defined count, even inside a function."""
    with _resolving(id, "run"):
        return typing.get_type_hints(function, localns={**frame.f_locals})


@contextlib.contextmanager
def _resolving(id: str, what: str) -> Iterator[None]:
    try:
        yield
    except (NameError, AttributeError, TypeError, SyntaxError) as error:
        fix = "import it at run time, not only for checking"
        raise _invalid(id, f"a type of {what} cannot be resolved: {error}", fix) from None


def _invalid(id: str, what: str, fix: str) -> GraphError:
    return GraphError(Fault("invalid_stage", f"stage {id}: {what}", fix=fix))


def signature(spec: StageSpec) -> str:
    """One line: `ltx2.denoising@1  (latents LatentState, text TextContext) -> video VideoLatent, audio AudioLatent`."""
    takes = ", ".join(str(port) for port in spec.inputs.values())
    gives = ", ".join(type_name(p.type) if spec.single else str(p) for p in spec.outputs.values()) or "nothing"
    return f"{spec}  ({takes}) -> {gives}"
