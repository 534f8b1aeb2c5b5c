"""What threads of one process do to each other in the kernel: contests, and their figures."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from allocsim.ground_truth.calibration.fit import Estimate, estimate_of
from allocsim.ground_truth.calibration.passed_blocks import remote_accesses_per_call
from allocsim.platform_support import usable_cpus

MOST_THREADS = 16


@dataclass(frozen=True)
class Contest:
    """A body of contention.h run by some threads, each on its own CPU, `pages` per thread."""

    kind: str
    body: str
    pages: int
    threads: int

    @property
    def name(self) -> str:
        return f"{self.kind}:{self.threads}"


@dataclass(frozen=True)
class Kind:
    """One kind of contention, as the table names it."""

    name: str
    what: str
    body: str
    pages: int


_EVERY = "by every thread"
_PAGE_DROPPED = "MADV_DONTNEED of a written page"

KINDS = (
    Kind("mmap_munmap", f"mmap and munmap of a page, {_EVERY}", "map_unmap", 1),
    Kind("mmap_write_munmap", f"mmap, 32 pages written, munmap, {_EVERY}", "map_write_unmap", 32),
    Kind("fault", f"a fault in an area of the thread's own, {_EVERY}", "faults", 4096),
    Kind("fault_beside_mmap", "a fault while others mmap and munmap", "faults_beside_maps", 4096),
    Kind("drop_page_running", f"{_PAGE_DROPPED} while others run", "shootdown_running", 1),
    Kind("drop_page_sleeping", f"{_PAGE_DROPPED} after others ran", "shootdown_sleeping", 1),
)
"""Their names are those of `allocsim.kernel.cost_file.Contention`."""


TURNS = Contest("take_turns", "take_turns", 1, 2)
"""Two threads that wake each other; a repetition has two delays, and one sleep of either."""

SWITCHING = Contest("take_turns_here", "take_turns_here", 1, 2)
"""The same on one CPU, which is never idle; a repetition has one sleep of either."""

WAKING = Contest("wake_sleeper", "wake_sleeper", 1, 2)
"""One thread wakes another one; a repetition is the call."""

PASSING = Contest("pass_blocks", "pass_blocks", 1, 2)
"""One thread frees what the other one has allocated; a repetition is a call of either."""

KEEPING = Contest("pass_blocks", "pass_blocks", 1, 1)
"""One thread does both."""

INTERRUPTIONS = Contest("interruptions", "interruptions", 1, 2)
"""One thread is interrupted by shootdowns of another one; a repetition is what one takes."""


def thread_counts(cpus: int | None = None) -> list[int]:
    """1, 2, 4, … threads, up to the CPUs that this process may use, at most 16."""
    allowed = min(cpus or usable_cpus(), MOST_THREADS)
    powers = [1 << k for k in range(allowed.bit_length()) if 1 << k <= allowed]
    return sorted({*powers, allowed})


def contests(threads: Sequence[int]) -> list[Contest]:
    """Every kind with every number of threads, and what only two threads have."""
    found = [Contest(k.name, k.body, k.pages, n) for k in KINDS for n in threads]
    return (
        [*found, TURNS, SWITCHING, WAKING, PASSING, KEEPING, INTERRUPTIONS]
        if 2 in threads
        else found
    )


Rounds = Callable[[str], np.ndarray]
"""From a contest's name to what one repetition takes, by round."""


def prices(
    threads: Sequence[int], cpu: Rounds, wall: Rounds, rng: np.random.Generator
) -> dict[str, Estimate]:
    """The events that only several threads have, by name; none where there is only one CPU.

    By medians: what threads do to each other varies by itself, not only by what else runs.
    """
    if 2 not in threads:
        return {}
    alone, beside = cpu("drop_page_running:1"), cpu("drop_page_running:2")
    return {
        "shootdown": estimate_of(np.maximum(beside - alone, 0.0), rng),
        "interruption": estimate_of(cpu(INTERRUPTIONS.name), rng),
        "sleep": estimate_of(cpu(TURNS.name), rng),
        "switch": estimate_of(cpu(SWITCHING.name), rng),
        "wake_delay": estimate_of(wall(TURNS.name) / 2, rng),
        "waking": estimate_of(wall(WAKING.name), rng),
        "handover": estimate_of(_handover(wall("mmap_munmap:1"), wall("mmap_munmap:2")), rng),
        "remote_access": estimate_of(_remote_access(cpu(KEEPING.name), cpu(PASSING.name)), rng),
        "trap": estimate_of(np.maximum(cpu("fault_256") - cpu("populate"), 0.0), rng),
    }


def _handover(alone: np.ndarray, beside: np.ndarray) -> np.ndarray:
    """How much longer a call takes if another CPU has had mmap_lock.

    Two threads that do nothing but map and unmap make their four calls in turn.
    """
    return np.maximum(beside / 4 - alone / 2, 0.0)


def _remote_access(keeping: np.ndarray, passing: np.ndarray) -> np.ndarray:
    """How long a call waits for a line that another CPU has written.

    The model tells how many such lines there are, and what else the two cases differ in is small.
    """
    return np.maximum(passing - keeping, 0.0) / remote_accesses_per_call()


Estimates = Callable[[str], Estimate]
"""From a contest's name to what one repetition takes."""


def figures(threads: Sequence[int], cpu: Estimates, wall: Estimates) -> dict[str, dict]:
    """One table per kind: processor and wall time of a repetition by number of threads."""
    return {
        kind.name: {"what": kind.what}
        | _columns("cpu", [cpu(f"{kind.name}:{n}") for n in threads])
        | _columns("wall", [wall(f"{kind.name}:{n}") for n in threads])
        for kind in KINDS
    }


def _columns(clock: str, rows: Sequence[Estimate]) -> dict[str, list[float]]:
    return {
        f"{clock}_ns": [row.ns for row in rows],
        f"{clock}_low_ns": [row.low_ns for row in rows],
        f"{clock}_high_ns": [row.high_ns for row in rows],
    }
