"""What an experiment file may say; `experiments/reference.toml` shows every key and default."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from allocsim.experiment.axis import Axis
from allocsim.kernel.backing import PAGE_BYTES
from allocsim.kernel.huge_pages import SETTINGS
from allocsim.policy import Policy
from allocsim.strict_toml import SizeBytes, StrictModel
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


class KernelOptions(StrictModel):
    """The machine under the policy.

    bits: address space of 64 or 32 bits; legacy_layout: mappings grow upward, as before Linux
    2.6.7; stack_limit_bytes: moves the mapping area down. Limits, none by default: limit_as_bytes
    (RLIMIT_AS), limit_data_bytes (RLIMIT_DATA), limit_map_count (vm.max_map_count),
    overcommit_bytes (a larger single request is refused), memory_bytes (physical memory: beyond it
    the least recently used pages go out to swap).

    For the threads of synthetic workloads: cpus that they share (by default as many as the policy
    has been told of, or one for each); vma_locks: faults lock their area only, as since Linux 6.4,
    instead of the whole address space.

    huge_pages: whether memory comes in huge pages of 2 MiB, as in Linux's setting `enabled`.
    max_ptes_none, scan_sleep_ms, pages_to_scan: of khugepaged, which makes huge pages of small ones
    in the background (absent pages that it fills in, time between scans, pages that one looks at).
    """

    bits: Literal[32, 64] = 64
    legacy_layout: bool = False
    stack_limit_bytes: SizeBytes = 8 * 2**20
    limit_as_bytes: SizeBytes | None = None
    limit_data_bytes: SizeBytes | None = None
    limit_map_count: int = Field(default=65_530, ge=1)
    overcommit_bytes: SizeBytes | None = None
    memory_bytes: Annotated[SizeBytes, Field(ge=2 * PAGE_BYTES)] | None = None
    cpus: int | None = Field(default=None, ge=1, le=4096)
    vma_locks: bool = True
    huge_pages: Literal["never", "madvise", "always"] = "never"
    max_ptes_none: int = Field(default=511, ge=0, le=511)
    scan_sleep_ms: int = Field(default=10_000, ge=1, le=10**9)
    pages_to_scan: int = Field(default=4096, ge=1, le=10**9)

    def limits(self) -> dict[str, int]:
        """What is set, by the kernel's names."""
        told = self.model_dump(
            exclude={"bits", "legacy_layout", "stack_limit_bytes", "memory_bytes"}
        )
        told["huge_pages"] = SETTINGS.index(self.huge_pages)
        if self.memory_bytes is not None:
            told["memory_pages"] = self.memory_bytes // PAGE_BYTES
        return {name: int(value) for name, value in told.items() if value is not None}


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
    kernel: KernelOptions = KernelOptions()

    @model_validator(mode="before")
    @classmethod
    def _expand_texts(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        lists = [key for key in ("workloads", "policies") if isinstance(data.get(key), list)]
        return {**data, **{key: as_tables(data[key]) for key in lists}}

    @field_validator("name")
    @classmethod
    def _is_folder_name(cls, name: str | None) -> str | None:
        if name is not None and not _FOLDER_NAME.fullmatch(name):
            raise ValueError(
                f"'{name}' cannot name a folder of results; use letters, digits, '-', '_' and '.'"
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
