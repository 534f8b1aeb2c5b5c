"""Stored results of the real glibc, to check exactness where that cannot be run.

usage: python tests/glibc/golden.py [VERSION…]

writes tests/golden/glibc anew, for all versions or some; what `allocsim fetch-glibc` fetches is
needed.
"""

import json
import re
import sys
from pathlib import Path
from random import Random

import numpy as np
from random_traces import Program, random_tunables

from allocsim.ground_truth import GroundTruth, Syscalls, replay
from allocsim.ground_truth.libc_packages import PACKAGES, libc_for
from allocsim.ground_truth.modelled import start_of_replays
from allocsim.trace import Trace

FOLDER = Path(__file__).parent.parent / "golden" / "glibc"
SEEDS_AND_THREADS = ((11, 1), (12, 1), (13, 1), (14, 3), (15, 16))
N_OPS = 1200
_FOLDERS = re.compile(r"/\S*/")
_SINGLE = ("start_maps", "start_brk", "end_brk", "heap_resident_pages", "mallinfo2", "cpus", "libc")


def store(
    path: Path, trace: Trace, tunables: dict[str, int], truth: GroundTruth, libc: Path | None
) -> None:
    """Write one trace with what the real library did."""
    calls = truth.syscalls
    assert calls is not None
    single = {name: getattr(truth, name) for name in _SINGLE}
    maps, brk = start_of_replays(libc)
    single |= {"tunables": tunables, "first_maps": _FOLDERS.sub("", maps), "first_brk": brk}
    single["start_maps"] = _FOLDERS.sub("", truth.start_maps)
    np.savez_compressed(
        path, **{f"trace_{k}": v for k, v in trace.columns().items()},
        address=truth.address, minor_faults=truth.minor_faults, single=json.dumps(single),
        call_op=calls.op, call_thread=calls.thread, call_name=calls.name,
        call_arguments=calls.arguments, call_result=calls.result,
    )  # fmt: skip


def load(path: Path) -> tuple[Trace, dict, GroundTruth, tuple[str, int]]:
    """Trace, tunables, truth, and the address space before threads were made."""
    with np.load(path) as stored:
        single = json.loads(str(stored["single"]))
        names = [name for name in stored.files if name.startswith("trace_")]
        trace = Trace(**{name.removeprefix("trace_"): stored[name] for name in names})
        calls = Syscalls(*(stored[f"call_{x}"] for x in _CALL_COLUMNS))
        truth = GroundTruth(
            address=stored["address"], minor_faults=stored["minor_faults"], syscalls=calls,
            resident_pages=0, start_resident_pages=0, end_maps="", malloc_file="",
            **{name: single[name] for name in _SINGLE},
        )  # fmt: skip
    return trace, single["tunables"], truth, (single["first_maps"], single["first_brk"])


_CALL_COLUMNS = ("op", "thread", "name", "arguments", "result")


def make(version: str) -> None:
    """Store the results of one version."""
    libc = libc_for(version)
    for seed, n_threads in SEEDS_AND_THREADS:
        random = Random(seed)
        tunables = random_tunables(random)
        trace = Program(random, n_threads, largest_border=26).trace(N_OPS)
        truth = replay(trace, tunables, huge_pages="never", libc=libc)
        assert truth.libc == version, truth.libc
        store(FOLDER / f"{version}_seed_{seed}.npz", trace, tunables, truth, libc)


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    for version in sys.argv[1:] or PACKAGES:
        make(version)


if __name__ == "__main__":
    main()
