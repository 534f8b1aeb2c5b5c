"""Checks of policies: a referee for every run, and a suite of named checks for every policy."""

from allocsim.check.conformance import CheckResult, Outcome, check_policy
from allocsim.referee import FoulError, Referee, refereed

__all__ = ["CheckResult", "FoulError", "Outcome", "Referee", "check_policy", "refereed"]
