"""A claim's file: the claim, the workloads and runs that test it, the predictions."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from allocsim import resources
from allocsim.claims.expression import quantities
from allocsim.claims.ops import rows_of
from allocsim.errors import InputError
from allocsim.policy import is_shipped, load_policy, refusal_of_file
from allocsim.strict_toml import (
    Problem,
    StrictModel,
    check_model,
    read_toml,
    unknown,
)

FOLDER = "claims"
"""Where claims lie among the shipped experiments."""


def _understood(line: str) -> str:
    for _ in rows_of(line):
        break
    return line


def _an_expression(text: str) -> str:
    quantities(text)
    return text


OpLine = Annotated[str, AfterValidator(_understood)]
Workload = dict[str, Annotated[list[OpLine], Field(min_length=1)]]
"""Phases in order, each with its ops: see `allocsim.claims.ops`."""


class RunSpec(StrictModel):
    """A workload under a policy."""

    workload: str
    policy: str
    parameters: dict[str, int | float] = Field(default_factory=dict)


class LeakCheck(StrictModel):
    """A workload to be run as a C program too, by itself and under valgrind."""

    workload: str


class Prediction(StrictModel):
    """One number, predicted: exactly, or at least, or at most.

    says: what the number is, in words. quantity: the same as an expression (`expression`).
    because: the reasoning. shows: whether it is what the claim says, or where the claim ends.
    """

    says: str
    quantity: Annotated[str, AfterValidator(_an_expression)]
    equals: int | float | None = None
    at_least: int | float | None = None
    at_most: int | float | None = None
    because: str
    shows: Literal["claim", "limit"] = "claim"

    @model_validator(mode="after")
    def _one_bound(self) -> "Prediction":
        if sum(bound is not None for bound in (self.equals, self.at_least, self.at_most)) != 1:
            raise ValueError("give exactly one of equals, at_least, at_most")
        return self

    def holds(self, value: float) -> bool:
        """Whether the number came out as predicted; nan never does."""
        if self.equals is not None:
            return value == self.equals
        if self.at_least is not None:
            return value >= self.at_least
        return self.at_most is not None and value <= self.at_most


class Claim(StrictModel):
    """title: the claim in a line. textbook: how it is told. limit: where it ends, if it does."""

    title: str
    textbook: str
    limit: str = ""
    workloads: dict[str, Workload] = Field(min_length=1)
    runs: dict[str, RunSpec] = Field(min_length=1)
    leak_check: LeakCheck | None = None
    predictions: list[Prediction] = Field(min_length=1)


def claim_names() -> list[str]:
    """The names of all shipped claims, such as `a_border`, in order."""
    return sorted(
        name.removeprefix(f"{FOLDER}/")
        for name in resources.names("experiments", ".toml")
        if name.startswith(f"{FOLDER}/")
    )


def claim_path(name: str) -> Path:
    """The file of a claim, given by name, letter or path; InputError when there is none."""
    if name.endswith(".toml"):
        return Path(name)
    for known in claim_names():
        if name in (known, known.partition("_")[0]):
            path = resources.find("experiments", f"{FOLDER}/{known}", ".toml")
            assert path is not None
            return path
    raise InputError(unknown("claim", name, claim_names()))


def load_claim(path: Path, *, no_code: bool = False) -> Claim:
    """Reads a claim; InputError names everything that is wrong with it, with lines.

    Policies in files are code: they are imported last, if nothing else is wrong, and refused with
    `no_code`.
    """
    file = read_toml(path)
    claim, problems = check_model(Claim, file.data)
    file.refuse(problems)
    assert claim is not None
    file.refuse([*_unknown_names(claim), *_policies_in_files(claim, no_code)])
    file.refuse(p for name, run in claim.runs.items() for p in _policy_problems(name, run))
    return claim


def _unknown_names(claim: Claim) -> list[Problem]:
    """Names that nothing bears: workloads of runs, runs in predictions."""
    found = []
    for name, run in claim.runs.items():
        if run.workload not in claim.workloads:
            text = unknown("workload", run.workload, claim.workloads)
            found.append(Problem(("runs", name, "workload"), text))
        if is_shipped(run.policy):
            found += _policy_problems(name, run)
    if claim.leak_check and claim.leak_check.workload not in claim.workloads:
        text = unknown("workload", claim.leak_check.workload, claim.workloads)
        found.append(Problem(("leak_check", "workload"), text))
    subjects = [*claim.runs, "cost", *(["leak_check"] if claim.leak_check else [])]
    for i, prediction in enumerate(claim.predictions):
        named = {quantity.partition(".")[0] for quantity in quantities(prediction.quantity)}
        found += [
            Problem(("predictions", i, "quantity"), unknown("run", name, subjects))
            for name in sorted(named - set(subjects))
        ]
    return found


def _policies_in_files(claim: Claim, no_code: bool) -> Iterator[Problem]:
    """Why policies that are none of the shipped ones cannot be imported."""
    for name, run in claim.runs.items():
        if not is_shipped(run.policy) and (text := refusal_of_file(run.policy, no_code)):
            yield Problem(("runs", name, "policy"), text)


def _policy_problems(name: str, run: RunSpec) -> list[Problem]:
    try:
        known = load_policy(run.policy).parameters()
    except InputError as error:
        return [Problem(("runs", name, "policy"), str(error))]
    found = []
    for parameter, value in run.parameters.items():
        path = ("runs", name, "parameters", parameter)
        if parameter not in known:
            found.append(Problem(path, unknown("parameter", parameter, known)))
            continue
        try:
            known[parameter].checked(parameter, value)
        except InputError as error:
            found.append(Problem(path, str(error)))
    return found
