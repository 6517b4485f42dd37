"""One segment while it is made, in a thread of its own, beside those before and after it."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from stagegraph.context import Cancellation
from stagegraph.errors import Fault, SessionError
from stagegraph.executors import threads
from stagegraph.executors.result import Run
from stagegraph.executors.traffic import Late, Traffic
from stagegraph.plan import Plan


class Flight:
    """Runs a plan and hands what is carried to the flight that follows, as soon as it is there.

    Args:
        plan: what to run.
        carry: input -> the output whose value it takes in the next run.
        inputs: those that are known. What is carried and not among them comes from the flight before.
        before: the flight of the segment before, if it is not over yet.
        traffic: the lanes that all flights share.
        options: of `executors.threads.run`.
    """

    def __init__(
        self,
        plan: Plan,
        carry: Mapping[str, str],
        inputs: Mapping[str, Any],
        before: Flight | None,
        traffic: Traffic,
        options: Mapping[str, Any],
    ) -> None:
        self._plan = plan
        self._carry = carry
        self._inputs = inputs
        self._late = Late(*(name for name in carry if name not in inputs)) if before is not None else Late()
        self._traffic = traffic
        self._options = options
        self._cancellation = Cancellation()
        self._after: Flight | None = None
        self._lock = threading.Lock()
        self._run: Run | None = None
        self._error: BaseException | None = None
        #: Input -> its value in the next run, as far as it is known.
        self.carried: dict[str, Any] = {}
        self._thread = threading.Thread(target=self._fly, name="stagegraph-segment")
        if before is not None:
            before._lead(self)
        self._thread.start()

    def result(self) -> Run:
        """The run, when it is over.

        Raises:
            StagegraphError: what it ended in.
        """
        self._thread.join()
        if self._error is not None:
            raise self._error
        assert self._run is not None  # it ended in one or the other
        return self._run

    def cancel(self) -> None:
        """Stop it as soon as its stages look; `join` waits for that."""
        self._cancellation.cancel()
        self._late.fail(SessionError(Fault("cancelled", "the segment is not wanted any more")))

    def join(self) -> None:
        """Wait until it is over, however it ends."""
        self._thread.join()

    def _fly(self) -> None:
        try:
            run = threads.run(
                self._plan,
                self._inputs,
                traffic=self._traffic,
                late=self._late,
                on_output=self._arrived,
                cancellation=self._cancellation,
                **self._options,
            )
            for output in dict.fromkeys(self._carry.values()):
                if output in run.outputs.skipped:
                    what = f'the next segment takes the output "{output}", which was not made'
                    raise SessionError(Fault("skipped", what, why=run.outputs.skipped[output]))
                self._arrived(output, run.outputs[output])
            self._run = run
        except BaseException as error:
            self._error = error
            with self._lock:
                after = self._after
            if after is not None:
                after._late.fail(error)

    def _arrived(self, output: str, value: Any) -> None:
        """An output is there: the flight that follows gets it."""
        with self._lock:
            new = [name for name, source in self._carry.items() if source == output and name not in self.carried]
            self.carried |= dict.fromkeys(new, value)
            after = self._after
        if after is not None:
            for name in new:
                after._late.feed(name, value)

    def _lead(self, after: Flight) -> None:
        """Hand everything that is carried to a flight, now and later."""
        with self._lock:
            self._after = after
            known, error = dict(self.carried), self._error
        for name, value in known.items():
            after._late.feed(name, value)
        if error is not None:
            after._late.fail(error)
