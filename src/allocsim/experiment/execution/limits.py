"""How long a run may take, and how much memory: one without end must not stop the others."""

import sys
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from allocsim.strict_toml import SizeBytes, StrictModel

Seconds = Annotated[float, Field(gt=0, le=1e9)]

_BASE_S = 60.0
"""For imports, compilation and whatever else does not grow with the number of ops."""

_OP_S = 1 / 2000
"""Interpreted policies make 20,000 to 200,000 ops a second; a machine may be busy."""

_REFEREE = 10
"""By how much the referee may slow a run down."""

_MEMORY_SHARE = 0.8

_SHORT_OPS = 20_000
"""Of shorter runs, most of the time is Python's, for which threads would wait for each other."""


class LimitOptions(StrictModel):
    """Limits of each run. time_s: wall-clock seconds, by default 60 and one for every 2,000 ops
    (200 with the referee). memory_bytes: resident memory of its process, by default 80 % of the
    machine's, divided by the number of jobs. "off": no limit.
    """

    time_s: Seconds | Literal["off"] | None = None
    memory_bytes: Annotated[SizeBytes, Field(ge=64 << 20)] | Literal["off"] | None = None


@dataclass(frozen=True)
class Limits:
    """Limits as runs are held to them.

    time_s: for every run; None: by its ops. memory_bytes: None: any. threads_from_ops: compiled
    runs of shipped policies are made in threads if they have so many ops, else in processes.
    """

    time_s: float | Literal["off"] | None
    memory_bytes: int | None
    threads_from_ops: int = 0

    @classmethod
    def of(cls, options: LimitOptions, memory_bytes: int, jobs: int) -> "Limits":
        """The limits that `options` ask for where each of `jobs` workers has so much memory."""
        memory = options.memory_bytes
        if isinstance(memory, int):  # only a process can be held to it
            return cls(options.time_s, memory, sys.maxsize)
        share = int(_MEMORY_SHARE * memory_bytes) if memory is None else 0
        return cls(options.time_s, share or None, _SHORT_OPS if jobs > 1 else 0)

    def time_for(self, n_ops: int, referee: bool) -> float | None:
        """Seconds that a run of so many ops (0: unknown) may take; None: any time."""
        if self.time_s == "off" or (self.time_s is None and not n_ops):
            return None
        if self.time_s is not None:
            return float(self.time_s)
        return _BASE_S + n_ops * _OP_S * (_REFEREE if referee else 1)
