"""The conformance suite: named checks that every policy must pass, ours and users'.

A policy that is known to fail a check says so, with the reason:

    expected_failures = {"survives exhaustion": "research code: it assumes endless memory"}
"""

from collections.abc import Callable, Collection, Iterator
from functools import partial

from allocsim.check.checks import CHECKS
from allocsim.check.isolation import Ended, Limits, in_child
from allocsim.check.results import CheckResult, Outcome, failed, noted
from allocsim.check.rules import RULES, check_rules, rule_results
from allocsim.check.trial import Trial
from allocsim.errors import AllocsimError
from allocsim.machine import Machine
from allocsim.policy import Policy

CHECK_NAMES = ("runs", *RULES, *CHECKS)
LIMITS = Limits()
COMPILING = Limits(op_s=600, total_s=600, memory_bytes=4 << 30)  # no operation ends meanwhile

Work = Callable[[], list[CheckResult]]


def check_policy(
    policy: type[Policy],
    *,
    compiles: bool = True,
    only: Collection[str] = CHECK_NAMES,
    machine: Machine | None = None,
    **parameters: int | float,
) -> list[CheckResult]:
    """Try a policy; one result for each of CHECK_NAMES, a summary for people in `detail`.

    compiles: whether to compile it, which takes a while the first time, for the comparison of both
    modes. only: the checks to make; those that share runs come together. machine: what it runs on,
    the standard one if None. parameters: the policy's
    own. Known failures are taken from `policy.expected_failures`.
    Each check runs in a forked process, so a policy that crashes, or does not come to an end, fails
    that check.
    """
    trial = Trial(policy, parameters, compiles, machine=machine or Machine())
    results: list[CheckResult] = []
    endless = False
    for names, work in _works(trial, only):
        if endless:
            results += [noted(name, "not tried after what did not end") for name in names]
            continue
        limits = COMPILING if names == ("interpreted equals compiled",) else LIMITS
        found = in_child(partial(_rows, work), trial.progress, limits)
        if isinstance(found, Ended):
            endless = found.endless
            results += _ended(names, found.reason)
        else:
            results += [CheckResult(name, Outcome(out), detail) for name, out, detail in found]
    return _with_expectations(results, getattr(policy, "expected_failures", {}))


def _works(trial: Trial, only: Collection[str]) -> Iterator[tuple[tuple[str, ...], Work]]:
    """What runs in one process each, and the names of its checks."""
    if {"runs", *RULES} & set(only):
        yield ("runs", *RULES), partial(check_rules, trial)
    for name in CHECKS:
        if name in only:
            yield (name,), partial(_check, trial, name)


def _check(trial: Trial, name: str) -> list[CheckResult]:
    try:
        return [CHECKS[name](trial, name)]
    except AllocsimError as error:
        return [failed(name, str(error))]


def _rows(work: Work) -> list[tuple[str, str, str]]:
    return [(result.name, str(result.outcome), result.detail) for result in work()]


def _ended(names: tuple[str, ...], reason: str) -> list[CheckResult]:
    """The results of checks whose process did not finish."""
    return rule_results({}, [reason]) if names[0] == "runs" else [failed(names[0], reason)]


def _with_expectations(results: list[CheckResult], expected: dict[str, str]) -> list[CheckResult]:
    """A failure with a written reason is expected; an expectation that fails is a failure too."""
    judged = []
    unknown = set(expected) - set(CHECK_NAMES)
    for result in results:
        reason = expected.get(result.name)
        if reason is not None and result.outcome is not Outcome.FAILED:
            judged.append(failed(result.name, "expected to fail, but it does not"))
        elif reason is not None and not reason.strip():
            judged.append(failed(result.name, "expected to fail, but without a reason"))
        elif reason is not None:
            judged.append(CheckResult(result.name, Outcome.EXPECTED, reason))
        else:
            judged.append(result)
    return judged + [
        failed(name, "expected to fail, but there is no such check") for name in unknown
    ]
