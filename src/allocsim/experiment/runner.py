"""Makes the runs of an experiment that are not there yet, and keeps whatever gets finished."""

import os
from collections import Counter
from concurrent.futures import (
    FIRST_COMPLETED,
    BrokenExecutor,
    CancelledError,
    Executor,
    Future,
    wait,
)
from dataclasses import dataclass, field

from allocsim.compile_ahead import CompileAhead
from allocsim.display_units import show_bytes, show_ns
from allocsim.experiment.execution.execute import execute_runs
from allocsim.experiment.execution.executors import Workers
from allocsim.experiment.execution.limits import Limits
from allocsim.experiment.execution.plan import codes_needed
from allocsim.experiment.execution.processes import processes
from allocsim.experiment.execution.transfer import Failure
from allocsim.experiment.progress import Reporter
from allocsim.experiment.records import Record, StoredRun
from allocsim.experiment.store import RunStore
from allocsim.experiment.sweep import Run

_BATCH_S = 0.2
_MOST_IN_BATCH = 64
"""Short runs are submitted together, up to so many, and for so long."""

_MOST_TRIES = 3
"""Of a run whose executor loses it, with a worker or otherwise."""

_LAST_S = 0.5
"""How long an interrupted sweep waits for runs that are about to end."""


@dataclass
class Outcome:
    """What became of a sweep's runs, by key."""

    runs: list[Run]
    stored: dict[str, StoredRun] = field(default_factory=dict)
    failed: dict[str, Failure] = field(default_factory=dict)
    kept: int = 0
    interrupted: bool = False

    @property
    def exit_code(self) -> int:
        """130 after Ctrl-C, 1 if a run failed, else 0."""
        return 130 if self.interrupted else int(bool(self.failed))


def make_runs(
    runs: list[Run],
    store: RunStore,
    reporter: Reporter,
    workers: Workers,
    *,
    limits: Limits,
    force: bool = False,
) -> Outcome:
    """Makes the runs whose results are missing, or all if `force`; a key is computed once.

    workers: make the runs; their executor stays open. Ctrl-C ends it with the outcome so far. A
    failing run does not stop the others; StoreError does. The caller holds the store's lock.
    """
    outcome = Outcome(runs)
    by_key = {run.key: run for run in runs}
    if not force:
        outcome.stored = store.find(by_key)
        outcome.stored |= store.adopt(by_key.keys() - outcome.stored.keys())
    outcome.kept = len(outcome.stored)
    missing = [run for key, run in by_key.items() if key not in outcome.stored]
    reporter.begin(len(missing), outcome.kept)
    codes = codes_needed(missing)
    if codes:
        reporter.note_compiling([str(code) for code in codes])
    compiling = CompileAhead(codes, workers.jobs)
    try:
        _Sweep(outcome, store, reporter, missing).work(workers, limits)
    except KeyboardInterrupt:
        outcome.interrupted = True
    finally:
        compiling.close()
        reporter.close()
    return outcome


class _Sweep:
    """The runs under way."""

    def __init__(self, outcome: Outcome, store: RunStore, reporter: Reporter, missing: list[Run]):
        self._outcome = outcome
        self._store = store
        self._reporter = reporter
        self._left = missing[::-1]
        self._alone: list[Run] = []
        self._calls: dict[Future[list[Record | Failure]], list[Run]] = {}
        self._tries: Counter[str] = Counter()
        self._n_ended = 0
        self._seconds = 0.0
        self._name = os.urandom(8).hex()

    def work(self, workers: Workers, limits: Limits) -> None:
        """Keeps the workers busy until nothing is left; whatever goes wrong, no run goes on."""
        try:
            while self._left or self._alone or self._calls:
                while (self._left or self._alone) and len(self._calls) < 2 * workers.jobs:
                    batch = self._next_batch(workers.jobs)
                    self._calls[_submit(workers.executor, batch, limits, self._name)] = batch
                self._collect(wait(self._calls, return_when=FIRST_COMPLETED).done)
        except BaseException as error:
            self._stop()
            if isinstance(error, KeyboardInterrupt):
                self._collect_last()
            raise

    def _next_batch(self, jobs: int) -> list[Run]:
        """Runs for one call: as many as take a fifth of a second, if all are like those before."""
        if self._alone:
            return [self._alone.pop()]
        if not self._n_ended:
            return [self._left.pop()]
        n = int(_BATCH_S * self._n_ended / max(self._seconds, 1e-9))
        n = max(1, min(n, _MOST_IN_BATCH, len(self._left) // (2 * jobs)))
        return [self._left.pop() for _ in self._left[:n]]

    def _collect(self, done: set[Future[list[Record | Failure]]]) -> None:
        for future in done:
            batch = self._calls.pop(future)
            error = CancelledError() if future.cancelled() else future.exception()
            if error is None:
                for run, result in zip(batch, future.result(), strict=True):
                    self._record(run, result)
            elif isinstance(error, Exception):
                self._try_again(batch, error)
            else:
                raise error

    def _try_again(self, batch: list[Run], error: Exception) -> None:
        """The executor lost a call. Each of its runs is made alone, a few times at most."""
        for run in batch:
            self._tries[run.key] += 1
            if self._tries[run.key] < _MOST_TRIES:
                self._alone.append(run)
            else:
                self._fail(run, Failure(f"its executor gave up: {_text(error)}"))

    def _stop(self) -> None:
        """Ends all runs: processes are killed, and threads stop at their next sample."""
        for future in self._calls:
            future.cancel()
        processes.stop(self._name)

    def _collect_last(self) -> None:
        done = wait(self._calls, timeout=_LAST_S).done
        self._collect({f for f in done if not f.cancelled() and f.exception() is None})

    def _record(self, run: Run, result: Record | Failure) -> None:
        self._n_ended += 1
        if isinstance(result, Failure):
            self._fail(run, result)
            return
        self._seconds += result.seconds
        stored = result.stored()
        self._store.write(result)
        self._outcome.stored[run.key] = stored
        self._reporter.end_run(run, _words(stored), failed=False)

    def _fail(self, run: Run, failure: Failure) -> None:
        self._outcome.failed[run.key] = failure
        self._reporter.end_run(run, failure.message, failed=True)


def _submit(
    executor: Executor, batch: list[Run], limits: Limits, sweep: str
) -> Future[list[Record | Failure]]:
    """The call's future; it has failed already where the executor is broken."""
    try:
        return executor.submit(execute_runs, batch, limits, sweep)
    except BrokenExecutor as error:
        future: Future[list[Record | Failure]] = Future()
        future.set_exception(error)
        return future


def _text(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".rstrip(": ")


def _words(stored: StoredRun) -> str:
    cpu = show_ns(stored.totals["cpu_ns"])
    peak = show_bytes(stored.totals["resident_peak_bytes"])
    return f"{cpu} CPU, {peak} resident at peak ({stored.seconds:.1f} s)"
