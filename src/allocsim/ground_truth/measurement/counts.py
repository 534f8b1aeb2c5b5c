"""What a replay on a real allocator counts, under the names that simulations use."""

from dataclasses import dataclass

import numpy as np

from allocsim.ground_truth.measurement.timing import Case
from allocsim.ground_truth.replay import replay
from allocsim.ground_truth.results import PAGE_BYTES, SYSCALL_NAMES, GroundTruth

SAMPLES = 256


@dataclass(frozen=True)
class Counts:
    """Calls, faults and memory of one replay, the program's pages written where the trace says so.

    totals: system calls by kind and in all, minor faults, resident memory that came on top of what
    the program had before the first op: peak and mean over the samples, and at the end.
    samples: columns op (how many were done) and resident_bytes.
    """

    totals: dict[str, float | int]
    samples: dict[str, np.ndarray]


def count(case: Case, samples: int = SAMPLES) -> Counts:
    """Replay a case once, with every call and fault reported. Raises ReplayError, InputError."""
    truth = replay(case.stream, case.tunables, samples=samples, **case.surroundings)
    growth = (truth.samples[:, 1] - truth.samples[0, 1]) * PAGE_BYTES
    columns = {"op": truth.samples[1:, 0].copy(), "resident_bytes": growth[1:].copy()}
    end = (truth.resident_pages - truth.start_resident_pages) * PAGE_BYTES
    return Counts(_totals(truth, columns["resident_bytes"], end), columns)


def _totals(truth: GroundTruth, resident: np.ndarray, end_bytes: int) -> dict[str, float | int]:
    assert truth.syscalls is not None
    names = truth.syscalls.name.tolist()
    calls = {f"{name}_calls": names.count(name) for name in SYSCALL_NAMES.values()}
    return {
        "ops": len(truth),
        **calls,
        "syscalls": len(names),
        "minor_faults": int(truth.minor_faults.sum()),
        "resident_peak_bytes": int(max(resident.max(initial=0), end_bytes)),
        "resident_mean_bytes": float(resident.mean()) if len(resident) else 0.0,
        "resident_end_bytes": int(end_bytes),
    }
