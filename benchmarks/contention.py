"""How two threads slow each other down, measured and simulated.

    python -m benchmarks.contention [--rounds 25] [--costs costs.toml]

Measured are contests of `allocsim calibrate`: two threads of one process, each on a CPU of its own,
and in turn with them two processes of one thread each on the same CPUs, which have nothing to
contend for, but suffer alike from whatever else the machine does. Simulated are the same calls and
faults at the given unit costs, with a little thinking at random in between: no machine is so
regular that two threads keep out of each other's way for ever. What is printed is the time of a
repetition in two threads over that in two processes; measured as the median over rounds, with the
quartiles. Other work on the machine still lengthens waits: a thread that wakes up finds its CPU
taken.
"""

import argparse
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from allocsim.ground_truth.calibration.contention import Contest, contests
from allocsim.ground_truth.calibration.measure import Bench
from allocsim.kernel import CostTable
from allocsim.machine import Machine
from allocsim.policy import Policy
from allocsim.simulation import simulate
from allocsim.trace import Op, Provenance, Trace

SLICE_NS = 10_000_000
PAGE_BYTES = 4096
THINK_NS = 400  # spreads rounds as they are spread here with one thread: 0.6 us between quartiles
KINDS = ("mmap_munmap", "mmap_write_munmap", "fault")


class Mapping(Policy):
    """A mapping for each block, with a word written to each of its pages, or (size 1) to none."""

    def malloc(self, size):
        address = self.kernel.mmap(size)
        if size >= PAGE_BYTES:
            self.kernel.write_pages(address, size)
        self.length = size
        return address

    length = 0

    def free(self, address):
        self.kernel.munmap(address, self.length)


class Repeated:
    """A workload in which each of the threads allocates and frees a block, again and again."""

    synthetic = True
    provenance = Provenance()

    def __init__(self, threads: int, size: int, pairs: int) -> None:
        self.n_threads = self.n_slots = threads
        self.n_ops = 2 * pairs * threads
        self.size = size

    def batches(self, batch_ops: int) -> Iterator[Trace]:
        ops = np.tile([Op.MALLOC, Op.FREE], self.n_ops // 2)
        threads = np.repeat(np.arange(self.n_ops // 2) % self.n_threads, 2)
        sizes = np.where(ops == Op.MALLOC, self.size, 0)
        thinks = np.random.default_rng(1).exponential(THINK_NS, self.n_ops).astype(np.int64)
        whole = Trace.of(
            op=ops, thread=threads, object=threads, size=sizes, written=0 * sizes, think_ns=thinks
        )
        return whole.batches(batch_ops)


def measured(rounds: int) -> dict[str, np.ndarray]:
    """CPU and wall time in two threads over those in two processes, by kind and round."""
    found: dict[str, list[tuple[float, float]]] = {kind: [] for kind in KINDS}
    tasks = {c.name: c for c in contests([1, 2])}
    with TemporaryDirectory() as folder:
        bench = Bench([], Path(folder))
        bench.warm_up(1 << 14)
        for _ in range(rounds):
            for kind, ratios in found.items():
                apart = np.mean(_side_by_side(bench, tasks[f"{kind}:1"]), axis=0)
                together = _times(bench, tasks[f"{kind}:2"])
                ratios.append((together[0] / apart[0], together[1] / apart[1]))
    return {kind: np.array(ratios) for kind, ratios in found.items()}


def _side_by_side(bench: Bench, contest: Contest) -> list[tuple[float, float]]:
    """The contest in two processes at the same time, each on a CPU of its own."""

    def on(cpu: int) -> tuple[float, float]:
        os.sched_setaffinity(0, {cpu})  # of this thread; the process that it starts inherits it
        return _times(bench, contest)

    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(on, sorted(os.sched_getaffinity(0))[:2]))


def _times(bench: Bench, contest: Contest) -> tuple[float, float]:
    took = bench.slice(contest, SLICE_NS)
    return took.cpu_ns / took.repetitions, took.wall_ns / took.repetitions


def simulated(kind: str, costs: CostTable) -> tuple[float, float]:
    """The same ratios as the model has them."""
    size, pairs = {
        "mmap_munmap": (1, 2000),
        "mmap_write_munmap": (32 * PAGE_BYTES, 500),
        "fault": (4096 * PAGE_BYTES, 1),
    }[kind]
    cpu, wall = [], []
    for threads in (1, 2):
        source = Repeated(threads, size, pairs)
        totals = simulate(
            source, Mapping, machine=Machine(costs=costs), mode="interpreted", walks=0
        ).totals
        cpu.append(totals["cpu_ns"] / threads)
        wall.append(totals["time_ns"])
    return cpu[1] / cpu[0], wall[1] / wall[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--costs", type=Path, help="a table made by allocsim calibrate")
    chosen = parser.parse_args()
    costs = CostTable.load(chosen.costs)
    found = measured(chosen.rounds)
    print(costs.origin())
    titles = ("two threads, over two processes", "measured (quartiles)", "simulated", "error")
    print("{:<32} {:>24} {:>10} {:>7}".format(*titles))
    for kind in KINDS:
        for i, clock in enumerate(("cpu", "wall")):
            low, middle, high = np.percentile(found[kind][:, i], [25, 50, 75])
            model = simulated(kind, costs)[i]
            seen = f"{middle:.2f} ({low:.2f} to {high:.2f})"
            print(f"{kind + ' ' + clock:<32} {seen:>24} {model:>10.2f} {model / middle - 1:>7.0%}")


if __name__ == "__main__":
    main()
