"""The machine that a policy runs on, as plain data, and the only place that assembles it."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, InstanceOf, ValidationError, model_validator

from allocsim.component import Param
from allocsim.driver import Driver, driver_class, driver_for
from allocsim.errors import InputError
from allocsim.kernel import CostTable, Layout
from allocsim.kernel.backing import PAGE_BYTES
from allocsim.kernel.huge_pages import SETTINGS
from allocsim.policy import Policy, with_kernel
from allocsim.policy_contract import require_contract
from allocsim.strict_toml import (
    Problem,
    SizeBytes,
    StrictModel,
    check_model,
    read_toml,
    show_path,
)
from allocsim.strict_toml.problems import problems_of

_STANDARD_STACK_BYTES = 8 * 2**20
Parameters = Mapping[str, int | float]


class MachineOptions(StrictModel):
    """The keys of a machine: the `[kernel]` table of an experiment, or a machine file.

    bits: address space of 64 or 32 bits. legacy_layout: mappings grow upward, as before Linux
    2.6.7. stack_limit_bytes: moves the mapping area down. Limits, none by default: limit_as_bytes
    (RLIMIT_AS), limit_data_bytes (RLIMIT_DATA), limit_map_count (vm.max_map_count),
    overcommit_bytes (a larger single request is refused), memory_bytes (physical memory; beyond it
    the least recently used pages are swapped out).

    For threads of synthetic workloads: cpus that they share (by default as many as the policy
    assumes, or one for each); vma_locks: a fault locks its VMA only, as since Linux 6.4, instead
    of the whole address space.

    huge_pages: whether memory comes in huge pages of 2 MiB, as in Linux's setting `enabled`.
    max_ptes_none, scan_sleep_ms, pages_to_scan: of khugepaged, which collapses small pages into
    huge ones in the background (absent pages that it fills in, time between scans, pages that one
    scan looks at).
    """

    bits: Literal[32, 64] = 64
    legacy_layout: bool = False
    stack_limit_bytes: Annotated[SizeBytes, Field(ge=PAGE_BYTES)] = _STANDARD_STACK_BYTES
    limit_as_bytes: SizeBytes | None = None
    limit_data_bytes: SizeBytes | None = None
    limit_map_count: int = Field(default=65_530, ge=1, le=2**31 - 1)
    overcommit_bytes: SizeBytes | None = None
    memory_bytes: Annotated[SizeBytes, Field(ge=2 * PAGE_BYTES)] | None = None
    cpus: int | None = Field(default=None, ge=1, le=4096)
    vma_locks: bool = True
    huge_pages: Literal["never", "madvise", "always"] = "never"
    max_ptes_none: int = Field(default=511, ge=0, le=511)
    scan_sleep_ms: int = Field(default=10_000, ge=1, le=10**9)
    pages_to_scan: int = Field(default=4096, ge=1, le=10**9)

    @model_validator(mode="after")
    def _is_possible(self) -> "MachineOptions":
        if self.huge_pages != "never" and self.memory_bytes is not None:
            raise ValueError(
                "huge_pages and memory_bytes exclude each other: huge pages cannot be swapped"
            )
        task_size = Layout.standard(self.bits).task_size
        if self.stack_limit_bytes >= task_size:
            raise ValueError(
                f"stack_limit_bytes must be less than the user space of {self.bits} bits, "
                f"{task_size} bytes, not {self.stack_limit_bytes}"
            )
        return self


class _MachineFile(MachineOptions):
    """A machine file: the path of a cost table, too."""

    costs: str | None = None


def _cost_table(value: Any) -> Any:
    return CostTable.load(Path(value)) if isinstance(value, str | Path) else value


class Machine(MachineOptions):
    """The kernel, the CPUs and the unit costs under a policy: frozen data.

    costs: a `CostTable` or the path of one; None is the shipped table. layout: the address space
    at the start, for example `Layout.from_maps_file(path)`; None is the standard one of `bits`.
    poison: what the program writes destroys the words that lay there, which costs time; checks of
    policies use it. InputError for impossible values.
    """

    costs: Annotated[InstanceOf[CostTable] | None, BeforeValidator(_cost_table)] = None
    layout: InstanceOf[Layout] | None = None
    poison: bool = False

    def __init__(self, **options: Any) -> None:
        try:
            super().__init__(**options)
        except ValidationError as error:
            problems = problems_of(error, type(self), options)
            lines = [f"{show_path(p.path) if p.path else 'machine'}: {p.text}" for p in problems]
            raise InputError("\n".join(lines)) from None

    @classmethod
    def load(cls, path: Path) -> "Machine":
        """The machine of a TOML file: the keys of `[kernel]`, and `costs`, a path from there."""
        file = read_toml(path)
        options, problems = check_model(_MachineFile, file.data)
        costs = file.data.get("costs")
        try:
            table = CostTable.load(path.parent / costs) if isinstance(costs, str) else None
        except InputError as error:
            problems.append(Problem(("costs",), str(error)))
        file.refuse(problems)
        assert options is not None
        return cls(**options.model_dump(exclude={"costs"}), costs=table)

    @property
    def cost_table(self) -> CostTable:
        """The unit costs."""
        return self.costs or CostTable.load()

    @property
    def has_huge_pages(self) -> bool:
        """Whether some memory may come in huge pages."""
        return self.huge_pages != "never"

    @property
    def heap_is_mapped(self) -> bool:
        """Whether the layout is that of a process which has a heap, and its threads, already."""
        return self.layout is not None and self.layout.heap_mapped

    def identity(self) -> dict[str, Any]:
        """All that a result can depend on, as JSON: options apart from defaults, and hashes."""
        options = self.model_dump(exclude_defaults=True, exclude={"costs", "layout"})
        layout = repr(self.layout).encode() if self.layout else b""
        return {
            "options": options,
            "costs": self.cost_table.content_hash(),
            "layout": hashlib.sha256(layout).hexdigest() if layout else "",
        }

    def content_hash(self) -> str:
        """A hash of `identity`."""
        return hashlib.sha256(json.dumps(self.identity(), sort_keys=True).encode()).hexdigest()

    # ---- assembly
    def policy_class(self, policy: type[Policy], threaded: bool = False) -> type[Policy]:
        """`policy` on this machine's kernel. threaded: its threads meet in simulated time.

        Machines with the same kernel share one class, to which the compiled code belongs.
        """
        if self.memory_bytes is not None:
            policy = _swapping(policy)  # type: ignore[arg-type]
        if self.has_huge_pages:
            policy = _with_huge_pages(policy)  # type: ignore[arg-type]
        return _threaded(policy) if threaded else policy  # type: ignore[arg-type]

    def driver_class(self, policy: type[Policy], threaded: bool = False) -> type[Driver]:
        """The class of `driver`'s drivers, to which compiled code belongs."""
        shared, _ = _shared_code(policy, {})
        return driver_class(self.policy_class(shared, threaded))  # type: ignore[arg-type]

    def driver(
        self,
        policy: type[Policy],
        parameters: Parameters | None = None,
        *,
        threaded: bool = False,
        make_driver: Callable[..., Driver] = driver_for,
    ) -> Driver:
        """A driver of `policy` on this machine, ready for its first op.

        make_driver: `allocsim.check.refereed` checks every block. InputError for parameters that
        the policy does not have, or values out of range.
        """
        require_contract(policy, Policy)
        values = dict(parameters or {})
        if self.cpus is not None and "cpus" in policy.parameters():
            values = {"cpus": self.cpus, **values}
        policy, values = _shared_code(policy, values)
        driver = make_driver(self.policy_class(policy, threaded), **values)
        kernel = driver.policy.kernel
        if self.costs is not None:
            kernel.costs.use(self.costs)
        if (layout := self._layout()) is not None:
            kernel.lay_out(layout)
        for name, value in self._kernel_values(threaded).items():
            setattr(kernel, name, value)
        return driver

    def cpus_for(self, driver: Driver, n_threads: int) -> int:
        """How many CPUs the threads share."""
        assumed: int = getattr(driver.policy, "cpus", n_threads)
        return self.cpus or assumed

    def _layout(self) -> Layout | None:
        """The address space at the start; None for the one that every kernel starts with."""
        options = (self.bits, self.legacy_layout, self.stack_limit_bytes)
        if self.layout is not None or options == (64, False, _STANDARD_STACK_BYTES):
            return self.layout
        return Layout.standard(*options)

    def _kernel_values(self, threaded: bool) -> dict[str, int]:
        """What the kernel's fields are set to."""
        names = ["limit_as_bytes", "limit_data_bytes", "limit_map_count", "overcommit_bytes"]
        names += ["poison"] if self.poison else []
        names += ["vma_locks"] if threaded else []
        names += ["max_ptes_none"] if self.has_huge_pages else []
        given: dict[str, Any] = {name: getattr(self, name) for name in names}
        values: dict[str, int] = {
            name: int(value) for name, value in given.items() if value is not None
        }
        if self.has_huge_pages:
            values["huge_pages"] = SETTINGS.index(self.huge_pages)
        if self.memory_bytes is not None:
            values["memory_pages"] = self.memory_bytes // PAGE_BYTES
        return values


