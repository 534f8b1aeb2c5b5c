"""The conformance suite: named checks that every policy must pass, ours and users'.

A policy that is known to fail a check says so, with the reason:

    expected_failures = {"survives exhaustion": "research code: it assumes endless memory"}
"""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import Any

import numpy as np

from allocsim.check import workloads
from allocsim.component import Component, Pool
from allocsim.driver import Driver, driver_for
from allocsim.errors import AllocsimError, SimulationError
from allocsim.kernel import Kernel
from allocsim.machine import Machine
from allocsim.policy import Kind, Policy, Ranges
from allocsim.referee import refereed
from allocsim.simulation import Result, simulate
from allocsim.trace import Trace

RULES = (
    "no overlap",
    "alignment",
    "usable size",
    "mapped memory",
    "calloc is zero",
    "contents survive",
    "realloc keeps contents",
)
PATIENCE_S = 120.0  # an interpreted run takes a second or two
LITTLE_MEMORY = {"limit_data_bytes": 1 << 20, "limit_as_bytes": 8 << 20}


class Outcome(StrEnum):
    """How a check ended. NOTED is no failure: results of such a policy carry the note."""

    PASSED = "passed"
    FAILED = "FAILED"
    EXPECTED = "expected"
    NOTED = "noted"


@dataclass(frozen=True)
class CheckResult:
    """One check of a policy: its name, how it ended, and what was seen."""

    name: str
    outcome: Outcome
    detail: str = ""


@dataclass
class _Trial:
    """A policy under test, with the settings to test it with."""

    policy: type[Policy]
    parameters: dict[str, Any]
    compiles: bool

    def run(
        self, trace: Trace, mode: str = "interpreted", limits: dict[str, int] | None = None,
        make_driver: Callable[..., Driver] = driver_for,
    ) -> tuple[Result, np.ndarray]:  # fmt: skip
        """The result of a run, and the address that every op returned."""
        batches: list[np.ndarray] = []
        with _ends(mode):
            result = simulate(
                trace, self.policy, parameters=self.parameters, mode=mode,
                machine=Machine(**(limits or {})), make_driver=make_driver, samples=2, walks=2,
                on_ops=lambda addresses, faults: batches.append(np.stack([addresses, faults])),
            )  # fmt: skip
        return result, np.concatenate(batches, axis=1)


@contextmanager
def _ends(mode: str) -> Iterator[None]:
    """Interpreted loops have no budget of rounds: what runs too long is taken for endless."""

    def stop(*_: Any) -> None:
        raise SimulationError(f"no end after {PATIENCE_S} s: a loop that does not end?")

    if mode == "compiled" or threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, PATIENCE_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def check_policy(
    policy: type[Policy], *, compiles: bool = True, **parameters: int | float
) -> list[CheckResult]:
    """Try a policy; one result for each named check, a summary for people in `detail`.

    compiles: whether to compile it, which takes a while the first time, for the comparison of both
    modes. parameters: the policy's own. Known failures are taken from `policy.expected_failures`.
    """
    trial = _Trial(policy, parameters, compiles)
    results = list(_rules(trial))
    for name, check in _CHECKS.items():
        try:
            results.append(check(trial, name))
        except AllocsimError as error:
            results.append(CheckResult(name, Outcome.FAILED, str(error)))
    return _with_expectations(results, getattr(policy, "expected_failures", {}))


def _with_expectations(results: list[CheckResult], expected: dict[str, str]) -> list[CheckResult]:
    """A failure with a written reason is expected; an expectation that fails is a failure too."""
    judged = []
    unknown = set(expected) - {result.name for result in results}
    for result in results:
        reason = expected.get(result.name)
        if reason is not None and result.outcome is not Outcome.FAILED:
            judged.append(_failed(result.name, "expected to fail, but it does not"))
        elif reason is not None and not reason.strip():
            judged.append(_failed(result.name, "expected to fail, but without a reason"))
        elif reason is not None:
            judged.append(CheckResult(result.name, Outcome.EXPECTED, reason))
        else:
            judged.append(result)
    return judged + [
        _failed(name, "expected to fail, but there is no such check") for name in unknown
    ]


