"""How a node is called: how often when it fails with an error that may pass, and for how long at most."""

from __future__ import annotations

import attrs

from stagegraph.rules import param


@attrs.frozen
class Retry:
    """How often a node is tried, and how long it waits in between.

    Only errors that say they may pass are tried again: `StagegraphError.retryable`, and the types that a stage names
    with `@stage(..., retryable=...)`.
    """

    attempts: int = param(default=3, ge=2, le=1000, help="Calls in all.")
    delay: float = param(default=1.0, ge=0, help="Seconds before the second call.")
    factor: float = param(default=2.0, ge=1, help="Every further delay is this many times the one before.")
    max_delay: float = param(default=60.0, ge=0, help="Seconds that no delay exceeds.")

    def delay_after(self, attempt: int) -> float | None:
        """Seconds to wait after a call that failed, counted from 1; None if it was the last."""
        if attempt >= self.attempts:
            return None
        try:
            return min(self.delay * self.factor ** (attempt - 1), self.max_delay)
        except OverflowError:
            return self.max_delay
