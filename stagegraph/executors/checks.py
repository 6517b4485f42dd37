"""The values that a run is given, checked against what the graph declares."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from stagegraph.errors import ComponentError, Fault, GraphError, InputError, StagegraphError, suggest
from stagegraph.graph import Input
from stagegraph.plan import Plan
from stagegraph.ports import holds, type_name
from stagegraph.preflight import preflight
from stagegraph.serde import StructureError, Text, describe, structure


def check(
    plan: Plan, inputs: Mapping[str, Any], given: Mapping[str, Any] | None, *, late: Collection[str] = ()
) -> tuple[dict[str, Any], dict[int, Any]]:
    """Look at everything that can be known to be wrong before a run: what it is given, and what the plan needs.

    Args:
        plan: what will run.
        inputs: by name.
        given: what the caller brings in place of running nodes.
        late: inputs whose values come later.

    Returns:
        The values of the graph's inputs by name, and of the slots that the caller fills.

    Raises:
        InputError: an input that is missing, unknown or of the wrong type; with what preflight found as well.
        GraphError: preflight found that a stage cannot do its work.
        ComponentError: a component lacks what it would load.
    """
    errors: list[StagegraphError] = []
    values: dict[str, Any] = {}
    brought: dict[int, Any] = {}
    try:
        values = check_inputs(plan, inputs, late)
    except InputError as error:
        errors.append(error)
    try:
        brought = check_given(plan, given or {})
    except InputError as error:
        errors.append(error)
    try:
        preflight(plan, values)
    except (GraphError, ComponentError) as error:
        errors.append(error)
    if errors:
        raise type(errors[0])(*(fault for error in errors for fault in error.faults))
    return values, brought


def check_inputs(plan: Plan, inputs: Mapping[str, Any], late: Collection[str] = ()) -> dict[str, Any]:
    """The value of every input of the graph that does not come late: given, read from `Text`, or its default.

    Raises:
        InputError: with every fault.
    """
    declared = plan.graph.inputs
    faults = [
        Fault("unknown_input", f'{plan.graph.name} has no input "{name}"', fix=suggest(name, declared))
        for name in inputs
        if name not in declared
    ]
    values = {}
    for name, input in declared.items():
        if name not in inputs and name in late:
            continue
        if name not in inputs:
            if not input.required:
                values[name] = input.default
            elif name in plan.inputs:
                what = f"{plan.graph.name} needs a value for its input {name} ({type_name(input.type)})"
                faults.append(Fault("missing_input", what, why=input.help, fix=f"give {name}, as in -i {name}=..."))
            continue
        values[name] = _value(f"input {name}", input.type, inputs[name], faults)
    if faults:
        raise InputError(*faults)
    return values


def checked(input: Input, value: Any) -> Any:
    """The value of one input of a graph.

    Raises:
        InputError: it is of the wrong type.
    """
    faults: list[Fault] = []
    value = _value(f"input {input.name}", input.type, value, faults)
    if faults:
        raise InputError(*faults)
    return value


def read_values(input: Input, values: Iterable[Any]) -> list[Any]:
    """The values of one input of a sweep, read by its type.

    Raises:
        InputError: with every fault.
    """
    faults: list[Fault] = []
    read = [_value(f"input {input.name}", input.type, value, faults) for value in values]
    if faults:
        raise InputError(*faults)
    return read


def check_given(plan: Plan, given: Mapping[str, Any]) -> dict[int, Any]:
    """The slots of the values that the caller brings in place of running nodes.

    Raises:
        InputError: a value of the wrong type, or one that is missing; with every fault.
    """
    faults: list[Fault] = []
    values = {}
    for name, port in plan.given.items():
        if name not in given:
            faults.append(Fault("missing_input", f"the plan takes {name} as given, but no value came"))
        else:
            values[port.slot] = _value(name, port.type, given[name], faults)
    if faults:
        raise InputError(*faults)
    return values


def _value(name: str, type_: Any, value: Any, faults: list[Fault]) -> Any:
    if isinstance(value, Text):
        try:
            return structure(value, type_)
        except StructureError as error:
            faults += [Fault(p.code, f"{name}: {p.what}", why=p.why, fix=p.fix) for p in error.problems]
            return None
    if not holds(type_, value):
        what = f"{name} is {type_name(type_)}, but was given {type(value).__name__} {describe(value)}"
        faults.append(Fault("invalid_type", what))
    return value
