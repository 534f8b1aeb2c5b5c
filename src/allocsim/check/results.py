"""How a check ended."""

from dataclasses import dataclass
from enum import StrEnum


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


def passed(name: str, detail: str = "") -> CheckResult:
    """The policy holds what the check asks for."""
    return CheckResult(name, Outcome.PASSED, detail)


def failed(name: str, detail: str) -> CheckResult:
    """It does not."""
    return CheckResult(name, Outcome.FAILED, detail)


def noted(name: str, detail: str) -> CheckResult:
    """No failure, but users of the policy's results must know of it."""
    return CheckResult(name, Outcome.NOTED, detail)
