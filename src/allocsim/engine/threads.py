"""Who drives a run: one process in the trace's own order, or a process for each thread."""

from collections.abc import Generator

import simpy

from allocsim.engine.meeting import Meeting
from allocsim.engine.ops_cache import checked_batches
from allocsim.engine.run import Run
from allocsim.trace import TraceSource


def execute(run: Run, cpus: int) -> None:
    """Run all operations to the end of simulated time, with a last sample there."""
    if meets(run.source):
        meeting = Meeting(run, cpus)
        meeting.play()
        run.threads, run.crossings = meeting.table(), meeting.crossings
    elif run.khugepaged is not None:
        environment = simpy.Environment()
        environment.process(run.khugepaged.live(environment, 1_000_000, run.collapse))
        environment.run(until=environment.process(_with_deadlines(environment, run)))
    else:
        for batch in checked_batches(run.source):
            run.drive(batch)
    if not run.samples or run.samples[-1][0] != run.driver.n_ops:
        run.sample() if run.is_interruptible else run.sample_at_end()


def meets(source: TraceSource) -> bool:
    """Whether the source's threads meet in simulated time: no order between them is recorded."""
    return _is_synthetic(source) and source.n_threads > 1


def _is_synthetic(source: TraceSource) -> bool:
    """Whether allocsim made the ops itself: sound, and with no recorded order between threads."""
    return getattr(source, "synthetic", False)


def _with_deadlines(environment: simpy.Environment, run: Run) -> Generator[simpy.Event, None, None]:
    """All operations in the trace's own order, from sample to sample, or to the next deadline."""
    for batch in checked_batches(run.source):
        start = 0
        while start < len(batch):
            due = run.schedule.next_stop() - run.driver.n_ops
            stop = min(len(batch), start + due)
            reached = run.drive_until(batch, start, stop, int(environment.peek()) * 1000)
            if reached - start == due:
                run.sample()
            start = reached
            yield environment.timeout(max(0, run.driver.policy.kernel.now_ns() - environment.now))
