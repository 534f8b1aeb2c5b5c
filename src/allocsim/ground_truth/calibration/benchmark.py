"""What a benchmark is, and how the events of one repetition are written down."""

from dataclasses import dataclass

from allocsim.ground_truth.calibration.heap_scripts import HeapScript
from allocsim.kernel.costs import MINOR_FAULTS, Event

SECTION = "section"
"""The unknown of the measurement itself: reading the processor's clock around a timed section."""
DISPATCH = "dispatch"
"""The unknown of the loop that runs heap scripts: one step of it."""
NULL_SCRIPT = "null_script"

_KNOWN = {e.name.lower() for e in Event} | {SECTION, DISPATCH}
_FAULTS = {e.name.lower() for e in MINOR_FAULTS}


@dataclass(frozen=True)
class Benchmark:
    """One thing to measure.

    body: its name in calibrate.c. pages: the size that it works on. events: what one repetition
    does, as in "munmap + 32 page_released"; nothing where the model has no events for it, so that
    it stays out of the fit. what: for readers. A script's events come from the model of glibc.
    """

    name: str
    body: str
    pages: int
    events: str
    what: str
    script: HeapScript | None = None

    def counts(self) -> dict[str, float]:
        """How often each event, and loop of our own, happens in one repetition."""
        script = self.script
        if script is None:
            return parse_events(self.events)
        dispatch = {DISPATCH: len(script.timed) / script.n_steps}
        if self.name == NULL_SCRIPT:
            return dispatch
        return {e.name.lower(): n for e, n in script.model_counts().items()} | dispatch


def parse_events(text: str) -> dict[str, float]:
    """ "munmap + 32 page_released" as counts by name; ValueError for an event that is none."""
    counts: dict[str, float] = {}
    for term in filter(None, text.split(" + ")):
        number, _, name = term.rpartition(" ")
        if name not in _KNOWN:
            raise ValueError(f"no event is called {name!r}")
        counts[name] = counts.get(name, 0.0) + float(number or 1)
    return counts


def faults_in(counts: dict[str, float]) -> float:
    """How many minor faults these events are."""
    return sum(n for name, n in counts.items() if name in _FAULTS)


def size_of(pages: int) -> str:
    """A number of pages as a size in words."""
    kib = pages * 4
    return f"{kib} KiB" if kib < 1024 else f"{kib // 1024} MiB"
