"""Simulates what a claim is about and compares it with what was predicted."""

import math
from dataclasses import dataclass
from typing import Any

from allocsim.claims.expression import evaluate, quantities
from allocsim.claims.leak_check import LeakCheckUnavailable, leak_check
from allocsim.claims.measure import Numbers, measured, unit_costs
from allocsim.claims.spec import Claim, Prediction
from allocsim.errors import InputError

HOLDS, LIMITED, FAILS = "holds", "holds with a limit", "does not hold"


@dataclass(frozen=True)
class Checked:
    """A prediction and what came out: None, with the reason, where it cannot be measured here."""

    prediction: Prediction
    value: float | None
    unavailable: str = ""

    @property
    def holds(self) -> bool:
        """Whether it came out as predicted; what was not measured does not count against it."""
        return self.value is None or self.prediction.holds(self.value)


@dataclass(frozen=True)
class Judgement:
    """What became of a claim: every prediction checked, and all numbers by name."""

    name: str
    claim: Claim
    checked: list[Checked]
    numbers: Numbers

    @property
    def verdict(self) -> str:
        """One failed prediction, and the claim does not hold; one with a limit holds with it."""
        if not all(each.holds for each in self.checked):
            return FAILS
        return LIMITED if self.claim.limit else HOLDS

    def as_dict(self) -> dict[str, Any]:
        """Everything, ready for JSON."""
        claim = self.claim
        return {
            "name": self.name,
            "title": claim.title,
            "textbook": claim.textbook,
            "limit": claim.limit,
            "verdict": self.verdict,
            "predictions": [_as_dict(each) for each in self.checked],
            "numbers": self.numbers,
        }


def judge(name: str, claim: Claim, *, referee: bool = False) -> Judgement:
    """Simulates the claim's runs and checks its predictions; `referee` as for `simulate`.

    InputError when a prediction names a quantity that the runs do not have.
    """
    numbers: Numbers = {}
    for run_name, run in claim.runs.items():
        found = measured(run, claim.workloads[run.workload], referee)
        numbers |= {f"{run_name}.{quantity}": value for quantity, value in found.items()}
    absent = ""
    if claim.leak_check:
        try:
            left = leak_check(claim.workloads[claim.leak_check.workload])
            numbers |= {f"leak_check.{quantity}": value for quantity, value in left.items()}
        except LeakCheckUnavailable as error:
            absent = str(error)
    known = numbers | {f"cost.{event}": value for event, value in unit_costs().items()}
    checked = [_checked(name, prediction, known, absent) for prediction in claim.predictions]
    return Judgement(name, claim, checked, numbers)


def _checked(name: str, prediction: Prediction, known: Numbers, absent: str) -> Checked:
    if absent and any(q.startswith("leak_check.") for q in quantities(prediction.quantity)):
        return Checked(prediction, None, absent)
    try:
        return Checked(prediction, evaluate(prediction.quantity, known))
    except ValueError as error:
        raise InputError(f"claim {name}: '{prediction.says}': {error}") from None


def _as_dict(checked: Checked) -> dict[str, Any]:
    told = checked.prediction.model_dump(exclude_none=True)
    value = checked.value if checked.value is not None and math.isfinite(checked.value) else None
    told |= {"value": value, "holds": checked.holds}
    return told | ({"unavailable": checked.unavailable} if checked.unavailable else {})
