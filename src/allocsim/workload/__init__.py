"""Workloads: synthetic programs made from distributions, and recorded traces, by name or path."""

from allocsim.workload.catalogue import (
    find_workload,
    from_spec,
    load_workload,
    open_workload,
    read_workload,
    resolve_trace,
    source_identity,
    workload_names,
)
from allocsim.workload.recorded import TraceHead
from allocsim.workload.spec import Recorded, Synthetic, workload_model
from allocsim.workload.synthetic import SyntheticSource

__all__ = [
    "Recorded",
    "Synthetic",
    "SyntheticSource",
    "TraceHead",
    "find_workload",
    "from_spec",
    "load_workload",
    "open_workload",
    "read_workload",
    "resolve_trace",
    "source_identity",
    "workload_model",
    "workload_names",
]
