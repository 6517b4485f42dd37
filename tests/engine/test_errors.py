"""Errors carry facts; their codes are registered, used and stable."""

from __future__ import annotations

import ast
import json
import pickle
from collections.abc import Iterator
from pathlib import Path

import pytest

import stagegraph
from stagegraph import errors
from stagegraph.errors import (
    CODES,
    Cancelled,
    ComponentError,
    Fault,
    GraphError,
    InputError,
    Location,
    ManifestError,
    MissingError,
    PlanError,
    PluginError,
    RunError,
    StageError,
    StagegraphError,
    UsageError,
    suggest,
)

SOURCES = sorted(Path(stagegraph.__file__).parent.rglob("*.py"))


#: Call -> which of its arguments is a code.
POSITIONS = {
    "Fault": 0,
    "of": 0,
    "_error": 0,
    "_unknown": 0,
    "add": 1,
    "_problem": 1,
    "Problem": 1,
    "refusal": 1,
    "_mark": 0,
}


def codes_in(path: Path) -> Iterator[tuple[str, int]]:
    """The codes that a module raises, with the line: literals that stand where a code does."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            position = POSITIONS.get(name)
            if position is not None and len(node.args) > position:
                argument = node.args[position]
                if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                    yield argument.value, node.lineno
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Tuple):  # code, what = "…", "…"
            for target in node.targets:
                names = [getattr(element, "id", "") for element in getattr(target, "elts", [])]
                if names[:1] == ["code"] and isinstance(node.value.elts[0], ast.Constant):
                    yield str(node.value.elts[0].value), node.lineno


def test_every_code_that_is_raised_is_registered() -> None:
    """A program can rely on the table being complete."""
    unregistered = [
        f"{path.name}:{line} {code}"
        for path in SOURCES
        for code, line in codes_in(path)
        if code not in CODES and code.isidentifier()
    ]
    assert unregistered == []


def test_every_registered_code_is_raised_somewhere() -> None:
    """The table promises nothing that cannot happen."""
    raised = {code for path in SOURCES for code, _ in codes_in(path)}
    assert CODES.keys() - raised == set()


def test_the_scan_sees_codes() -> None:
    """It would notice if the engine stopped writing codes as literals."""
    assert sum(1 for path in SOURCES for _ in codes_in(path)) > 60


def test_a_fault_is_told_in_up_to_three_lines() -> None:
    """Place, code and what; why; fix."""
    fault = Fault("cycle", "a waits for b", "nodes.a", "a -> b -> a", "cut it", Location("g.yaml", 3, 5))
    assert str(fault) == (
        "g.yaml:3:5: error[cycle]: a waits for b\n"
        "  why: a -> b -> a\n"
        "  fix: cut it"
    )  # fmt: skip
    assert str(Fault("cycle", "a waits for b", where="nodes.a")) == "nodes.a: error[cycle]: a waits for b"
    assert str(Fault("cycle", "a waits for b")) == "error[cycle]: a waits for b"
    assert json.loads(json.dumps(fault.as_dict())) == {
        "code": "cycle",
        "what": "a waits for b",
        "where": "nodes.a",
        "why": "a -> b -> a",
        "fix": "cut it",
        "location": {"file": "g.yaml", "line": 3, "column": 5},
    }
    assert Fault("cycle", "a waits for b").as_dict() == {"code": "cycle", "what": "a waits for b"}


@pytest.mark.parametrize(
    ("location", "text"),
    [(Location("a", 1, 2), "a:1:2"), (Location("a", 1), "a:1"), (Location("a"), "a")],
)
def test_a_location_is_what_editors_jump_to(location: Location, text: str) -> None:
    """file:line:column, as far as it is known."""
    assert str(location) == text


def test_an_error_is_all_its_faults() -> None:
    """One text for all; the code is that of the first; none is no error."""
    error = GraphError(Fault("cycle", "one"), Fault("type_mismatch", "two"))
    assert str(error) == "error[cycle]: one\nerror[type_mismatch]: two"
    assert error.code == "cycle"
    assert str(PlanError.of("unknown_output", "none", where="w", why="y", fix="f")) == (
        "w: error[unknown_output]: none\n  why: y\n  fix: f"
    )
    with pytest.raises(TypeError, match="GraphError needs at least one Fault"):
        GraphError()


@pytest.mark.parametrize(
    ("kind", "exit_code"),
    [
        (StagegraphError, 1),
        (UsageError, 2),
        (ManifestError, 2),
        (GraphError, 2),
        (PlanError, 2),
        (InputError, 2),
        (MissingError, 3),
        (PluginError, 3),
        (ComponentError, 3),
        (RunError, 1),
        (Cancelled, 130),
    ],
)
def test_exit_codes_are_those_of_the_tree(kind: type[StagegraphError], exit_code: int) -> None:
    """What a shell sees."""
    assert kind(Fault("cycle", "x")).exit_code == exit_code


def test_every_error_class_is_in_the_tree_of_the_docstring() -> None:
    """The drawing on top of the module is complete."""
    for name, thing in vars(errors).items():
        if isinstance(thing, type) and issubclass(thing, StagegraphError):
            assert name in (errors.__doc__ or "")


def test_errors_travel_between_processes() -> None:
    """Pickled and read again, an error says the same."""
    for error in (
        GraphError(Fault("cycle", "x", location=Location("a", 1))),
        StageError(Fault("stage_failed", "x"), node="n", stage="s@1", inputs={"a": "1"}),
    ):
        again = pickle.loads(pickle.dumps(error))
        assert type(again) is type(error)
        assert str(again) == str(error)
        assert vars(again) == vars(error)


@pytest.mark.parametrize(
    ("name", "known", "text"),
    [
        ("fraem", ["frames", "prompt"], 'did you mean "frames"?'),
        ("zzz", ["frames", "prompt"], "use one of: frames, prompt"),
        ("zzz", [], ""),
    ],
)
def test_suggestions_are_near_or_all(name: str, known: list[str], text: str) -> None:
    """The nearest name, else the list, else nothing."""
    assert suggest(name, known) == text
