"""The format of files with unit costs: what `allocsim calibrate` writes and `CostTable` reads.

`[costs]` prices every event. The other tables tell where the figures come from, and what one price
per event cannot express; they are optional, and checked where present.
"""

from functools import cache
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, create_model, model_validator

from allocsim.kernel.costs import SHIPPED, Event
from allocsim.strict_toml import StrictModel, load_toml

Ns = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]
Threads = Annotated[int, Field(ge=1)]


class Figure(StrictModel):
    """A time in nanoseconds, the ends of its 95 % interval, and where it comes from."""

    ns: Ns
    low: Ns | None = None
    high: Ns | None = None
    source: str = ""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if (self.low is None) != (self.high is None):
            raise ValueError("low and high go together; give both or neither")
        if self.low is not None and self.high is not None and not self.low <= self.ns <= self.high:
            raise ValueError(f"needs low <= ns <= high, not {self.low}, {self.ns}, {self.high}")
        return self


class Step(Figure):
    """A benchmark: what was measured, and what the unit costs predict for it."""

    what: str = ""
    fitted_ns: Ns | None = None


class Contest(StrictModel):
    """Times of one repetition by number of threads: processor time and wall time per thread."""

    what: str = ""
    cpu_ns: list[Ns]
    cpu_low_ns: list[Ns]
    cpu_high_ns: list[Ns]
    wall_ns: list[Ns]
    wall_low_ns: list[Ns]
    wall_high_ns: list[Ns]


class Contention(StrictModel):
    """What threads of one process do to each other; `threads` are the numbers of them."""

    threads: list[Threads]
    mmap_munmap: Contest | None = None
    mmap_write_munmap: Contest | None = None
    fault: Contest | None = None
    fault_beside_mmap: Contest | None = None
    drop_page_running: Contest | None = None
    drop_page_sleeping: Contest | None = None

    @model_validator(mode="after")
    def _as_long_as_threads(self) -> Self:
        n = len(self.threads)
        for kind, contest in self.contests().items():
            for column, values in contest:
                if isinstance(values, list) and len(values) != n:
                    raise ValueError(f"{kind}.{column} needs {n} values, one for each of threads")
        return self

    def contests(self) -> dict[str, Contest]:
        """All that the file has, by kind."""
        return {kind: each for kind, each in self if isinstance(each, Contest)}


class HugePages(StrictModel):
    """A huge page of 2 MiB: its fault (clearing included), unmapping, clearing alone."""

    fault: Figure
    munmap: Figure
    clear: Figure


ADDED_LATER = (
    Event.SHOOTDOWN, Event.SLEEP, Event.WAKE_DELAY,
    Event.HUGE_FAULT, Event.HUGE_PAGE_ZEROED, Event.HUGE_PAGE_RELEASED, Event.SPIN_NS,
    Event.AREA_CUT, Event.AREA_JOINED, Event.FAR_BYTE_WRITTEN,
    Event.FAULT_RUN, Event.INTERRUPTION, Event.WAKING, Event.COLD_RELEASE,
    Event.IRREGULAR, Event.WRITE, Event.SWITCH, Event.PAGE_FLUSHED, Event.COLD_PAGE,
    Event.TRAP, Event.HANDOVER, Event.REMOTE_ACCESS, Event.FILL, Event.DISTANT_BLOCK,
)  # fmt: skip
"""Events that older files lack; their price is then the shipped one."""

SPLIT_OFF = (Event.PAGE_FLUSHED, Event.COLD_PAGE, Event.FILL, Event.DISTANT_BLOCK)
"""Those of them whose time older files have in other prices: they cost nothing more then."""

_PRICES: dict[str, Any] = {
    e.name.lower(): (Figure | None, None) if e in ADDED_LATER else (Figure, ...) for e in Event
}
Prices: Any = create_model("Prices", __base__=StrictModel, **_PRICES)
"""One figure for each event."""


class CostFile(StrictModel):
    """A whole file. machine, calibration: free words about origin and quality."""

    machine: dict[str, Any] = Field(default_factory=dict)
    calibration: dict[str, Any] = Field(default_factory=dict)
    costs: Prices
    steps: dict[str, Step] = Field(default_factory=dict)
    contention: Contention | None = None
    huge_pages: HugePages | None = None

    def figure(self, event: Event) -> Figure:
        """The price of one event."""
        figure: Figure | None = getattr(self.costs, event.name.lower())
        if figure is None and event in SPLIT_OFF:
            return Figure(ns=0.0)
        return figure if figure is not None else _shipped().figure(event)


@cache
def _shipped() -> CostFile:
    return read_cost_file(SHIPPED)


def read_cost_file(path: Path) -> CostFile:
    """Read and check a file; InputError names file, line and key of everything that is wrong."""
    return load_toml(path, CostFile)
