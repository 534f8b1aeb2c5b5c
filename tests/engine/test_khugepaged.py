"""Huge pages through the engine's public door: settings, deadlines, threads."""

import numpy as np
import pytest

from allocsim.errors import InputError
from allocsim.kernel import CostTable, Event
from allocsim.machine import Machine
from allocsim.policy import Policy
from allocsim.simulation import simulate
from allocsim.trace import Op, Trace
from allocsim.workload import from_spec

HUGE = 2 << 20
FREE_OF_CHARGE = CostTable((0.0,) * len(Event), {})


class Regions(Policy):
    """Aligned mappings of some regions each."""

    def malloc(self, size):
        return self.kernel.mmap((size + HUGE - 1) & -HUGE)

    def free(self, address):
        pass


def run(source, mode="interpreted", **options):
    return simulate(
        source, Regions, mode=mode, walks=0, machine=Machine(costs=FREE_OF_CHARGE, **options)
    )


def test_the_setting_decides_what_a_fault_brings():
    trace = Trace.of(op=[Op.MALLOC], object=[0], size=[3 * HUGE], written=[2 * HUGE])
    always, never = run(trace, huge_pages="always"), run(trace, huge_pages="never")
    assert (always.totals["minor_faults"], always.totals["huge_faults"]) == (2, 2)
    assert (never.totals["minor_faults"], never.totals["huge_faults"]) == (1024, 0)
    assert always.totals["resident_end_bytes"] == never.totals["resident_end_bytes"] == 2 * HUGE


@pytest.mark.parametrize("mode", ["interpreted", pytest.param("compiled", marks=pytest.mark.slow)])
def test_holes_are_filled_at_the_deadlines(mode):
    """A page of each of four regions is dropped; scans at 2 and 4 ms look at two regions each."""
    n = 60
    ops = [Op.MMAP, Op.TOUCH, *[Op.MADVISE] * 4, *[Op.READ] * n]
    offsets = np.r_[0, 0, np.arange(4) * HUGE, np.zeros(n, np.int64)]
    sizes = np.r_[4 * HUGE, 4 * HUGE, np.full(4, 4096), np.ones(n, np.int64)]
    args = np.r_[3, 0, np.full(4, 4), np.zeros(n, np.int64)]
    thinks = np.r_[np.zeros(6, np.int64), np.full(n, 100_000)]
    trace = Trace.of(
        op=ops, object=np.zeros(n + 6, np.int64), size=sizes, offset=offsets + 4096 * (args == 4),
        arg=args, think_ns=thinks,
    )  # fmt: skip
    result = simulate(
        trace, Regions, mode=mode, walks=0, samples=n + 6,
        machine=Machine(
            costs=FREE_OF_CHARGE, huge_pages="always", scan_sleep_ms=2, pages_to_scan=1024
        ),
    )  # fmt: skip
    missing = 4 * 512 - result.samples["resident_bytes"] // 4096
    times_ms = result.samples["time_ns"] / 1e6
    assert set(missing[(times_ms > 0) & (times_ms <= 2)]) == {4}
    assert set(missing[(times_ms > 2) & (times_ms <= 4)]) == {2}
    assert set(missing[times_ms > 4]) == {0}
    assert result.driver.policy.kernel.collapsed == 4


def test_khugepaged_works_beside_threads():
    sizes = {"distribution": "choice", "sizes": [4096]}
    spec = {"ops": 60, "threads": 2, "live_objects": 30, "sizes": sizes, "think_ns": 500_000}
    source = from_spec(spec | {"accesses": {"written": 0.0, "read": 0.3}}, seed=1)
    few = run(source, huge_pages="always", scan_sleep_ms=1)
    assert few.totals["ops"] == 60
    assert few.driver.policy.kernel.collapsed == 0  # the page of zeros is nothing to collapse


def test_impossible_settings_are_refused():
    trace = Trace.of(op=[Op.MALLOC], object=[0], size=[1])
    with pytest.raises(InputError, match="huge_pages and memory_bytes exclude each other"):
        run(trace, huge_pages="always", memory_bytes=409_600)
    with pytest.raises(InputError, match=r"huge_pages: .*3"):
        run(trace, huge_pages=3)
    with pytest.raises(InputError, match="scan_sleep_ms: must be at least 1"):
        run(trace, huge_pages="madvise", scan_sleep_ms=0)