def _passed(name: str, detail: str = "") -> CheckResult:
    return CheckResult(name, Outcome.PASSED, detail)


def _failed(name: str, detail: str) -> CheckResult:
    return CheckResult(name, Outcome.FAILED, detail)


# ---------------------------------------------------------------------------------- the referee's
def _rules(trial: _Trial) -> Iterator[CheckResult]:
    """What the referee saw in small, large and scarce blocks: one result a rule."""
    fouls: dict[str, str] = {}
    crash = ""
    scarce, _ = workloads.exhausting()
    for trace, limits in (
        (workloads.mixed(), None),
        (workloads.large(), None),
        (scarce, LITTLE_MEMORY),
    ):
        made: list[Driver] = []

        def make(policy: type[Policy], made: list[Driver] = made, **parameters: Any) -> Driver:
            made.append(refereed(policy, collects=True, **parameters))
            return made[0]

        try:
            trial.run(trace, limits=limits, make_driver=make)
        except AllocsimError as error:
            crash = crash or str(error)
        fouls = made[0].policy.fouls | fouls
    yield _failed("runs", crash) if crash else _passed("runs")
    for rule in RULES:
        yield _failed(rule, fouls[rule]) if rule in fouls else _passed(rule)


# ---------------------------------------------------------------------------------- whole runs
def _survives_exhaustion(trial: _Trial, name: str) -> CheckResult:
    trace, n_before = workloads.exhausting()
    result, ops = trial.run(trace, limits=LITTLE_MEMORY)
    assert result.driver is not None
    if result.driver.failed == 0:
        return _failed(name, "8 MiB were served out of 1 MiB of heap and 8 MiB in all")
    served = np.count_nonzero(ops[0][n_before:])
    if served < len(trace) - n_before:
        return _failed(name, f"with all freed, only {served} of 50 small requests were served")
    return _passed(name, f"{result.driver.failed} requests returned 0")


def _same_result(trial: _Trial, name: str) -> CheckResult:
    return _equal(name, trial.run(workloads.mixed()), trial.run(workloads.mixed()))


def _compiled_is_equal(trial: _Trial, name: str) -> CheckResult:
    if not trial.compiles:
        return CheckResult(name, Outcome.NOTED, "not tried")
    from allocsim.component.entry import NotCompilable

    try:
        compiled = trial.run(workloads.mixed(), mode="compiled")
    except NotCompilable as error:
        return CheckResult(name, Outcome.NOTED, f"interpreted only: {error}")
    return _equal(name, trial.run(workloads.mixed()), compiled)


def _poison_changes_nothing(trial: _Trial, name: str) -> CheckResult:
    """What the program writes destroys the words that lay there; no decision may depend on them."""
    plain, poisoned = (
        trial.run(workloads.mixed(), limits={"poison": p})[1][0] for p in (False, True)
    )
    differs = np.flatnonzero(plain != poisoned)
    if differs.size:
        return _failed(name, f"op {differs[0]} depends on what the program wrote into its blocks")
    return _passed(name)


def _equal(
    name: str, one: tuple[Result, np.ndarray], other: tuple[Result, np.ndarray]
) -> CheckResult:
    for what, a, b in zip(("address", "faults"), one[1], other[1], strict=True):
        differs = np.flatnonzero(a != b)
        if differs.size:
            at = differs[0]
            return _failed(name, f"op {at}: {what} {int(a[at]):#x} and {int(b[at]):#x}")
    for key, value in one[0].totals.items():
        if not np.array_equal(value, other[0].totals[key], equal_nan=True):
            return _failed(name, f"{key}: {value} and {other[0].totals[key]}")
    return _passed(name)


