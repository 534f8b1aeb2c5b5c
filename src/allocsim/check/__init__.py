"""Checks of policies: a referee for every run, and a suite of named checks for every policy."""

from allocsim.check.conformance import CHECK_NAMES, check_policy
from allocsim.check.results import CheckResult, Outcome
from allocsim.referee import FoulError, Referee, refereed

__all__ = [
    "CHECK_NAMES",
    "CheckResult",
    "FoulError",
    "Outcome",
    "Referee",
    "check_policy",
    "refereed",
]
