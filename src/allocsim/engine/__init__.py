"""Runs a workload through a policy on the modelled kernel.

Every simulated thread is a SimPy process. What an operation does is decided when it starts, in the
order of (start time, thread number); how long it took delays the thread. A recorded trace keeps its
order of effects, so one process drives it, however many threads it has, and it meets nobody between
two samples.
"""

from allocsim.engine.batch import drive_columns, drive_signature
from allocsim.engine.compiling import MODES, compile_all, is_warm
from allocsim.engine.machine import KERNEL_OPTIONS, driver_on_machine
from allocsim.engine.simulation import Result, simulate

__all__ = [
    "KERNEL_OPTIONS",
    "MODES",
    "Result",
    "compile_all",
    "drive_columns",
    "drive_signature",
    "driver_on_machine",
    "is_warm",
    "simulate",
]
