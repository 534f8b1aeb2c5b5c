"""From measurements to everything that the cost file says."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from allocsim.ground_truth.calibration import contention
from allocsim.ground_truth.calibration.benchmark import (
    DISPATCH,
    NULL_SCRIPT,
    SECTION,
    Benchmark,
    faults_in,
)
from allocsim.ground_truth.calibration.fit import (
    Estimate,
    Fit,
    estimate_of,
    fit,
)
from allocsim.ground_truth.calibration.measure import Measurements
from allocsim.ground_truth.calibration.noise import Noise, noise

Counts = Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class StepFigure:
    """A benchmark's own time, and what the unit costs say it should be (None: not in the fit)."""

    what: str
    measured: Estimate
    fitted_ns: float | None


@dataclass(frozen=True)
class Calibration:
    """What was found out about a machine.

    costs: unit costs by event name. steps: every benchmark. contention: as in the cost file, for
    `threads` threads. mismatches: benchmarks that did not fault as their events say, in words.
    """

    costs: dict[str, Estimate]
    steps: dict[str, StepFigure]
    threads: list[int]
    contention: dict[str, dict]
    noise: Noise
    mismatches: list[str]
    rounds: int
    seconds: float

    def misfit(self) -> float:
        """The median distance of unit costs x counts from what was measured, relative."""
        distances = [
            abs(step.fitted_ns / step.measured.ns - 1)
            for step in self.steps.values()
            if step.fitted_ns is not None and step.measured.ns > 0
        ]
        return float(np.median(distances))


def figures(
    found: Measurements,
    benchmarks: Sequence[Benchmark],
    threads: list[int],
    resamples: int,
    rng: np.random.Generator,
) -> Calibration:
    """Fit, intervals and checks. The same measurements and seed give the same figures."""
    counts = {b.name: c for b in benchmarks if (c := b.counts())}
    fitted = fit(with_sections(counts, found), {n: found.cpu_ns(n) for n in counts}, rng, resamples)
    own = (SECTION, DISPATCH)
    steps = {b.name: _step(b, found, fitted, rng) for b in benchmarks}
    return Calibration(
        costs={name: e for name, e in fitted.unknowns.items() if name not in own}
        | contention.prices(threads, found.cpu_ns, found.wall_ns, rng)
        | huge_page_prices(steps),
        steps=steps,
        threads=threads,
        contention=contention.figures(
            threads,
            lambda name: estimate_of(found.cpu_ns(name), rng),
            lambda name: estimate_of(found.wall_ns(name), rng),
        ),
        noise=noise({name: found.cpu_ns(name) for name in found.slices}),
        mismatches=fault_mismatches(counts, found),
        rounds=found.rounds,
        seconds=found.seconds,
    )


def huge_page_prices(steps: Mapping[str, StepFigure]) -> dict[str, Estimate]:
    """The events of huge pages, by name, where they were measured: a fault apart from clearing."""
    if not {"huge_fault", "huge_clear", "huge_munmap"} <= steps.keys():
        return {}
    fault, clear = steps["huge_fault"].measured, steps["huge_clear"].measured
    rest = [max(0.0, end - clear.ns) for end in (fault.ns, fault.low_ns, fault.high_ns)]
    return {
        "huge_fault": Estimate(*rest),
        "huge_page_zeroed": clear,
        "huge_page_released": steps["huge_munmap"].measured,
    }


def with_sections(counts: Counts, found: Measurements) -> dict[str, dict[str, float]]:
    """The counts, with the readings of the clock that the measurement added."""
    return {name: {**row, SECTION: found.sections(name)} for name, row in counts.items()}


def fault_mismatches(counts: Counts, found: Measurements) -> list[str]:
    """Benchmarks whose page faults are not those of their events: their figures mean less."""
    words = []
    for name, row in counts.items():
        expected, seen = faults_in(dict(row)), found.faults(name)
        if abs(seen - expected) > 0.02 + 0.05 * expected:
            words.append(f"{name}: {seen:.3g} page faults, expected {expected:.3g}")
    return words


def _step(
    benchmark: Benchmark, found: Measurements, fitted: Fit, rng: np.random.Generator
) -> StepFigure:
    """The benchmark without the time that measuring it took."""
    name = benchmark.name
    units = fitted.unknowns
    own = 0.0
    if name != SECTION:
        own += found.sections(name) * units[SECTION].ns
    if name != NULL_SCRIPT:
        own += benchmark.dispatches * units[DISPATCH].ns
    measured = estimate_of(np.maximum(found.cpu_ns(name) - own, 0.0), rng)
    predicted = fitted.predicted_ns.get(name)
    return StepFigure(
        benchmark.what, measured, None if predicted is None else max(0.0, predicted - own)
    )
