"""What a workload file may say: a synthetic program, or a recorded trace.

All keys have a unit or are shares between 0 and 1; `experiments/reference.toml` shows each with
its default.
"""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from allocsim.strict_toml import SizeBytes, StrictModel
from allocsim.workload.sizes import Sizes

Share = Annotated[float, Field(ge=0, le=1)]

SLACK = 0.1
"""How far, relative to the target, the number of live objects wanders before it is turned back."""

_LONGEST_NS = 2.6e15
"""Simulated time counts picoseconds in 63 bits."""


class Phases(StrictModel):
    """How the target for live objects moves: `live_objects` x (1 + `amplitude` x wave).

    The wave runs between -1 and 1 once in `period_ops`: a sine; a square (first high, then low);
    a sawtooth (a ramp up, then a drop); a trapezoid (ramp up, plateau, ramp down, low plateau).
    """

    shape: Literal["none", "sine", "square", "sawtooth", "trapezoid"] = "none"
    amplitude: Share = 0.5
    period_ops: int = Field(default=100_000, ge=1, le=10**12)


class Calls(StrictModel):
    """Which calls the program makes.

    calloc, aligned_alloc: shares of the allocations. realloc: share of all ops that resize a live
    object, to `realloc_growth` times its size, or to a newly drawn size where that would be above
    the largest size or the factor is 0.
    """

    calloc: Share = 0.0
    aligned_alloc: Share = 0.0
    alignment: int = Field(default=64, ge=8, le=2**21)
    realloc: Share = 0.0
    realloc_growth: float = Field(default=1.5, ge=0, le=1000)

    @model_validator(mode="after")
    def _possible(self) -> "Calls":
        if self.calloc + self.aligned_alloc > 1:
            raise ValueError("calloc and aligned_alloc are shares of one whole: at most 1 together")
        if self.alignment & (self.alignment - 1):
            raise ValueError(f"alignment {self.alignment} is no power of two")
        return self


class Accesses(StrictModel):
    """What the program does with its memory.

    written: share of each new block that is written at once, from its start. touch, read: shares
    of all ops that write or read `bytes` somewhere in a live object.
    """

    written: Share = 1.0
    touch: Share = 0.0
    read: Share = 0.0
    bytes: SizeBytes = 64


class Synthetic(StrictModel):
    """A program made up from distributions. Unlike real programs, its sizes and lifetimes are
    independent, which flatters some policies (Wilson et al. 1995): use it beside recorded ones.

    live_objects: what each thread holds on average. free_order: which object a free takes: any
    (`random`), the newest (`lifo`), the oldest (`fifo`), or one `recent_objects` from the newest on
    average (`recent`). cross_thread_frees: share of frees made by a thread other than the owner.
    think_ns: mean of the exponential time that a thread computes between two calls.
    """

    description: str = ""
    ops: int = Field(default=100_000, ge=1, le=10**12)
    threads: int = Field(default=1, ge=1, le=4096)
    live_objects: int = Field(default=1_000, ge=1, le=10**8)
    sizes: Sizes
    free_order: Literal["random", "lifo", "fifo", "recent"] = "random"
    recent_objects: float = Field(default=16.0, gt=0, le=10**6)
    cross_thread_frees: Share = 0.0
    free_at_end: bool = False
    think_ns: float = Field(default=0.0, ge=0, le=10**12)
    phases: Phases = Phases()
    calls: Calls = Calls()
    accesses: Accesses = Accesses()

    @model_validator(mode="after")
    def _ends_in_time(self) -> "Synthetic":
        if self.ops * self.think_ns > _LONGEST_NS:
            raise ValueError(
                f"ops x think_ns must be at most {_LONGEST_NS:.0e} ns, a month, "
                f"not {self.ops * self.think_ns:.0e}"
            )
        return self

    @model_validator(mode="after")
    def _leaves_room(self) -> "Synthetic":
        if self.calls.realloc + self.accesses.touch + self.accesses.read >= 1:
            raise ValueError(
                "calls.realloc, accesses.touch and accesses.read leave nothing to malloc"
            )
        return self

    @property
    def slots_per_thread(self) -> int:
        """No thread ever holds more objects than this."""
        highest = 1 + (self.phases.amplitude if self.phases.shape != "none" else 0)
        return int(self.live_objects * highest * (1 + SLACK)) + 2

    @property
    def pool_per_thread(self) -> int:
        """Slots of each thread's own: twice what it holds, where frees of others may be late."""
        return self.slots_per_thread if self.threads == 1 else 2 * self.slots_per_thread + 64


class Recorded(StrictModel):
    """A recorded trace, all of it or its first `ops` ops."""

    description: str = ""
    trace: str = Field(min_length=1)
    ops: int | None = Field(default=None, ge=1, le=10**12)


def workload_model(data: dict[str, Any]) -> type[Synthetic] | type[Recorded]:
    """The model that a workload's table is meant to fit: `trace` makes it a recorded one."""
    return Recorded if "trace" in data else Synthetic
