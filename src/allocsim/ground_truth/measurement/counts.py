"""What a replay on a real allocator counts, under the names that simulations use."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from allocsim.errors import InputError
from allocsim.ground_truth.measurement.timing import Case
from allocsim.ground_truth.replay import replay
from allocsim.ground_truth.results import PAGE_BYTES, SYSCALL_NAMES, GroundTruth
from allocsim.trace import Op, TraceSource, validated

SAMPLES = 256
OWN_CALLS = {op: op.label for op in (Op.MMAP, Op.MUNMAP, Op.MREMAP, Op.MADVISE)}


@dataclass(frozen=True)
class Counts:
    """Calls, faults and memory of one replay, the program's pages written where the trace says so.

    totals: system calls by kind and in all, the program's own included; minor faults; resident
    memory that came on top of what the program had before the first op: peak and mean over the
    samples, and at the end.
    samples: columns op (how many were done) and resident_bytes.
    """

    totals: dict[str, float | int]
    samples: dict[str, np.ndarray]


def checked_calls(source: TraceSource) -> dict[str, int]:
    """How often the program itself makes each system call, by its name.

    InputError for ops that make no sense, since the replayer trusts its input, and for none at all.
    """
    calls = dict.fromkeys(OWN_CALLS.values(), 0)
    n_ops = 0
    for batch in validated(source):
        n_ops += len(batch)
        for op, name in OWN_CALLS.items():
            calls[name] += int((batch.op == op).sum())
    if not n_ops:
        raise InputError(f"{getattr(source, 'path', 'trace')}: no ops; there is nothing to measure")
    return calls


def count(case: Case, own_calls: Mapping[str, int], samples: int = SAMPLES) -> Counts:
    """Replay a case once, with every call and fault reported. Raises ReplayError, InputError.

    own_calls: those of the program (`checked_calls`), which the replay does not report.
    """
    truth = replay(case.stream, case.tunables, samples=samples, **case.surroundings)
    growth = (truth.samples[:, 1] - truth.samples[0, 1]) * PAGE_BYTES
    columns = {"op": truth.samples[1:, 0].copy(), "resident_bytes": growth[1:].copy()}
    end = (truth.resident_pages - truth.start_resident_pages) * PAGE_BYTES
    calls = _calls(truth, own_calls)
    return Counts(calls | _others(truth, columns["resident_bytes"], end), columns)


def _calls(truth: GroundTruth, own_calls: Mapping[str, int]) -> dict[str, float | int]:
    assert truth.syscalls is not None
    names = truth.syscalls.name.tolist()
    calls = {n: names.count(n) + own_calls.get(n, 0) for n in SYSCALL_NAMES.values()}
    by_kind = {f"{name}_calls": n for name, n in calls.items()}
    return {"ops": len(truth), **by_kind, "syscalls": sum(calls.values())}


def _others(truth: GroundTruth, resident: np.ndarray, end_bytes: int) -> dict[str, float | int]:
    return {
        "minor_faults": int(truth.minor_faults.sum()),
        "resident_peak_bytes": int(max(resident.max(initial=0), end_bytes)),
        "resident_mean_bytes": float(resident.mean()) if len(resident) else 0.0,
        "resident_end_bytes": int(end_bytes),
    }
