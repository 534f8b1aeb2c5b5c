"""What a benchmark is, and how the events of one repetition are written down."""

from dataclasses import dataclass

from allocsim.ground_truth.calibration.heap_scripts import HeapScript
from allocsim.kernel.costs import MINOR_FAULTS, Event

SECTION = "section"
"""The unknown of the measurement itself: reading the processor's clock around a timed section."""
DISPATCH = "dispatch"
"""The unknown of the loop that runs heap scripts: one step of it."""
NULL_SCRIPT = "null_script"
FROM_MODEL = "as the model counts"
"""The events of a script that takes part in the fit."""

_KNOWN = {e.name.lower() for e in Event} | {SECTION, DISPATCH}
_FAULTS = {e.name.lower() for e in MINOR_FAULTS}


@dataclass(frozen=True)
class Benchmark:
    """One thing to measure.

    body: its name in calibrate.c. pages: the size that it works on. events: what one repetition
    does, as in "munmap + 32 page_released"; nothing where the model has no events for it, so that
    it stays out of the fit. what: for readers. script: the calls that the body makes; `FROM_MODEL`
    says that the model of glibc tells their events.
    """

    name: str
    body: str
    pages: int
    events: str
    what: str
    script: HeapScript | None = None

    def counts(self) -> dict[str, float]:
        """How often each event, and loop of our own, happens in one repetition."""
        if self.script is None or self.events != FROM_MODEL:
            return parse_events(self.events)
        counts = {e.name.lower(): n for e, n in self.script.model_counts().items()}
        return counts | {DISPATCH: self.dispatches}

    @property
    def dispatches(self) -> float:
        """Rounds of the loop for one repetition: a step of the script."""
        return self.script.dispatches if self.script else 0.0


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
