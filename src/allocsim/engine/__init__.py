"""Runs a workload through a policy on the modelled kernel.

Every simulated thread is a SimPy process. What an operation does is decided when it starts, in the
order of (start time, thread number); how long it took delays the thread. A recorded trace keeps its
order of effects, so one process drives it, however many threads it has, and it meets nobody between
two samples.
"""

from allocsim.engine.batch import drive_columns, drive_signature, no_samples
from allocsim.engine.compiling import (
    COMPILE_FROM_OPS,
    MODES,
    compile_all,
    entry_points,
    is_warm,
    runs_compiled,
)
from allocsim.engine.khugepaged import Khugepaged
from allocsim.engine.run import Run, Schedule
from allocsim.engine.threads import execute, meets

__all__ = [
    "COMPILE_FROM_OPS",
    "MODES",
    "Khugepaged",
    "Run",
    "Schedule",
    "compile_all",
    "drive_columns",
    "drive_signature",
    "entry_points",
    "execute",
    "is_warm",
    "meets",
    "no_samples",
    "runs_compiled",
]
