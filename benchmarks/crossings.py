"""How many crossings a second simulated threads make: `python -m benchmarks.crossings`.

Each workload runs compiled, once to compile and then `--rounds` times; the median and the range are
printed. What is counted: every system call, every page fault and every taking or giving back of an
arena's lock that a thread plays in simulated time, that is, waits for its turn with and holds what
it needs. Operations that make no crossing (thread-cache hits) are not counted, but take their time.
"""

import argparse
import statistics
import time
from collections.abc import Iterator

from allocsim.machine import Machine
from allocsim.policy import load_policy
from allocsim.simulation import Result, simulate
from allocsim.workload import from_spec

THREADS = 16
WORKLOADS = {
    "mapped 128 KiB, all written": (
        "mmap_only",
        {
            "ops": 40_000,
            "live_objects": 4,
            "sizes": {"distribution": "choice", "sizes": ["128 KiB"]},
        },
    ),
    "mapped 8 KiB, all written": (
        "mmap_only",
        {
            "ops": 100_000,
            "live_objects": 20,
            "sizes": {"distribution": "choice", "sizes": ["8 KiB"]},
        },
    ),
    "large buffers": (
        "glibc",
        {
            "ops": 200_000,
            "live_objects": 30,
            "sizes": {"distribution": "loguniform", "low": "8 KiB", "high": "512 KiB"},
        },
    ),
    "small churn": (
        "glibc",
        {
            "ops": 1_000_000,
            "live_objects": 500,
            "sizes": {"distribution": "lognormal", "median": 96, "sigma": 1.3, "high": "64 KiB"},
        },
    ),
}


def runs(policy: str, spec: dict, cpus: int, rounds: int) -> Iterator[tuple[float, Result]]:
    """Seconds and result of each round, the first one, which may compile, apart."""
    for number in range(rounds + 1):
        source = from_spec({**spec, "threads": THREADS}, seed=1)
        started = time.perf_counter()
        result = simulate(
            source,
            load_policy(policy),
            mode="compiled",
            walks=0,
            samples=2,
            machine=Machine(cpus=cpus),
        )
        if number:
            yield time.perf_counter() - started, result


def report(name: str, policy: str, spec: dict, cpus: int, rounds: int) -> str:
    """A line of the table."""
    found = list(runs(policy, spec, cpus, rounds))
    totals, crossings = found[0][1].totals, found[0][1].provenance["crossings"]
    rates = sorted(crossings / seconds for seconds, _ in found)
    return (
        f"{name:<28} {policy:<10} {totals['ops']:>9,} {crossings:>10,} "
        f"{totals['syscalls'] + totals['minor_faults']:>10,} "
        f"{statistics.median(rates):>10,.0f}  ({rates[0]:,.0f} to {rates[-1]:,.0f})"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--cpus", type=int, default=THREADS, help="that the threads share")
    chosen = parser.parse_args()
    print(f"{THREADS} threads on {chosen.cpus} CPUs")
    print(
        f"{'workload':<28} {'policy':<10} {'ops':>9} {'crossings':>10} {'in kernel':>10} "
        f"{'a second':>10}  (range)"
    )
    for name, (policy, spec) in WORKLOADS.items():
        print(report(name, policy, spec, chosen.cpus, chosen.rounds), flush=True)


if __name__ == "__main__":
    main()
