"""A digest tells equal content from different content, whatever holds it."""

from __future__ import annotations

import dataclasses
import math
import subprocess
import sys
from fractions import Fraction
from typing import Any

import attrs
import numpy as np
import pytest
import torch

from stagegraph.testing import digest


@attrs.frozen(eq=False)
class Clip:
    """A value whose own comparison is by identity."""

    pixels: Any
    rate: Any = 24


@dataclasses.dataclass
class Cut:
    """The same as a dataclass."""

    at: float


def make(kind: str, number: float) -> Any:
    """A value of a kind, made anew."""
    array = np.array([[number, 2.0]], np.float32)
    return {
        "scalar": number,
        "text": f"ein Füchslein {number} \ud800",
        "bytes": bytes([int(number)]),
        "list": [1, [number]],
        "mapping": {"a": 1, "b": {number}},
        "array": array,
        "objects": np.array([Fraction(int(number)), None]),
        "strided": np.repeat(array, 2, axis=1)[:, ::2],
        "tensor": torch.from_numpy(array),
        "bfloat16": torch.from_numpy(array).to(torch.bfloat16).T,
        "scalar-tensor": torch.tensor(number),
        "parameter": torch.nn.Parameter(torch.from_numpy(array)),
        "attrs": Clip(array, Fraction(int(number), 3)),
        "dataclass": Cut(number),
        "opaque": Fraction(int(number), 7),
    }[kind]


KINDS = (
    "scalar text bytes list mapping array objects strided tensor bfloat16 scalar-tensor parameter attrs dataclass "
    "opaque"
)


@pytest.mark.parametrize("kind", KINDS.split())
def test_equal_content_gives_one_digest_and_other_content_another(kind: str) -> None:
    """Made twice, the same; with another number, different."""
    assert digest(make(kind, 1.0)) == digest(make(kind, 1.0))
    assert digest(make(kind, 1.0)) != digest(make(kind, 3.0))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, 1.0),
        (1, True),
        ("1", b"1"),
        ([1, 2], (1, 2)),
        ([[1], 2], [[1, 2]]),
        (["ab", "c"], ["a", "bc"]),
        ({"a": "b"}, {"b": "a"}),
        (np.zeros(2, np.float32), np.zeros(2, np.float64)),
        (np.zeros((2, 3)), np.zeros((3, 2))),
        (torch.zeros(2), torch.zeros(2, dtype=torch.int32)),
    ],
    ids=str,
)
def test_types_and_shapes_count(one: Any, other: Any) -> None:
    """What only looks alike is told apart."""
    assert digest(one) != digest(other)


def test_nan_equals_itself_and_the_order_of_a_mapping_does_not_count() -> None:
    """Bit for bit, not by `==`."""
    assert digest(np.array([math.nan])) == digest(np.array([math.nan]))
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})


def test_what_pickle_refuses_counts_by_identity() -> None:
    """So that at least one object stays equal to itself."""
    here, there = (lambda: 1), (lambda: 1)
    assert digest(here) == digest(here)
    assert digest(here) != digest(there)


def test_the_kit_imports_neither_pytest_nor_a_tensor_library() -> None:
    """A plugin may use its helpers outside pytest."""
    code = "import sys, stagegraph.testing; print(sorted({'pytest', 'numpy', 'torch'} & {*sys.modules}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
