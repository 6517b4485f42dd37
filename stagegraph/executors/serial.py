"""The simplest executor: one step after another, in the calling thread."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stagegraph.context import Cancellation
from stagegraph.events import Listener
from stagegraph.executors.checks import check
from stagegraph.executors.result import Run
from stagegraph.executors.running import Running, StaleError
from stagegraph.plan import Plan
from stagegraph.pool import Pool

if TYPE_CHECKING:
    from stagegraph.caching import Caching


def run(
    plan: Plan,
    inputs: Mapping[str, Any],
    *,
    given: Mapping[str, Any] | None = None,
    on_event: Listener | None = None,
    pool: Pool | None = None,
    directory: Path | Callable[[str], Path] | None = None,
    cancellation: Cancellation | None = None,
    caching: Caching | None = None,
) -> Run:
    """Run a plan.

    Args:
        plan: what to run.
        inputs: a value for each input of the graph that has no default.
        given: a value for each output of a node that the plan takes as given.
        on_event: receives every event.
        pool: where components are kept; with one, they outlive the run. Without, each goes after its last use.
        directory: the run's own folder, or what makes it from the run's id when a stage first asks for it. By default
            `runs/<graph>-<id>` below the current folder.
        cancellation: a flag that stops the run.
        caching: where outputs are kept and used again; nothing is kept by default.

    Raises:
        InputError: an input that is missing, unknown or of the wrong type; nothing has run.
        GraphError: preflight found that a stage cannot do its work; nothing has run.
        ComponentError: a component lacks what it would load, in which case nothing has run, or could not be loaded.
        StageError: a stage failed; its cause is chained.
        Cancelled: the flag was set, or the user interrupted.
    """
    values, brought = check(plan, inputs, given)
    running = Running(plan, values, brought, on_event, pool, directory, cancellation or Cancellation(), caching)
    try:
        running.begin()
        while not _done(running):
            running.restart()
    except BaseException as error:
        raise running.fail(error) from error.__cause__
    return running.finish()


def _done(running: Running) -> bool:
    """Take every step; False if the store does not have what it promised."""
    for position, step in enumerate(running.plan.steps):
        given = running.prepare(step, position)
        if given is None:
            continue
        try:
            done = running.call(step, position, given)
        except StaleError:
            return False
        except Exception as error:
            running.reject(step, error)
            raise
        del given  # nothing but the run may hold values when it lets go of them
        running.commit(step, done)
        del done
    return True
