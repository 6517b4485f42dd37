"""Settings of the tests of continuation states."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

# The same examples in every run; HYPOTHESIS_PROFILE=nightly seeks new ones, 12 000 for each property.
_QUIET = list(HealthCheck)
settings.register_profile("codec", deadline=None, derandomize=True, max_examples=100, suppress_health_check=_QUIET)
settings.register_profile("nightly", deadline=None, max_examples=12_000, suppress_health_check=_QUIET, database=None)
PROFILE = settings.get_profile("nightly" if os.environ.get("HYPOTHESIS_PROFILE") == "nightly" else "codec")
