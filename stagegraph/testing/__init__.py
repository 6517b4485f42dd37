"""What plugin authors test with: one import for pytest, and what a stage needs to be called without the engine.

::

    from stagegraph.testing import Example, conformance

    test_conformance = conformance("sepia", examples=[Example(Tint(strength=0.5), inputs={"frames": FRAMES})])

pytest is imported by `conformance` only.
"""

from stagegraph.testing.calling import Call, call_stage, fake_component, run_stage
from stagegraph.testing.digest import digest
from stagegraph.testing.examples import Example
from stagegraph.testing.suite import conformance

__all__ = ["Call", "Example", "call_stage", "conformance", "digest", "fake_component", "run_stage"]
