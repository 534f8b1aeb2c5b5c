"""A long search for differences between model and real glibc.

usage: python tests/glibc/fuzz.py [--version 2.41] [--seeds 0:1000] [--minutes 10] [--ops 50000]
                                  [--threads 1,2,16]

Each seed is one trace with its tunables and threads. One in twelve writes its large blocks whole;
the others are light, since page faults would take nearly all the time. A difference is printed with
its seed, and its trace, cut off behind the first difference, goes to tests/regressions.
"""

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from random import Random

from random_traces import Program, random_tunables

from allocsim.glibc.versions import VERSIONS
from allocsim.ground_truth.verdict import Verdict
from allocsim.ground_truth.verify import verify
from allocsim.trace import Trace, write_trace
from allocsim.trace.text import export_csv

REGRESSIONS = Path(__file__).parent.parent / "regressions"
THREADS = (1, 1, 1, 2, 4, 16)
SHARE_LIGHT = 11 / 12


class Quick(Random):
    """Draws below n by one multiplication, since drawing takes longer than simulating."""

    def _randbelow(self, n: int) -> int:
        return int(self.random() * n)


def drawn(seed: int, n_ops: int, threads: Sequence[int] = THREADS) -> tuple[Trace, dict[str, int]]:
    """The trace and tunables of one seed."""
    random = Quick(seed)
    n_threads, tunables = random.choice(threads), random_tunables(random)
    light = random.random() < SHARE_LIGHT
    return Program(random, n_threads, light=light).trace(n_ops), tunables


def keep(name: str, trace: Trace, tunables: dict[str, int], verdict: Verdict) -> Path:
    """Store a failure as a regression test, which is tried with all versions."""
    path = REGRESSIONS / f"{name}.csv"
    parquet = path.with_suffix(".parquet")
    write_trace(parquet, trace[: verdict.op + 1] if verdict.op >= 0 else trace)
    export_csv(str(parquet), str(path))
    parquet.unlink()
    path.with_suffix(".json").write_text(json.dumps(tunables) + "\n")
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--version", type=float, choices=VERSIONS, default=VERSIONS[0])
    parser.add_argument("--seeds", default="0:1000")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--ops", type=int, default=50_000)
    parser.add_argument("--threads", default=",".join(map(str, THREADS)))
    given = parser.parse_args()
    first, last = map(int, given.seeds.split(":"))
    threads = [int(n) for n in given.threads.split(",")]
    end, n_ops, n_differ = time.monotonic() + 60 * given.minutes, 0, 0
    for seed in range(first, last):
        if time.monotonic() > end:
            last = seed
            break
        trace, tunables = drawn(seed, given.ops, threads)
        parameters = {**tunables, "version": given.version}
        verdict = verify(trace, parameters)
        n_ops += verdict.ops
        if not verdict.equal and not verify(trace, parameters).equal:  # once may be a stray fault
            n_differ += 1
            print(f"seed {seed} {parameters}: {verdict}", flush=True)
            name = f"fuzz_{given.version}_{seed}"
            print(keep(name, trace, tunables, verdict), flush=True)
    print(f"glibc {given.version}, seeds {first}:{last}: {n_ops} ops, {n_differ} traces differ")


if __name__ == "__main__":
    main()
