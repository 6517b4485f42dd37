"""The codes of this plugin: what is raised is registered, and what is registered is raised."""

from __future__ import annotations

import re
from pathlib import Path

import stagegraph_ltx2
from stagegraph_ltx2.errors import CODES

RAISED = re.compile(r'\b(?:failure|fault|problem)\(\s*"(\w+)"')


def test_codes_raised_and_codes_registered_are_the_same() -> None:
    (package,) = map(Path, stagegraph_ltx2.__path__)
    raised = {f"ltx2.{code}" for path in package.rglob("*.py") for code in RAISED.findall(path.read_text())}
    assert raised == set(CODES)
