"""One case, measured and predicted."""

import hashlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from allocsim.ground_truth.measurement.measure import Measured
from allocsim.ground_truth.measurement.prediction import Prediction
from allocsim.ground_truth.measurement.timing import Band

COUNTS = (
    *("syscalls", "minor_faults"),
    *("resident_mean_bytes", "resident_peak_bytes", "resident_end_bytes"),
)
FITTING_SHARE = 1 / 3


@dataclass(frozen=True)
class Pair:
    """A figure as it was measured, with its noise, and as it was predicted, with its interval."""

    measured: Band
    predicted: Band

    @property
    def error(self) -> float:
        """(predicted - measured) / measured; nan where something was predicted of nothing."""
        if self.measured.value == 0:
            return 0.0 if self.predicted.value == 0 else float("nan")
        return self.predicted.value / self.measured.value - 1


@dataclass(frozen=True)
class Comparison:
    """A trace with a setting, in both worlds. `setting` is "" for the defaults."""

    trace: str
    setting: str
    measured: Measured
    predicted: Prediction

    @property
    def group(self) -> str:
        """Whether the trace may be used for fitting: decided by its name, before any fit."""
        return group_of(self.trace)

    def pairs(self) -> dict[str, Pair]:
        """All figures by name: `cpu_ns.fill`, `wall_ns.none`, `minor_faults`…"""
        return dict(self._times()) | dict(self._counts())

    def memory_gap_bytes(self) -> int:
        """How far resident memory is off at most, over time: at all samples, which are at the same
        ops on both sides."""
        real, simulated = self.measured.counts.samples, self.predicted.samples
        at = np.isin(real["op"], simulated["op"]), np.isin(simulated["op"], real["op"])
        off = real["resident_bytes"][at[0]] - simulated["resident_bytes"][at[1]]
        return int(np.abs(off).max(initial=0))

    def as_json(self) -> dict[str, Any]:
        """Everything, memory over time on both sides included."""
        return {
            "trace": self.trace,
            "setting": self.setting,
            "group": self.group,
            "figures": {
                name: {**asdict(pair), "error": pair.error, "noise": pair.measured.spread}
                for name, pair in self.pairs().items()
            },
            "memory_gap_bytes": self.memory_gap_bytes(),
            "measured": self.measured.as_json(),
            "predicted": {
                "totals": self.predicted.totals,
                "samples": {k: v.tolist() for k, v in self.predicted.samples.items()},
            },
        }

    def _times(self) -> Iterator[tuple[str, Pair]]:
        column = self.measured.column()
        for kind, band in column.cpu_ns.items():
            yield f"cpu_ns.{kind}", Pair(band, self.predicted.cpu_ns[kind])
        for kind, wall in self.predicted.wall_ns.items():
            yield f"wall_ns.{kind}", Pair(column.wall_ns[kind], Band(wall, wall, wall))

    def _counts(self) -> Iterator[tuple[str, Pair]]:
        for name in COUNTS:
            real, simulated = (s.totals[name] for s in (self.measured.counts, self.predicted))
            yield name, Pair(Band(real, real, real), Band(simulated, simulated, simulated))


def group_of(name: str) -> str:
    """ "fitting" for a third of all names by their hash, "held-out" for the rest."""
    first = hashlib.sha256(name.encode()).digest()[0]
    return "fitting" if first < 256 * FITTING_SHARE else "held-out"
