"""Settings of the engine's tests."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

# The same examples in every run, so that a failure is a change of the code; HYPOTHESIS_PROFILE=search seeks new ones.
settings.register_profile("engine", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("search", settings.get_profile("engine"), derandomize=False, max_examples=2000)
settings.register_profile("nightly", settings.get_profile("search"), max_examples=10_000, database=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "engine"))
