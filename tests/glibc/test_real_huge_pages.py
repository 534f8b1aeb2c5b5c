"""Huge pages op by op: the model against the real library, both on a machine that has them."""

import platform
from pathlib import Path

import pytest

from allocsim.glibc import Glibc
from allocsim.ground_truth.verify import verify
from allocsim.kernel.huge_pages import MADVISE, HugePageKernel
from allocsim.policy import with_kernel
from allocsim.workload import from_spec

ENABLED = Path("/sys/kernel/mm/transparent_hugepage/enabled")
MODEL = with_kernel(Glibc, HugePageKernel, huge_pages=MADVISE)


def _why_not() -> str:
    """Why this machine is no judge; nothing if it is."""
    if not ENABLED.exists() or "[madvise]" not in ENABLED.read_text():
        return f"{ENABLED} is not set to madvise"
    release = tuple(int(part) for part in platform.release().split(".")[:2])
    return "" if release >= (6, 14) else "before Linux 6.14 dropped regions keep their page tables"


pytestmark = pytest.mark.skipif(bool(_why_not()), reason=_why_not())


def program(seed, **more):
    sizes = {"distribution": "loguniform", "low": 100, "high": "8 MiB"}
    return from_spec({"ops": 1500, "live_objects": 40, "sizes": sizes} | more, seed)


@pytest.mark.parametrize("written", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("tunables", [{}, {"mmap_threshold": 131072}, {"mmap_max": 0}])
def test_every_fault_is_that_of_the_real_program(written, tunables):
    source = program(3, accesses={"written": written, "touch": 0.1, "read": 0.1, "bytes": 300_000})
    given = {"hugetlb": 1, **tunables}
    verdict = verify(source, given, policy=MODEL, compiled=False, huge_pages="system")
    assert verdict.equal, str(verdict)


@pytest.mark.parametrize("seed", range(4))
def test_moved_mappings_leave_page_tables_behind(seed):
    source = program(seed, calls={"realloc": 0.3}, accesses={"written": 0.3})
    given = {"hugetlb": 1, "mmap_threshold": 65536}
    verdict = verify(source, given, policy=MODEL, compiled=False, huge_pages="system")
    assert verdict.equal, str(verdict)


def test_small_pages_would_not_do():
    """The comparison can tell: without huge pages the model's faults are others."""
    verdict = verify(program(3), {"hugetlb": 1}, policy=Glibc, compiled=False, huge_pages="system")
    assert verdict.what == "minor_faults"
