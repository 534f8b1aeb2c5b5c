"""Blocks that one thread allocates and another one frees, as `pass_blocks` of contention.h does."""

from collections.abc import Iterator
from functools import cache

import numpy as np

from allocsim.glibc import Glibc
from allocsim.kernel import Event
from allocsim.simulation import simulate
from allocsim.trace import BATCH_OPS, Op, Provenance, Trace

BLOCKS = 64
_PASS_NS = 1_000_000
"""The threads' turns are so long apart in simulated time, longer than any takes."""
_WARM_UP, _ROUNDS = 8, 16


class PassedBlocks:
    """The calls as a workload: thread 0 allocates all blocks, then thread 1 frees them, again and
    again.
    """

    synthetic = True
    provenance = Provenance()
    n_threads, n_slots = 2, BLOCKS

    def __init__(self, rounds: int) -> None:
        self.rounds, self.n_ops = rounds, 2 * BLOCKS * rounds

    def batches(self, batch_ops: int = BATCH_OPS) -> Iterator[Trace]:
        """All of them, at most `batch_ops` at a time."""
        i = np.arange(BLOCKS)
        thread = np.repeat([0, 1], BLOCKS)
        whole = Trace.of(
            op=np.tile(np.where(thread == 0, Op.MALLOC, Op.FREE), self.rounds),
            thread=np.tile(thread, self.rounds),
            object=np.tile([*i, *(i * 61 + 7) % BLOCKS], self.rounds),
            size=np.tile([*1048 + 16 * (i * 29 % 61), *0 * i], self.rounds),
            written=np.zeros(self.n_ops, np.int64),
            think_ns=self._thinks(),
        )
        return whole.batches(batch_ops)

    def _thinks(self) -> np.ndarray:
        """Each thread waits until the other one's turn is over, the second one at first, too."""
        thinks = np.zeros(self.n_ops, np.int64)
        thinks[::BLOCKS] = 2 * _PASS_NS
        thinks[0], thinks[BLOCKS] = 0, _PASS_NS
        return thinks


@cache
def remote_accesses_per_call() -> float:
    """How many lines a call finds in the other CPU's caches, by the model, after some rounds."""
    before, after = (
        int(
            simulate(PassedBlocks(n), Glibc, mode="interpreted", walks=0).counts[
                Event.REMOTE_ACCESS
            ]
        )
        for n in (_WARM_UP, _WARM_UP + _ROUNDS)
    )
    return (after - before) / (2 * BLOCKS * _ROUNDS)
