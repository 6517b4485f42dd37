"""A class or a function becomes a stage; what it declares is read from its signature."""

from __future__ import annotations

from typing import Any

import pytest

from stagegraph import StageContext, outputs, param, stage
from stagegraph.errors import GraphError
from stagegraph.pool import Pool
from stagegraph.ports import REQUIRED, Port
from stagegraph.stages import FunctionStage, Lent, signature, spec_of

from . import fakes
from .fakes import Clip, Encoder, Film, Image, Join, Paint, Parts, Sound, Split, add, show


def error_of(define: Any) -> str:
    """The whole text of the error that a definition gives."""
    with pytest.raises(GraphError) as caught:
        define()
    return str(caught.value)


def test_a_class_declares_ports_params_and_a_summary() -> None:
    """Positional arguments are inputs, fields are params, the return type is the output."""
    spec = spec_of(Paint)
    assert (spec.id, spec.version, str(spec), spec.factory) == ("fake.paint", 1, "fake.paint@1", Paint)
    assert spec.inputs == {"prompt": Port("prompt", str)}
    assert spec.outputs == {"output": Port("output", Image)}
    assert list(spec.params) == ["frames", "strength", "style", "sizes"]
    assert (spec.lent, spec.context, spec.single) == ({}, None, True)
    assert spec.summary == "Paint a picture."


def test_an_argument_with_a_default_is_an_optional_input() -> None:
    """What has a default need not be fed; None is a default."""
    assert spec_of(Join).inputs == {"image": Port("image", Image), "sound": Port("sound", Sound | None, None)}
    assert spec_of(Film).inputs["seed"].default == 0
    assert spec_of(Film).inputs["prompt"].default is REQUIRED


def test_a_return_class_gives_a_port_per_field() -> None:
    """A class marked `outputs` is frozen and names the ports."""
    assert spec_of(Split).outputs == {"image": Port("image", Image), "sound": Port("sound", Sound)}
    assert not spec_of(Split).single
    with pytest.raises(AttributeError):
        Parts(Image(), Sound()).image = Image()  # type: ignore[misc]


def test_a_stage_may_give_nothing() -> None:
    """A stage that returns None has no outputs."""
    assert spec_of(show).outputs == {}


def test_keyword_only_arguments_are_lent() -> None:
    """Components and the context are not ports."""
    spec = spec_of(fakes.Encode)
    assert spec.lent == {"encoder": Lent("encoder", Encoder)}
    assert spec.context == "context"
    assert list(spec.inputs) == ["text"]


def test_the_context_may_have_any_name() -> None:
    """The type says what is the context."""

    @stage("test.named", version=1)
    def named(x: int, *, run: StageContext) -> int:
        """Have a context."""
        return x

    assert spec_of(named).context == "run"
    assert spec_of(named).lent == {}


def test_a_function_is_a_stage_and_still_a_function() -> None:
    """It is called like the function; params are keywords or fixed with `with_params`."""
    assert add(1, 2) == 3
    assert add(1, plus=10) == 11
    assert isinstance(add, FunctionStage)
    assert add.with_params(plus=5).run(1, 2) == 8
    assert add.with_params(plus=5)(1) == 6
    assert list(spec_of(add).params) == ["plus"]
    assert list(spec_of(add).inputs) == ["a", "b"]


def test_a_stage_object_needs_no_engine() -> None:
    """In a test a stage is an ordinary object with a run method."""
    assert Paint(strength=0.5).run("fox") == Image("fox")
    assert Split().run(Clip("fox")).sound == Sound("fox")
    assert fakes.Encode().run("a", encoder=Encoder("here"), context=StageContext()) == "a@here"
    assert Pool().lend(fakes.Model(path="here"), "encoder") == Encoder("here")


def test_a_stage_object_cannot_be_changed() -> None:
    """Params are fixed when the object is made, and equal params make equal stages."""
    with pytest.raises(AttributeError):
        Paint().strength = 0.5  # type: ignore[misc]
    assert Paint(strength=0.5) == Paint(strength=0.5) != Paint()


def test_types_of_the_enclosing_function_are_found() -> None:
    """Types that exist only where the stage is defined resolve, although annotations are texts in this module."""

    class Local:
        pass

    @outputs
    class Both:
        first: Local
        second: list[Local]

    @stage("test.local_class", version=1)
    class Stage:
        seed: Local | None = param(None)

        def run(self, x: Local, y: Local | None = None) -> Both:
            return Both(x, [x])

    @stage("test.local_function", version=1)
    def function(x: Local, *, size: list[Local] | None = param(None)) -> list[Local]:  # noqa: B008
        return [x, *(size or ())]

    assert spec_of(Stage).inputs == {"x": Port("x", Local), "y": Port("y", Local | None, None)}
    assert spec_of(Stage).outputs == {"first": Port("first", Local), "second": Port("second", list[Local])}
    assert spec_of(Stage).params["seed"].type == Local | None
    assert spec_of(function).inputs == {"x": Port("x", Local)}
    assert spec_of(function).params["size"].type == list[Local] | None
    local = Local()
    assert Stage().run(local).second == [local]
    assert function(local, size=[local]) == [local, local]


def test_signatures_fit_in_a_line() -> None:
    """What a list of stages shows."""
    assert signature(spec_of(Film)) == "fake.film@3  (prompt str, seed int?) -> Clip"
    assert signature(spec_of(Split)) == "fake.split@1  (clip Clip) -> image Image, sound Sound"
    assert signature(spec_of(show)) == "fake.show@1  (image Image) -> nothing"


