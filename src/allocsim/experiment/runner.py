"""Makes the runs of an experiment that are not there yet, and keeps whatever gets finished."""

from collections import deque
from concurrent.futures import BrokenExecutor, Future
from dataclasses import dataclass, field
from typing import Any

from allocsim.compile_ahead import CompileAhead
from allocsim.display_units import show_bytes, show_ns
from allocsim.experiment.crew import Crew, Kind
from allocsim.experiment.perform import Failure, codes_needed, perform
from allocsim.experiment.progress import Reporter
from allocsim.experiment.records import StoredRun
from allocsim.experiment.store import RunStore
from allocsim.experiment.sweep import Run

_DIED = Failure("its worker process died: perhaps killed for want of memory; try --jobs 1")


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
    runs: list[Run], store: RunStore, reporter: Reporter, *, kind: Kind, jobs: int, force: bool
) -> Outcome:
    """Makes the runs whose results are missing, or all if `force`; a key is computed once.

    Ctrl-C ends it with the outcome so far. A failing run does not stop the others; StoreError does.
    The caller holds the store's lock.
    """
    outcome = Outcome(runs)
    by_key = {run.key: run for run in runs}
    if not force:
        outcome.stored = store.find(by_key)
        outcome.stored |= store.adopt(by_key.keys() - outcome.stored.keys())
    outcome.kept = len(outcome.stored)
    missing = [run for key, run in by_key.items() if key not in outcome.stored]
    reporter.begin(len(missing), outcome.kept)
    sweep = _Sweep(outcome, store, reporter, missing)
    codes = codes_needed(missing)
    if codes:
        reporter.note_compiling([str(code) for code in codes])
    compiling = CompileAhead(codes, jobs)
    try:
        if missing:
            sweep.work(Crew(kind, min(jobs, len(missing))))
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
        self._queue = deque(missing)
        self._suspects: deque[Run] = deque()

    def work(self, crew: Crew) -> None:
        """Keeps the crew busy until nothing is left; whatever goes wrong, no worker is left."""
        try:
            while self._queue or self._suspects or crew.busy:
                self._hand_out(crew)
                self._take_in(crew)
        except BaseException:
            crew.stop()
            raise
        crew.close()

    def _hand_out(self, crew: Crew) -> None:
        """Gives out runs; those that may have killed a worker go alone, to find out which does."""
        if self._suspects:
            if not crew.busy:
                self._submit(crew, self._suspects.popleft(), True)
            return  # not even beside the last of them: whoever dies there would be blamed on it
        while self._queue and crew.has_room:
            self._submit(crew, self._queue.popleft(), False)

    def _submit(self, crew: Crew, run: Run, alone: bool) -> None:
        crew.submit((run, alone), perform, run)

    def _take_in(self, crew: Crew) -> None:
        for (run, alone), future in crew.collect():
            if isinstance(future.exception(), BrokenExecutor):
                self._bury(crew, run, alone)
            else:
                self._note(run, future)

    def _bury(self, crew: Crew, run: Run, alone: bool) -> None:
        """A worker died. The run was alone with it and so is to blame, or will be tried alone."""
        lost = [each for each, _ in crew.replace()]
        if alone:
            self._fail(run, _DIED)
        else:
            self._suspects.extend([run, *lost])

    def _note(self, run: Run, future: Future[Any]) -> None:
        result = future.result()
        if isinstance(result, Failure):
            self._fail(run, result)
        else:
            stored = result.stored()
            self._store.write(result)
            self._outcome.stored[run.key] = stored
            self._reporter.end_run(run, _words(stored), failed=False)

    def _fail(self, run: Run, failure: Failure) -> None:
        self._outcome.failed[run.key] = failure
        self._reporter.end_run(run, failure.message, failed=True)


def _words(stored: StoredRun) -> str:
    cpu = show_ns(stored.totals["cpu_ns"])
    peak = show_bytes(stored.totals["resident_peak_bytes"])
    return f"{cpu} CPU, {peak} resident at peak ({stored.seconds:.1f} s)"