def _shared_code(
    policy: type[Policy], parameters: dict[str, Any]
) -> tuple[type[Policy], dict[str, Any]]:
    """The class whose code a policy shares, and its parameters there.

    A class that only gives parameters other defaults has the code of its base.
    """
    while (base := _base_with_same_code(policy)) is not None:  # type: ignore[arg-type]
        for name, value in parameters.items():
            if (declared := policy.parameters().get(name)) is not None:
                declared.checked(name, value)
        defaults = {name: param.default for name, param in policy.parameters().items()}
        policy, parameters = base, {**defaults, **parameters}
    return policy, parameters


@cache
def _base_with_same_code(policy: type[Policy]) -> type[Policy] | None:
    """The base class from which a policy differs in defaults of parameters only."""
    base = policy.__bases__[0]
    own = {name for name in vars(policy) if not name.startswith("_")}
    if own or len(policy.__bases__) > 1 or not issubclass(base, Policy) or base is Policy:
        return None
    if policy._constants != base._constants or policy._fields.keys() != base._fields.keys():
        return None
    pairs = ((policy._fields[name], base._fields[name]) for name in base._fields)
    return base if all(_differ_in_default(*pair) for pair in pairs) else None


def _differ_in_default(mine: Any, other: Any) -> bool:
    if isinstance(mine, Param) and isinstance(other, Param):
        return replace(mine, default=other.default) == other
    return mine is other or mine == other


@cache
def _swapping(policy: type[Policy]) -> type[Policy]:
    """The policy on a machine with limited memory."""
    from allocsim.kernel.swap import SwappingKernel

    return with_kernel(policy, SwappingKernel)


@cache
def _with_huge_pages(policy: type[Policy]) -> type[Policy]:
    """The policy on a machine with transparent huge pages."""
    from allocsim.kernel.huge_pages import HugePageKernel

    return with_kernel(policy, HugePageKernel)


@cache
def _threaded(policy: type[Policy]) -> type[Policy]:
    """The policy on a kernel that records what threads wait for."""
    from allocsim.kernel.crossings import meeting_kernel

    part = policy._fields["kernel"]
    return with_kernel(policy, meeting_kernel(part.cls), **part.params)
