"""What an experiment file may say; `experiments/reference.toml` shows every key and default."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationInfo, field_validator, model_validator

from allocsim.experiment.axis import Axis
from allocsim.experiment.execution.limits import LimitOptions
from allocsim.machine import MachineOptions
from allocsim.policy import Policy
from allocsim.strict_toml import StrictModel, shortened
from allocsim.workload import Recorded, Synthetic

_FOLDER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


class PolicyEntry(StrictModel):
    """A policy to run: `use` names it or gives its file, `label` is what tables call it.

    parameters: fixed for all its runs. grid: swept for this policy, instead of the experiment's
    grid; an empty one sweeps nothing.
    """

    use: str = Field(min_length=1)
    label: str | None = Field(default=None, min_length=1)
    parameters: dict[str, Any] = Field(default_factory=dict)
    grid: dict[str, Axis] | None = None


class SyntheticEntry(Synthetic):
    """A synthetic workload in an experiment: `use` names the workload that the other keys alter."""

    use: str | None = Field(default=None, min_length=1)
    name: str | None = Field(default=None, min_length=1)


class RecordedEntry(Recorded):
    """A recorded workload in an experiment."""

    use: str | None = Field(default=None, min_length=1)
    name: str | None = Field(default=None, min_length=1)


class ExperimentFile(StrictModel):
    """The keys of an experiment file.

    A workload or policy given as a text is short for a table with only `use`. repeats: runs of each
    synthetic workload with seeds `seed`, `seed` + 1 ...; recorded workloads have nothing random and
    run once. samples, walks: points of the curves over time. tolerance: a curve that stays within
    this share of a value counts as flat there. referee: check every block that a policy gives out
    (slow). writing: whether the program writes to its memory. costs: path of a cost table.
    """

    name: str | None = None
    question: str = ""
    workloads: list[dict[str, Any]] = Field(min_length=1)
    policies: list[PolicyEntry] = Field(min_length=1)
    grid: dict[str, Axis] = Field(default_factory=dict)
    repeats: int = Field(default=1, ge=1, le=10_000)
    seed: int = Field(default=1, ge=0, le=2**63 - 1)
    samples: int = Field(default=128, ge=2, le=1_000_000)
    walks: int = Field(default=16, ge=0, le=100_000)
    tolerance: float = Field(default=0.05, gt=0, lt=1)
    referee: bool = False
    writing: bool = True
    costs: str | None = None
    kernel: MachineOptions = MachineOptions()
    limits: LimitOptions = LimitOptions()

    @model_validator(mode="before")
    @classmethod
    def _expand_texts(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        lists = [key for key in ("workloads", "policies") if isinstance(data.get(key), list)]
        return {**data, **{key: as_tables(data[key]) for key in lists}}

    @field_validator("seed")
    @classmethod
    def _seeds_fit(cls, seed: int, info: ValidationInfo) -> int:
        highest = 2**63 - info.data.get("repeats", 1)
        if seed > highest:
            raise ValueError(f"must be at most {highest}, so that all seeds have 63 bits")
        return seed

    @field_validator("name")
    @classmethod
    def _is_folder_name(cls, name: str | None) -> str | None:
        if name is not None and not _FOLDER_NAME.fullmatch(name):
            raise ValueError(
                f"'{shortened(name)}' cannot name a folder of results; "
                "use letters, digits, '-', '_' and '.'"
            )
        return name


def as_tables(entries: Any) -> list[Any]:
    """The entries of a list, those given as texts made tables that `use` what the text names."""
    if not isinstance(entries, list):
        return []
    return [{"use": entry} if isinstance(entry, str) else entry for entry in entries]


@dataclass(frozen=True)
class NamedWorkload:
    """A workload under the name that tables and figures give it."""

    name: str
    spec: Synthetic | Recorded


@dataclass(frozen=True)
class ChosenPolicy:
    """A policy class under its label; `use` finds it again in another process.

    grid: the parameters to sweep, each with its values.
    """

    label: str
    use: str
    policy: type[Policy]
    parameters: dict[str, int | float]
    grid: dict[str, list[int | float]]


@dataclass(frozen=True)
class Experiment:
    """An experiment in which everything that it names was found and every value is possible."""

    name: str
    path: Path
    file: ExperimentFile
    workloads: tuple[NamedWorkload, ...]
    policies: tuple[ChosenPolicy, ...]
    costs: Path | None
