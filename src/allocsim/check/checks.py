"""The checks that look at whole runs, by name."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np

from allocsim.check import outside_memory, workloads
from allocsim.check.results import CheckResult, failed, noted, passed
from allocsim.check.rules import LITTLE_MEMORY
from allocsim.check.trial import Trial
from allocsim.driver import Driver, driver_for
from allocsim.policy import Kind, Policy
from allocsim.simulation import Result

Ops = np.ndarray


def _survives_exhaustion(trial: Trial, name: str) -> CheckResult:
    trace, n_before = workloads.exhausting()
    result, ops = trial.run(trace, limits=LITTLE_MEMORY)
    assert result.driver is not None
    if result.driver.failed == 0:
        return failed(name, "8 MiB were served out of 1 MiB of heap and 8 MiB in all")
    served = np.count_nonzero(ops[0][n_before:])
    if served < len(trace) - n_before:
        return failed(name, f"with all freed, only {served} of 50 small requests were served")
    return passed(name, f"{result.driver.failed} requests returned 0")


def _same_result(trial: Trial, name: str) -> CheckResult:
    return _equal(name, trial.run(workloads.mixed()), trial.run(workloads.mixed()))


def _compiled_is_equal(trial: Trial, name: str) -> CheckResult:
    if not trial.compiles:
        return noted(name, "not tried")
    from allocsim.component.entry import NotCompilable

    try:
        compiled = trial.run(workloads.mixed(), mode="compiled")
    except NotCompilable as error:
        return noted(name, f"interpreted only: {error}")
    return _equal(name, trial.run(workloads.mixed()), compiled)


def _poison_changes_nothing(trial: Trial, name: str) -> CheckResult:
    """What the program writes destroys the words that lay there; no decision may depend on them."""
    plain, poisoned = (
        trial.run(workloads.mixed(), limits={"poison": p})[1][0] for p in (False, True)
    )
    differs = np.flatnonzero(plain != poisoned)
    if differs.size:
        return failed(name, f"op {differs[0]} depends on what the program wrote into its blocks")
    return passed(name)


def _equal(name: str, one: tuple[Result, Ops], other: tuple[Result, Ops]) -> CheckResult:
    difference = _difference(one, other)
    return failed(name, difference) if difference else passed(name)


def _difference(one: tuple[Result, Ops], other: tuple[Result, Ops]) -> str:
    """Where two runs differ first, in addresses, faults or totals; empty if nowhere."""
    for what, a, b in zip(("address", "faults"), one[1], other[1], strict=True):
        differs = np.flatnonzero(a != b)
        if differs.size:
            at = differs[0]
            return f"op {at}: {what} {int(a[at]):#x} and {int(b[at]):#x}"
    for key, value in one[0].totals.items():
        if not np.array_equal(value, other[0].totals[key], equal_nan=True):
            return f"{key}: {value} and {other[0].totals[key]}"
    return ""


def _nothing_left(trial: Trial, name: str) -> CheckResult:
    driver = trial.run(workloads.all_freed())[0].driver
    assert driver is not None
    kernel = driver.policy.kernel
    left = f"{kernel.mapped_bytes} bytes stay mapped, {kernel.resident_pages} pages resident"
    used = set(_used(driver)) - set(_used(_with_threads(trial, workloads.all_freed().n_threads)))
    if used:
        n_bytes = sum(size for _, size in used)
        return failed(name, f"walk() reports {len(used)} used ranges, {n_bytes} bytes; {left}")
    return passed(name, left)


def _with_threads(trial: Trial, n_threads: int) -> Driver:
    """A driver before the first operation: creating threads may take blocks that stay."""
    driver = driver_for(trial.policy, **trial.parameters)
    driver.policy.start_threads(n_threads, 1)
    return driver


def _used(driver: Driver) -> list[tuple[int, int]]:
    return [(low, size) for low, size, kind in _ranges(driver) if kind == Kind.USED]


def _walk_is_consistent(trial: Trial, name: str) -> CheckResult:
    if trial.policy.walk is Policy.walk:
        return noted(name, "no walk(): fragmentation cannot be measured")
    driver = trial.run(workloads.mixed())[0].driver
    assert driver is not None
    ranges = _ranges(driver)
    for (low, size, _), (high, _, _) in pairwise(ranges):
        if low + size > high:
            return failed(name, f"ranges at {low:#x} ({size} bytes) and {high:#x} overlap")
    starts = np.array([low for low, _, _ in ranges])
    live = driver.live_blocks(workloads.mixed().n_slots)
    for address, size in live:
        at = int(np.searchsorted(starts, address, side="right")) - 1
        low, length, kind = ranges[at] if at >= 0 else (0, 0, Kind.FREE)
        if kind != Kind.USED or address + size > low + length:
            return failed(name, f"the live block at {address:#x} is not inside one used range")
    return passed(name, f"{len(ranges)} ranges, {len(live)} live blocks")


def _ranges(driver: Driver) -> list[tuple[int, int, int]]:
    driver.walk()
    return driver.policy.ranges.listed()


def _metadata_is_simulated(trial: Trial, name: str) -> CheckResult:
    """Metadata that grows outside simulated memory costs nothing: results are idealized."""
    before: dict[str, int] = {}

    def make(policy: type[Policy], **parameters: Any) -> Driver:
        driver = driver_for(policy, **parameters)
        before.update(outside_memory.python_sizes(driver.policy))
        return driver

    run = trial.run(workloads.mixed(), make_driver=make, walks=0)
    assert run[0].driver is not None
    after = outside_memory.python_sizes(run[0].driver.policy.watched)
    grown = [container for container, n in after.items() if n > before.get(container, 0)]
    kept = outside_memory.pools(trial.policy, for_walk=False) + grown
    if needed := _needed_beside_walk(trial, run):
        return failed(name, needed)
    if kept:
        return noted(name, f"idealized: {', '.join(kept)} is metadata that costs nothing")
    return passed(name)


def _needed_beside_walk(trial: Trial, run: tuple[Result, Ops]) -> str:
    """How a run without the pools declared as `for_walk` differs from one with them."""
    pools = outside_memory.pools(trial.policy, for_walk=True)

    def make(policy: type[Policy], **parameters: Any) -> Driver:
        driver = driver_for(policy, **parameters)
        outside_memory.forget_walk(driver.policy)
        return driver

    if not pools:
        return ""
    difference = _difference(run, trial.run(workloads.mixed(), make_driver=make, walks=0))
    return f"{', '.join(pools)}: not for walk() alone; without, {difference}" if difference else ""


CHECKS: dict[str, Callable[[Trial, str], CheckResult]] = {
    "survives exhaustion": _survives_exhaustion,
    "same inputs, same result": _same_result,
    "interpreted equals compiled": _compiled_is_equal,
    "poison changes nothing": _poison_changes_nothing,
    "nothing left live": _nothing_left,
    "walk is consistent": _walk_is_consistent,
    "metadata is simulated": _metadata_is_simulated,
}
