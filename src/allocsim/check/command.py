"""`allocsim check`: the conformance suite's results as a table."""

from allocsim.check.conformance import check_policy
from allocsim.check.results import CheckResult, Outcome
from allocsim.policy import load_policy
from allocsim.terminal import say


def command(policy: str, compiles: bool = True) -> int:
    """Check the policy of that name or file and print a table; 1 if a check failed, else 0."""
    results = check_policy(load_policy(policy), compiles=compiles)
    say(table(results))
    return int(any(result.outcome is Outcome.FAILED for result in results))


def table(results: list[CheckResult]) -> str:
    """One line a check: name, outcome, detail."""
    wide = max(len(result.name) for result in results)
    lines = [f"{r.name:{wide}}  {r.outcome:8}  {r.detail}".rstrip() for r in results]
    n_failed = sum(result.outcome is Outcome.FAILED for result in results)
    return "\n".join([*lines, f"{len(results)} checks, {n_failed} failed"])
