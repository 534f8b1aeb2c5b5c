"""The machine under a policy: which kernel it runs on, with which limits, and how many CPUs."""

from collections.abc import Callable
from functools import cache

from allocsim.driver import Driver
from allocsim.errors import InputError
from allocsim.kernel import CostTable, Layout
from allocsim.policy import Policy, with_kernel

_LIMITS = (
    "limit_as_bytes", "limit_data_bytes", "limit_map_count", "overcommit_bytes", "memory_pages",
    "poison",
)  # fmt: skip
_THREADS = ("cpus", "vma_locks")
_HUGE = ("huge_pages", "max_ptes_none")
_KHUGEPAGED = ("scan_sleep_ms", "pages_to_scan")
KERNEL_OPTIONS = (*_LIMITS, *_THREADS, *_HUGE, *_KHUGEPAGED)


def driver_on_machine(
    policy: type[Policy],
    parameters: dict[str, int | float],
    costs: CostTable | None,
    layout: Layout | None,
    options: dict[str, int],
    make_driver: Callable[..., Driver],
    meeting: bool,
) -> Driver:
    """A driver of `policy` on a machine with those options (KERNEL_OPTIONS).

    meeting: its threads meet in simulated time. InputError for options and values there are not.
    """
    _check(options)
    if "memory_pages" in options:
        policy = _swapping(policy)  # type: ignore[arg-type]
    huge = options.get("huge_pages", 0) > 0
    if huge:
        policy = _with_huge_pages(policy)  # type: ignore[arg-type]
    if meeting:
        policy = _meeting(policy)  # type: ignore[arg-type]
    if "cpus" in options and "cpus" in policy.parameters():
        parameters = {"cpus": options["cpus"], **parameters}
    driver = make_driver(policy, **parameters)
    kernel = driver.policy.kernel
    if costs is not None:
        kernel.costs.use(costs)
    if layout is not None:
        kernel.lay_out(layout)
    own = {*_LIMITS, *(("vma_locks",) if meeting else ()), *(_HUGE if huge else ())}
    for name, value in options.items():
        if name not in own:
            continue
        if (declared := kernel.parameters().get(name)) is not None:
            value = declared.checked(name, value)
        setattr(kernel, name, value)
    return driver


def cpus_of(driver: Driver, options: dict[str, int], n_threads: int) -> int:
    """How many CPUs there are: as told, as the policy was told, or one for each thread."""
    return int(options.get("cpus", getattr(driver.policy, "cpus", n_threads)))


def _check(options: dict[str, int]) -> None:
    for name, value in options.items():
        if name not in KERNEL_OPTIONS:
            raise InputError(f"unknown kernel option {name!r}; known: {', '.join(KERNEL_OPTIONS)}")
        if name == "cpus" and not 1 <= value <= 4096:
            raise InputError(f"kernel option cpus: {value} is out of range; it is in 1 to 4096")
        if name == "vma_locks" and value not in (0, 1):
            raise InputError(f"kernel option vma_locks: {value} is neither 0 nor 1")
        if name in _KHUGEPAGED and value < 1:
            raise InputError(f"kernel option {name}: {value} is out of range; it is 1 or more")
    if options.get("huge_pages", 0) and "memory_pages" in options:
        raise InputError("huge_pages and memory_pages exclude each other: no swap of huge pages")


@cache
def _swapping(policy: type[Policy]) -> type[Policy]:
    """The policy on a machine with limited memory; one class, since compiled code belongs to it."""
    from allocsim.kernel.swap import SwappingKernel

    return with_kernel(policy, SwappingKernel)


@cache
def _with_huge_pages(policy: type[Policy]) -> type[Policy]:
    """The policy on a machine with transparent huge pages; one class, too."""
    from allocsim.kernel.huge_pages import HugePageKernel

    return with_kernel(policy, HugePageKernel)


@cache
def _meeting(policy: type[Policy]) -> type[Policy]:
    """The policy on a kernel that notes what threads wait for; one class, too."""
    from allocsim.kernel.crossings import meeting_kernel

    part = policy._fields["kernel"]
    return with_kernel(policy, meeting_kernel(part.cls), **part.params)
