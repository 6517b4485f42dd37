"""What a stage says before a run, held against what its run makes: its objections, its files, its facts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from stagegraph.components import part_facts_of
from stagegraph.facts import FactError, Facts, facts_of, facts_of_value, faults_of_stage, files_of
from stagegraph.record import summary
from stagegraph.stages import SINGLE, StageSpec
from stagegraph.testing.calling import parts_for
from stagegraph.testing.examples import Example

#: The methods by which a stage says something before a run.
METHODS = ("check", "writes", "facts")


def objections(example: Example) -> Iterator[str]:
    """What the stage has against the example, which is to work."""
    for fault in faults_of_stage(example.stage):
        yield f"check objects to the example: error[{fault.code}]: {fault.what}"


def unwritten(example: Example) -> Iterator[str]:
    """The files that the stage says it will write, and has not written in its run."""
    for file in files_of(example.stage):
        if not Path(file).exists():
            yield f"writes names {file}, but run has not written it"


def untrue(example: Example, inputs: Mapping[str, Any], result: Any) -> Iterator[str]:
    """The facts that the stage foretells and that are not so, from all that can be known of its arguments or less.

    Args:
        example: of the stage.
        inputs: what its run took.
        result: what that returned.
    """
    known = {**_of_values(example, inputs), **_of_parts(example)}
    made = _outputs(example.spec, result)
    seen = set()
    for told in (known, _without(known, known), *(_without(known, [port]) for port in known)):
        named = [port for port, facts in told.items() if facts]
        what = f"with what is known of {', '.join(named)}" if named else "with nothing known"
        try:
            foretold = facts_of(example.stage, told)
        except FactError as error:
            breach = f"facts refuses the example, {what}: {error.what}"
        except Exception as error:
            breach = f"facts fails, {what}: {type(error).__name__}: {error}"
        else:
            breach = "\n".join(_differences(example, foretold, made))
        if breach and breach not in seen:
            seen.add(breach)
            yield breach


def _of_values(example: Example, values: Mapping[str, Any]) -> dict[str, Facts]:
    told: dict[str, Facts | None] = {}
    for port, value in values.items():
        if example.spec.inputs[port].variadic:
            told |= {f"{port}[{number}]": _told(example, port, item) or {} for number, item in enumerate(value)}
        else:
            told[port] = _told(example, port, value)
    return {port: facts for port, facts in told.items() if facts is not None}


def _without(known: Mapping[str, Facts], ports: Iterable[str]) -> dict[str, Facts]:
    """As if nothing were known of some; that there is a value of a variadic input is always known."""
    hidden = set(ports)
    shown = {port: {} if port in hidden else facts for port, facts in known.items()}
    return {port: facts for port, facts in shown.items() if port not in hidden or port.endswith("]")}


def _of_parts(example: Example) -> dict[str, Facts]:
    found = parts_for(example.stage, example.components)
    return {argument: part_facts_of(component, part) for argument, (component, part) in found.items()}


def _told(example: Example, port: str, value: Any) -> Facts | None:
    teller = example.facts.get(port)
    return teller(value) if teller is not None else facts_of_value(value)


def _outputs(spec: StageSpec, result: Any) -> dict[str, Any]:
    if spec.single:
        return {SINGLE: result}
    return {name: getattr(result, name, None) for name in spec.outputs}


def _differences(example: Example, foretold: Mapping[str, Facts], made: Mapping[str, Any]) -> Iterator[str]:
    for port, facts in foretold.items():
        if port not in made:
            yield f"facts tells of {port}, but the outputs are: {', '.join(made) or 'none'}"
            continue
        told = _told(example, port, made[port]) if facts else {}
        if told is None:
            kind = type(made[port]).__name__
            yield (
                f"facts tells of {port}, but {summary(made[port])} does not: give {kind} a property facts, or the "
                f'example facts={{"{port}": ...}}'
            )
            continue
        for name, value in facts.items():
            if name not in told:
                yield f"facts tells {name} of {port}, which tells only: {', '.join(told) or 'nothing'}"
            elif told[name] != value:
                yield f"facts says that {name} of {port} is {value}, but run made {told[name]}"
