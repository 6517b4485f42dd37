"""Params of older stage versions become those of the current one, step by step."""

from __future__ import annotations

from typing import Any

import pytest

from stagegraph.errors import CODES, Fault, GraphError
from stagegraph.migrations import Migrations
from stagegraph.yaml import typed


def percent_to_share(params: dict[str, Any]) -> dict[str, Any]:
    """Version 1 had `percent`, 0 to 100; version 2 has `strength`, 0 to 1."""
    if "percent" in params:
        params["strength"] = params.pop("percent") / 100
    return params


def strength_to_range(params: dict[str, Any]) -> dict[str, Any]:
    """Version 3 has a range."""
    return {"range": [0.0, params.get("strength", 0.8)]}


TINT = Migrations("sepia.tint", 3, {1: percent_to_share, 2: strength_to_range})


def test_params_go_through_every_step_from_their_version() -> None:
    """From version 1 by two steps, from 2 by one; the current version, written or not, stays as it is."""
    assert TINT.migrate("sepia.tint@1", {"percent": 50}) == {"range": [0.0, 0.5]}
    assert TINT.migrate("sepia.tint@2", {"strength": 0.25}) == {"range": [0.0, 0.25]}
    assert TINT.migrate("sepia.tint@2", {}) == {"range": [0.0, 0.8]}
    for reference in ("sepia.tint", "sepia.tint@3"):
        assert TINT.migrate(reference, {"percent": 50}) == {"percent": 50}


def test_only_versions_with_a_path_to_the_current_one_are_read() -> None:
    """A gap ends the path; versions are written as plain numbers."""
    assert TINT.readable == (1, 2, 3)
    assert Migrations("a.b", 4, {1: dict, 3: dict}).readable == (3, 4)
    assert Migrations("a.b", 1).readable == (1,)
    assert [TINT.reads(version) for version in ("1", "2", "3")] == [True] * 3
    assert [TINT.reads(version) for version in ("", "0", "4", "01", "x", "-1", " 1")] == [False] * 7


def test_migrating_leaves_what_was_written_alone() -> None:
    """The manifest may be read again: a migration works on a copy, in depth."""

    def shift(params: dict[str, Any]) -> dict[str, Any]:
        params["sigmas"].append(0.0)
        return params

    written = {"sigmas": [1.0]}
    assert Migrations("a.b", 2, {1: shift}).migrate("a.b@1", written) == {"sigmas": [1.0, 0.0]}
    assert written == {"sigmas": [1.0]}


def test_settings_of_the_command_line_go_by_todays_names() -> None:
    """They are laid over the migrated params, and no migration sees a number as text."""
    setting = typed("0.5")
    migrated = Migrations("a.b", 2, {1: percent_to_share}).migrate("a.b@1", {"percent": 10, "strength": setting})
    assert isinstance(migrated, dict)
    assert migrated["strength"] is setting


@pytest.mark.parametrize(
    ("step", "why"),
    [
        (lambda params: params["gone"], "KeyError: 'gone'"),
        (lambda params: None, "TypeError: it returned a NoneType, not a dict"),
    ],
    ids=["raises", "returns-nothing"],
)
def test_a_migration_that_fails_is_a_fault_that_says_which(step: Any, why: str) -> None:
    """With the versions, its error, and the way around it."""
    fault = Migrations("sepia.tint", 3, {1: lambda params: params, 2: step}).migrate("sepia.tint@1", {})
    assert isinstance(fault, Fault)
    assert fault.code in CODES
    assert str(fault) == (
        "error[migration_failed]: sepia.tint: params of version 2 could not be brought to version 3\n"
        f"  why: {why}\n"
        "  fix: write sepia.tint@3 and its params"
    )


@pytest.mark.parametrize("version", [0, 2, 3, -1])
def test_a_migration_from_no_older_version_is_refused(version: int) -> None:
    """When the stage is defined."""
    with pytest.raises(GraphError) as caught:
        Migrations("sepia.tint", 2, {version: dict})
    assert str(caught.value) == (
        f"error[invalid_stage]: stage sepia.tint: there is a migration from version {version}, "
        "but the stage is of 2\n"
        "  fix: raise version=, or migrate from a version below it"
    )
