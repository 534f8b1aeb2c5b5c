"""What the simulation says about a case, in the terms in which the real one is measured."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import hypot
from typing import Any

import numpy as np

from allocsim.ground_truth.calibration.machine import huge_pages_setting
from allocsim.ground_truth.measurement.counts import SAMPLES
from allocsim.ground_truth.measurement.timing import Band
from allocsim.ground_truth.replay import Writes
from allocsim.kernel import CostTable
from allocsim.machine import Machine
from allocsim.metrics import cpu_interval_ns, memory_over_time
from allocsim.policy import Policy
from allocsim.simulation import Result, simulate
from allocsim.trace import BATCH_OPS, Trace, TraceSource, validated


@dataclass(frozen=True)
class BackToBack:
    """The ops of `source` without the time that its program spends between them.

    That is how they are timed for real.
    """

    source: TraceSource

    def __getattr__(self, name: str) -> Any:
        return getattr(self.source, name)

    def batches(self, batch_ops: int = BATCH_OPS) -> Iterator[Trace]:
        """The ops in order, at most `batch_ops` at a time."""
        for batch in self.source.batches(batch_ops):
            yield replace(batch, think_ns=np.zeros(len(batch), np.int64))


class FreeThreads(BackToBack):
    """The same, each thread as fast as it can: an op waits for the earlier ones on its object only.

    So are several threads timed for real; what a recording says of their order is left out.
    """

    synthetic = True  # for the engine: ops are sound, and threads meet in simulated time

    def batches(self, batch_ops: int = BATCH_OPS) -> Iterator[Trace]:
        """The ops in order, checked like those of any recording."""
        for batch in validated(self.source):
            yield replace(batch, think_ns=np.zeros(len(batch), np.int64))


@dataclass(frozen=True)
class Prediction:
    """A simulated case.

    totals, samples: as `Counts` has them, in the order of the trace. cpu_ns: by what the program
    writes, the figure with the 95 % interval that follows from those of the unit costs. wall_ns:
    simulated time of several threads, empty for one. Several threads run freely for both.
    """

    totals: dict[str, float | int]
    samples: dict[str, np.ndarray]
    cpu_ns: dict[Writes, Band]
    wall_ns: dict[Writes, float]


def predict(
    source: TraceSource,
    policy: type[Policy],
    parameters: Mapping[str, int | float],
    costs: CostTable,
    writes: Sequence[Writes],
    machine: Machine | None = None,
) -> Prediction:
    """Simulate a case as often as needed: with and without the program's writes, and in order.

    machine: where it says nothing of huge pages, it has those of this machine, unless its memory
    is limited. Its costs are `costs`.
    """
    priced = _priced(machine or Machine(), parameters, costs)

    def run(ops: TraceSource, writing: bool) -> Result:
        result = simulate(
            ops,
            policy,
            parameters=dict(parameters),
            machine=priced,
            writing=writing,
            samples=min(SAMPLES, source.n_ops or SAMPLES),
            walks=0,
        )
        result.close()
        return result

    threaded = source.n_threads > 1
    timed = FreeThreads(source) if threaded else BackToBack(source)
    runs = {
        writing: run(timed, writing) for writing in {kind != "none" for kind in writes} | {True}
    }
    recorded = threaded and not getattr(source, "synthetic", False)
    ordered = run(BackToBack(source), True) if recorded else runs[True]
    walls = {kind: float(runs[kind != "none"].totals["time_ns"]) for kind in writes}
    return Prediction(
        totals=_totals(ordered),
        samples={name: ordered.samples[name] for name in ("op", "resident_bytes")},
        cpu_ns={kind: _cpu(runs[kind != "none"], costs, kind) for kind in writes},
        wall_ns=walls if threaded else {},
    )


def _priced(machine: Machine, parameters: Mapping[str, int | float], costs: CostTable) -> Machine:
    """The machine with those costs, and with huge pages as here where it does not say otherwise."""
    said = "huge_pages" in machine.model_fields_set or machine.memory_bytes is not None
    huge_pages = machine.huge_pages if said else huge_pages_here(parameters)
    return machine.model_copy(update={"costs": costs, "huge_pages": huge_pages})


def huge_pages_here(parameters: Mapping[str, int | float]) -> str:
    """The machine's option `huge_pages` as this machine has it.

    Where memory that asks for them gets them, only a policy that asks (`hugetlb`) needs a kernel
    with huge pages.
    """
    setting = huge_pages_setting()
    asks = setting == "always" or (setting == "madvise" and parameters.get("hugetlb"))
    return setting if asks else "never"


def _totals(run: Result) -> dict[str, float | int]:
    """Under the names of the simulation's totals; memory over the samples, as it is measured."""
    kept = ("ops", "syscalls", "minor_faults")
    calls = {name: n for name, n in run.totals.items() if name.endswith("_calls")}
    memory = memory_over_time(run.samples)
    return {
        **{name: run.totals[name] for name in kept},
        **calls,
        "resident_peak_bytes": int(run.samples["resident_bytes"].max(initial=0)),
        "resident_mean_bytes": memory["resident_mean_bytes"],
        "resident_end_bytes": memory["resident_end_bytes"],
    }


def _cpu(run: Result, costs: CostTable, kind: Writes) -> Band:
    """Allocator and kernel; where every byte is written, the program's own writes too."""
    intervals = cpu_interval_ns(run.counts, costs)
    parts = ("cpu_ns", "program_ns") if kind == "fill" else ("cpu_ns",)
    middles = [float(run.totals[part]) for part in parts]
    down = hypot(*(m - intervals[p][0] for m, p in zip(middles, parts, strict=True)))
    up = hypot(*(intervals[p][1] - m for m, p in zip(middles, parts, strict=True)))
    return Band(sum(middles), max(0.0, sum(middles) - down), sum(middles) + up)
