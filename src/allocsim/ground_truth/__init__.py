"""The referee of all models: the real C library, run on a trace and observed op by op.

    truth = replay(open_trace("trace.parquet"), {"mmap_threshold": 65536})
    truth.address, truth.minor_faults, truth.syscalls.table()

docs/ground_truth.md tells how a replay leaves the heap undisturbed, and what it reports.
"""

from allocsim.ground_truth.opstream import MarkedCall, OpStream, packed
from allocsim.ground_truth.replay import (
    ReplayError,
    ReplayNotPermitted,
    ThreadTime,
    Timing,
    Writes,
    replay,
    time_replay,
)
from allocsim.ground_truth.results import GroundTruth, Syscalls
from allocsim.ground_truth.start import Surroundings, Tunables, build_replayer, environment_of

__all__ = [
    "GroundTruth",
    "MarkedCall",
    "OpStream",
    "ReplayError",
    "ReplayNotPermitted",
    "Surroundings",
    "Syscalls",
    "ThreadTime",
    "Timing",
    "Tunables",
    "Writes",
    "build_replayer",
    "environment_of",
    "packed",
    "replay",
    "time_replay",
]