def _nothing_left(trial: _Trial, name: str) -> CheckResult:
    driver = trial.run(workloads.all_freed())[0].driver
    assert driver is not None
    kernel = driver.policy.kernel
    left = f"{kernel.mapped_bytes} bytes stay mapped, {kernel.resident_pages} pages resident"
    used = [size for _, size, kind in _ranges(driver) if kind == Kind.USED]
    if used:
        return _failed(name, f"walk() reports {len(used)} used ranges, {sum(used)} bytes; {left}")
    return _passed(name, left)


def _walk_is_consistent(trial: _Trial, name: str) -> CheckResult:
    if trial.policy.walk is Policy.walk:
        return CheckResult(name, Outcome.NOTED, "no walk(): fragmentation cannot be measured")
    driver = trial.run(workloads.mixed())[0].driver
    assert driver is not None
    ranges = sorted(_ranges(driver))
    for (low, size, _), (high, _, _) in pairwise(ranges):
        if low + size > high:
            return _failed(name, f"ranges at {low:#x} ({size} bytes) and {high:#x} overlap")
    starts = np.array([low for low, _, _ in ranges])
    live = driver.live_blocks(workloads.mixed().n_slots)
    for address, size in live:
        at = int(np.searchsorted(starts, address, side="right")) - 1
        low, length, kind = ranges[at] if at >= 0 else (0, 0, Kind.FREE)
        if kind != Kind.USED or address + size > low + length:
            return _failed(name, f"the live block at {address:#x} is not inside one used range")
    return _passed(name, f"{len(ranges)} ranges, {len(live)} live blocks")


def _ranges(driver: Driver) -> list[tuple[int, int, int]]:
    ranges = driver.policy.ranges
    return [(ranges.address[i], ranges.size_bytes[i], ranges.kind[i]) for i in range(driver.walk())]


# ---------------------------------------------------------------------------------- the class
def _metadata_is_simulated(trial: _Trial, name: str) -> CheckResult:
    """Metadata that grows outside simulated memory costs nothing: results are idealized."""
    pools = [
        f"{cls.__name__}.{field}"
        for cls in _own_parts(trial.policy)
        for field, declaration in cls._fields.items()
        if isinstance(declaration, Pool)
    ]
    driver = trial.run(workloads.mixed())[0].driver
    containers = [
        f"{type(part).__name__}.{attribute}"
        for part in _instances(driver.policy)  # type: ignore[union-attr]
        for attribute, value in vars(part).items()
        if isinstance(value, (list, dict, set, bytearray))
        and attribute not in part._fields
        and attribute not in _OWN_ATTRIBUTES
        and not attribute.startswith("each_")
    ]
    if pools or containers:
        kept = ", ".join(pools + containers)
        return CheckResult(name, Outcome.NOTED, f"idealized: {kept} is metadata that costs nothing")
    return _passed(name)


_OWN_ATTRIBUTES = frozenset({"_scalars", "_parts", "_mirror"})


def _own_parts(cls: type[Component]) -> Iterator[type[Component]]:
    """The classes of a policy's tree without the kernel and what reports ranges."""
    yield cls
    for declaration in cls._fields.values():
        part = getattr(declaration, "cls", None)
        if part is not None and not issubclass(part, (Kernel, Ranges)):
            yield from _own_parts(part)


def _instances(component: Component) -> Iterator[Component]:
    yield component
    for part in component._parts:
        if not isinstance(part, (Kernel, Ranges)):
            yield from _instances(part)


_CHECKS: dict[str, Callable[[_Trial, str], CheckResult]] = {
    "survives exhaustion": _survives_exhaustion,
    "same inputs, same result": _same_result,
    "interpreted equals compiled": _compiled_is_equal,
    "poison changes nothing": _poison_changes_nothing,
    "nothing left live": _nothing_left,
    "walk is consistent": _walk_is_consistent,
    "metadata is simulated": _metadata_is_simulated,
}
