"""Traces: the ops of a program as columns, in memory and in files.

`allocsim.trace.ops` defines the vocabulary; everything a caller needs is exported here.
"""

from allocsim.trace.columns import Trace, TraceSource
from allocsim.trace.files import TraceFile, open_trace
from allocsim.trace.ops import ALLOCATIONS, BATCH_OPS, COLUMNS, Op
from allocsim.trace.provenance import Provenance
from allocsim.trace.validate import Validator, validated
from allocsim.trace.writer import TraceWriter, write_trace

__all__ = [
    "ALLOCATIONS",
    "BATCH_OPS",
    "COLUMNS",
    "Op",
    "Provenance",
    "Trace",
    "TraceFile",
    "TraceSource",
    "TraceWriter",
    "Validator",
    "open_trace",
    "validated",
    "write_trace",
]