def test_a_class_without_run_is_refused() -> None:
    """A stage does something."""

    def define() -> None:
        @stage("test.idle", version=1)
        class Idle:
            pass

    assert error_of(define) == (
        "error[invalid_stage]: stage test.idle: class Idle has no run method\n  fix: define run(self, ...)"
    )


@pytest.mark.parametrize("id", ["", "Tint", "tint-it", "sepia.", ".tint", "sepia..tint", "1.tint", "a b", "tint\n"])
def test_an_id_is_dotted_lower_case_words(id: str) -> None:
    """Ids can be written in manifests and on a command line without quotes."""

    def define() -> None:
        @stage(id, version=1)
        def tint(x: int) -> int:
            return x

    assert error_of(define) == (
        f'error[invalid_stage]: stage {id}: the id "{id}" is not usable\n'
        '  fix: use dotted lower-case words: "vendor.name"'
    )


def test_every_port_has_a_name_of_its_own() -> None:
    """Neither **kwargs nor positional-only arguments can be wired."""

    def bag() -> None:
        @stage("test.bag", version=1)
        def bag(**images: Image) -> Image:
            return images["a"]

    def first() -> None:
        @stage("test.first", version=1)
        def first(image: Image, /) -> Image:
            return image

    fix = "\n  fix: give every port a name of its own"
    assert error_of(bag) == (
        f"error[invalid_stage]: stage test.bag: argument **images: 'Image' of run cannot be a port{fix}"
    )
    assert error_of(first) == (
        f"error[invalid_stage]: stage test.first: argument image: 'Image' of run cannot be a port{fix}"
    )


def test_every_argument_and_the_result_have_a_type() -> None:
    """The types are the ports' types, so none may be missing."""

    def argument() -> None:
        @stage("test.untyped", version=1)
        class Untyped:
            def run(self, image) -> Image:  # type: ignore[no-untyped-def]
                return image

    def result() -> None:
        @stage("test.unknown", version=1)
        def unknown(image: Image):  # type: ignore[no-untyped-def]
            return image

    assert error_of(argument) == (
        "error[invalid_stage]: stage test.untyped: argument image of run has no type\n"
        "  fix: annotate it: the type is the port's type"
    )
    assert error_of(result) == (
        "error[invalid_stage]: stage test.unknown: run has no return type\n"
        "  fix: annotate it: the type is the output's type"
    )


def test_types_must_exist() -> None:
    """A type that cannot be resolved, of a port or a param, is told with what Python says."""

    def port() -> None:
        @stage("test.port", version=1)
        def f(image: Missing) -> Image:  # type: ignore[name-defined]  # noqa: F821
            return image

    def attribute() -> None:
        @stage("test.attribute", version=1)
        def f(image: fakes.Missing) -> Image:  # type: ignore[name-defined]
            return image

    def setting() -> None:
        @stage("test.setting", version=1)
        class Setting:
            size: Missing = param(None)  # type: ignore[name-defined]  # noqa: F821

            def run(self, image: Image) -> Image:
                return image

    fix = "\n  fix: import it at run time, not only for checking"
    assert error_of(port) == (
        f"error[invalid_stage]: stage test.port: a type of run cannot be resolved: name 'Missing' is not defined{fix}"
    )
    assert error_of(attribute) == (
        "error[invalid_stage]: stage test.attribute: a type of run cannot be resolved: "
        f"module 'tests.engine.fakes' has no attribute 'Missing'{fix}"
    )
    assert error_of(setting) == (
        "error[invalid_stage]: stage test.setting: a type of a param cannot be resolved: "
        f"name 'Missing' is not defined{fix}"
    )


def test_a_param_of_a_function_is_keyword_only() -> None:
    """Otherwise it would be taken for an input whose default is no value."""

    def define() -> None:
        @stage("test.positional", version=1)
        def tint(image: Image, strength: float = param(0.5)) -> Image:
            return image

    assert error_of(define) == (
        "error[invalid_stage]: stage test.positional: argument strength is a param but not keyword-only\n"
        "  fix: put a * before it"
    )


def test_a_param_of_a_function_has_a_default() -> None:
    """The function itself is the stage with every param at its default."""

    def define() -> None:
        @stage("test.required", version=1)
        def tint(image: Image, *, strength: float = param()) -> Image:
            return image

    assert error_of(define) == (
        "error[invalid_stage]: stage test.required: param strength of a function has no default\n"
        "  fix: give it one, or make the stage a class"
    )


def test_what_is_lent_has_no_default() -> None:
    """A keyword-only argument with an ordinary default would be a component that nobody can provide."""

    def define() -> None:
        @stage("test.x", version=1)
        def tint(image: Image, *, strength: float = 0.5) -> Image:
            return image

    assert error_of(define) == (
        "error[invalid_stage]: stage test.x: argument strength is keyword-only and has a default that is no param\n"
        "  fix: use param(...) for a setting; a component or the context has no default"
    )


@pytest.mark.parametrize("thing", [3, Image, Image()])
def test_what_is_not_a_stage_has_no_spec(thing: Any) -> None:
    """The error says how to make it one."""
    assert error_of(lambda: spec_of(thing)) == (
        f"error[invalid_stage]: {thing!r} is not a stage\n"
        '  fix: decorate its class or function with @stage("...", version=1)'
    )


def test_a_subclass_of_a_stage_is_no_stage_until_it_is_decorated() -> None:
    """It would be written down as its parent, and run as that when read again."""

    class Loud(Film):
        pass

    assert error_of(lambda: spec_of(Loud())) == (
        "error[invalid_stage]: Loud() is not a stage\n"
        '  fix: decorate its class or function with @stage("...", version=1)'
    )
