"""allocsim: what would this program cost, in memory and CPU, under another allocator policy?

Everything public is exported here and loaded when first used, so that the command line starts
without it; docs/api.md describes it. All other names are private.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from allocsim.boundary_tags import BoundaryTagHeap
    from allocsim.column_table import ColumnTable
    from allocsim.component import (
        Array,
        Component,
        Param,
        Part,
        Parts,
        PerThread,
        Pool,
        Ref,
        ctz,
        host,
        ilog2,
        inline,
    )
    from allocsim.errors import AllocsimError, InputError, SimulationError
    from allocsim.kernel import CostTable, Kernel, Layout
    from allocsim.machine import Machine
    from allocsim.policy import Kind, Policy, load_policy
    from allocsim.reality import record, verify
    from allocsim.runspec import RunSpec
    from allocsim.simulation import Result, simulate
    from allocsim.study import Experiment, Sweep, log_range, results, sweep
    from allocsim.trace import Op, Trace, open_trace

__version__ = "0.1.0"

__all__ = [
    "AllocsimError", "Array", "BoundaryTagHeap", "ColumnTable", "Component", "CostTable",
    "Experiment", "InputError", "Kernel", "Kind", "Layout", "Machine", "Op", "Param", "Part",
    "Parts", "PerThread", "Policy", "Pool", "Ref", "Result", "RunSpec", "SimulationError",
    "Sweep", "Trace", "__version__", "ctz", "host", "ilog2", "inline", "load_policy", "log_range",
    "open_trace", "record", "results", "simulate", "sweep", "verify",
]  # fmt: skip

_EXPORTS = {
    "allocsim.boundary_tags": ("BoundaryTagHeap",),
    "allocsim.column_table": ("ColumnTable",),
    "allocsim.component": (
        "Array", "Component", "Param", "Part", "Parts", "PerThread", "Pool", "Ref", "ctz", "host",
        "ilog2", "inline",
    ),
    "allocsim.errors": ("AllocsimError", "InputError", "SimulationError"),
    "allocsim.kernel": ("CostTable", "Kernel", "Layout"),
    "allocsim.machine": ("Machine",),
    "allocsim.policy": ("Kind", "Policy", "load_policy"),
    "allocsim.reality": ("record", "verify"),
    "allocsim.runspec": ("RunSpec",),
    "allocsim.simulation": ("Result", "simulate"),
    "allocsim.study": ("Experiment", "Sweep", "log_range", "results", "sweep"),
    "allocsim.trace": ("Op", "Trace", "open_trace"),
}  # fmt: skip
_MODULES = {name: module for module, names in _EXPORTS.items() for name in names}

if not TYPE_CHECKING:  # a type checker would take every name for one of the module's

    def __getattr__(name: str) -> Any:
        if name in _MODULES:
            value = getattr(importlib.import_module(_MODULES[name]), name)
            globals()[name] = value
            return value
        raise AttributeError(f"module 'allocsim' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
