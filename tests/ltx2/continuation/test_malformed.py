"""Whatever is wrong with a state, the answer is a `ContinuationError` with a code and a place, cheaply."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from . import corpus

CASES = list(corpus.cases())
#: Bytes and seconds that a refusal may cost, whatever was sent.
GROWTH, SECONDS = 96 * 10**6, 3.0


@pytest.fixture(scope="module", params=["", "isal pybase64"], ids=["fast", "plain"])
def answers(request: pytest.FixtureRequest) -> dict[str, Any]:
    """What came of each case, by name, with and without the fast libraries; all in one process each."""
    command = [sys.executable, str(Path(corpus.__file__)), *request.param.split()]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return {row["name"]: row for row in map(json.loads, done.stdout.splitlines())}


def test_every_malformed_state_is_refused_with_its_code_and_place(answers: dict[str, Any]) -> None:
    """One case at least for each class of attack."""
    assert list(answers) == [case.name for case in CASES]
    wrong = [
        (case.name, answers[case.name]["faults"])
        for case in CASES
        if [case.code, case.where] not in [fault[:2] for fault in _faults(answers[case.name])]
    ]
    assert wrong == []


def test_refusals_are_cheap_and_touch_nothing(answers: dict[str, Any]) -> None:
    """Neither memory nor time follows from what is declared; no process, socket, or file that is written."""
    expensive = [row for row in answers.values() if row["grown"] > GROWTH or row["seconds"] > SECONDS or row["effects"]]
    assert expensive == []


def test_texts_of_refusals_can_be_printed(answers: dict[str, Any]) -> None:
    """On a terminal of printable characters, in a bounded number of short lines."""
    for row in answers.values():
        faults = _faults(row)
        assert len(faults) <= 20
        for _, _, text in faults:
            assert all(line.isprintable() and len(line) < 600 for line in text.splitlines()), row["name"]


def test_names_of_cases_are_unique() -> None:
    """None hides another."""
    assert len({case.name for case in CASES}) == len(CASES) > 480


def _faults(row: Any) -> Iterator[Any] | list[Any]:
    return row["faults"] if isinstance(row["faults"], list) else []
